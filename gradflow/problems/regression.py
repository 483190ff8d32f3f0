"""Linear regression."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import finite_array, shape_of
from gradflow.linalg.products import product, transposed_product
from gradflow.problems.base import (
    AbstractQuadraticProblem,
    LossConvention,
    check_counts,
    checked_convention,
    checked_truth,
)


class LeastSquares(AbstractQuadraticProblem):
    r"""Linear regression: loss c * ||X beta - y||^2.

    Args:
      inputs: the (n, d) design matrix X.
      targets: (n,) for a coefficient vector of shape (d,), or (n, k) for coefficients (d, k).
      loss: the convention c; see the module's docstring.
      truth: the coefficients to recover, if they are known.

    Raises:
      ValueError: on a shape mismatch, a number that is not finite, or no observation at all.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = LeastSquares([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
      >>> problem.gradient(jnp.zeros(2)).tolist()
      [-1.0, -4.0]

    References:
      wang2024, Section 3.
    """

    inputs: Float[Array, "n d"]
    targets: Float[Array, "n *k"]
    truth: Float[Array, "d *k"] | None
    convention: LossConvention = eqx.field(static=True)

    def __init__(
        self,
        inputs: Checked[ArrayLike],
        targets: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        x = finite_array("inputs", inputs, ndim=2)
        y = finite_array("targets", targets)
        if y.ndim not in (1, 2):
            raise ValueError(f"targets must have 1 or 2 axes, but its shape is {y.shape}.")
        check_counts(len(x), "inputs", len(y), "targets")
        shape_of("The shape of W", (x.shape[1], *y.shape[1:]))
        self.inputs = jnp.asarray(x)
        self.targets = jnp.asarray(y)
        self.convention = checked_convention(loss, LossConvention)
        self.truth = checked_truth(truth, (x.shape[1], *y.shape[1:]))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.inputs.shape[1], *self.targets.shape[1:])

    @property
    def observations(self) -> int:
        return int(np.prod(self.targets.shape))

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.targets.shape

    def in_place(self, numbers: Float[AnyArray, "n *k"]) -> Array:
        return jnp.reshape(numbers, (*numbers.shape, *[1] * (self.targets.ndim - numbers.ndim)))

    def residual(self, w: AnyArray) -> Array:
        return product(self.inputs, w) - self.targets

    def adjoint(self, residual: Array) -> Array:
        return transposed_product(self.inputs, residual)
