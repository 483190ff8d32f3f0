"""A loss given as a function."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.provenance import describe_function
from gradflow._util.validate import shape_of
from gradflow.problems.base import AbstractProblem, checked_truth


class LossFunction(AbstractProblem):
    r"""A function as a loss: loss(W) = function(W, *data).

    The function is a part of the compiled program, and so are the arrays it closes over, with the
    values they had when it was compiled. Arrays given as `data` are arguments: other values of them
    do not compile again, go through one batch (`run_descents`, `solve_flows`), follow
    `gradflow.astype`, and a stored run has their fingerprint.

    Args:
      shape: the shape of W.
      function: pure, from W and the data to a scalar, twice differentiable by JAX.
      *data: arrays, or trees of arrays.
      truth: the array to recover, if it is known.
      twice_differentiable: False where second derivatives jump, as those of `optax.huber_loss`; see
        `AbstractProblem.twice_differentiable`.

    Raises:
      ValueError: if the function is none, cannot be hashed, or does not give one real number.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> problem = LossFunction((2, 2), lambda w: jnp.sum((w - jnp.eye(2)) ** 4))
      >>> problem.gradient(jnp.zeros((2, 2))).tolist()
      [[-4.0, 0.0], [0.0, -4.0]]
      >>> def quartic(w, target):
      ...     return jnp.sum((w - target) ** 4)
      >>> one, other = (LossFunction((2, 2), quartic, k * jnp.eye(2)) for k in (1.0, 2.0))
      >>> objectives = [gf.Objective(p, gf.MatrixProduct((2, 2, 2))) for p in (one, other)]
      >>> starts = 2 * [gf.factorizations.identity_factors((2, 2, 2), 0.5)]
      >>> flows = gf.solve_flows(objectives, starts, stop_loss=1e-4)
      >>> [round(float(flow["singular_values"][-1, 0]), 2) for flow in flows]
      [0.92, 1.92]
    """

    array_shape: tuple[int, ...] = eqx.field(static=True)
    function: Callable[..., Any] = eqx.field(static=True)
    data: tuple[Any, ...]
    truth: Array | None
    continuous: bool = eqx.field(static=True)

    def __init__(
        self,
        shape: Checked[Sequence[int]],
        function: Checked[Callable[..., Any]],
        *data: Any,
        truth: Checked[ArrayLike | None] = None,
        twice_differentiable: bool = True,
    ):
        self.array_shape = shape_of("shape", shape)
        if not callable(function):
            raise ValueError(
                f"function must be a function of W, but it is {function!r}; pass its arrays after "
                "it, as LossFunction(shape, function, *data)."
            )
        try:
            hash(function)
        except TypeError:
            raise ValueError(
                f"function must be hashable, but {function!r} is not; pass a plain function, and "
                "its arrays after it, as LossFunction(shape, function, *data)."
            ) from None
        self.function = function
        self.data = jax.tree.map(jnp.asarray, data)
        self.truth = checked_truth(truth, self.array_shape)
        self.continuous = bool(twice_differentiable)
        w = jax.ShapeDtypeStruct(self.array_shape, jnp.result_type(float))
        found = jax.eval_shape(lambda w, data: jnp.asarray(function(w, *data)), w, self.data)
        if found.shape != () or not jnp.issubdtype(found.dtype, jnp.floating):
            raise ValueError(
                f"function must give one real number for W of shape {self.array_shape}, but it "
                f"gives {found.dtype}{list(found.shape)}; sum over the entries, for instance."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array_shape

    @property
    def twice_differentiable(self) -> bool:
        return self.continuous

    def loss(self, w: Float[AnyArray, "*shape"]) -> Float[Array, ""]:
        """The function of W and the data, in the precision of W."""
        return jnp.asarray(self.function(w, *self.data), w.dtype)

    def details(self) -> dict[str, Any]:
        return {"function": describe_function(self.function)}
