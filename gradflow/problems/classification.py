"""Linear classification by cross-entropy."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import finite_array, shape_of, whole
from gradflow.problems.base import AbstractProblem, check_counts


class Classification(AbstractProblem):
    r"""Linear classification: the mean cross-entropy of the scores W x.

        loss(W) = 1/n sum_i ln sum_c exp((W x_i)_c - (W x_i)_{y_i}),

    with the differences taken before the exponentials, so that loss and gradient keep their digits
    however small they are, down to 1e-308.

    Args:
      inputs: the (n, d) data x_i.
      labels: the n classes y_i, whole numbers from 0.
      classes: how many there are; by default the largest label and one.

    Raises:
      ValueError: on a shape mismatch, a number that is not finite, a label that is none, or fewer
        than two classes.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = Classification([[1.0, 0.0], [0.0, 2.0]], [0, 1])
      >>> problem.shape, round(float(problem.loss(jnp.zeros((2, 2)))), 6)  # ln 2
      ((2, 2), 0.693147)
      >>> problem.margins(jnp.eye(2)).tolist()
      [1.0, 2.0]

    References:
      fan2025 (Fan, Schmidt and Thrampoulidis, arXiv 2502.04664).
    """

    inputs: Float[Array, "n d"]
    labels: Int[Array, " n"]
    classes: int = eqx.field(static=True)

    def __init__(
        self,
        inputs: Checked[ArrayLike],
        labels: Checked[ArrayLike],
        *,
        classes: Checked[int | None] = None,
    ):
        x = finite_array("inputs", inputs, ndim=2)
        y = finite_array("labels", labels, ndim=1)
        check_counts(len(x), "inputs", len(y), "labels")
        count = int(np.max(y)) + 1 if classes is None else whole("classes", classes, 2)
        if np.any(y != np.round(y)) or np.min(y) < 0 or np.max(y) >= count:
            raise ValueError(
                f"labels must be whole numbers from 0 to {count - 1}, but they go from "
                f"{np.min(y):g} to {np.max(y):g}; number the classes from 0."
            )
        if count < 2:
            raise ValueError("All labels are 0, and one class needs no classifier; give classes.")
        shape_of("The shape of W", (count, x.shape[1]))
        self.inputs = jnp.asarray(x)
        self.labels = jnp.asarray(y.astype(int))
        self.classes = count

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.classes, self.inputs.shape[1])

    @property
    def observations(self) -> int:
        """The number n of data."""
        return len(self.labels)

    def _behind(self, w: Float[AnyArray, "classes d"]) -> Float[Array, "n classes"]:
        """Scores of other classes less that of a datum's own; of the own class -infinity."""
        scores = self.inputs @ jnp.asarray(w).T
        own = jnp.take_along_axis(scores, self.labels[:, None], axis=1)
        here = self.labels[:, None] == jnp.arange(self.classes)
        return jnp.where(here, -jnp.inf, scores - own)

    def loss(self, w: Float[AnyArray, "classes d"]) -> Float[Array, ""]:
        """The mean cross-entropy at W, of shape `self.shape`."""
        others = jax.scipy.special.logsumexp(self._behind(w), axis=1)
        return jnp.mean(jax.nn.softplus(others))

    def margins(self, w: Float[AnyArray, "classes d"]) -> Float[Array, " n"]:
        """By how much each datum's own class has the largest score; below 0 where it has not."""
        return -jnp.max(self._behind(w), axis=1)

    def details(self) -> dict[str, Any]:
        return {"observations": self.observations, **super().details()}
