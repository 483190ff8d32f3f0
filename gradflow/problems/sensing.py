"""Sensing: linear measurements of a matrix."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import finite_array, shape_of
from gradflow.problems.base import (
    AbstractQuadraticProblem,
    LossConvention,
    _one_of,
    _same_count,
    _truth,
)


class MatrixSensing(AbstractQuadraticProblem):
    r"""Fit linear measurements of a matrix: loss c * sum_i (<A_i, W> - y_i)^2.

    Args:
      measurements: (m, d, d') array of the A_i.
      labels: m finite numbers y_i.
      loss: the convention c; see the module's docstring.
      truth: the (d, d') matrix to recover, if it is known.

    Raises:
      ValueError: on a shape mismatch, a number that is not finite, or no measurement at all.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = MatrixSensing(jnp.eye(2)[None], [3.0])
      >>> float(problem.loss(jnp.eye(2)))
      0.5

    References:
      arora2019, Equation (2).
    """

    measurements: Float[Array, "m d d_prime"]
    labels: Float[Array, " m"]
    truth: Float[Array, "d d_prime"] | None
    convention: LossConvention = eqx.field(static=True)

    def __init__(
        self,
        measurements: Checked[ArrayLike],
        labels: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        a = finite_array("measurements", measurements, ndim=3)
        y = finite_array("labels", labels, ndim=1)
        _same_count(len(a), "measurements", len(y), "labels")
        shape_of("The shape of W", a.shape[1:])
        self.measurements = jnp.asarray(a)
        self.labels = jnp.asarray(y)
        self.convention = _one_of(loss, LossConvention)
        self.truth = _truth(truth, a.shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.measurements.shape[-2:]

    @property
    def observations(self) -> int:
        return self.labels.shape[-1]

    def residual(self, w: AnyArray) -> Array:
        return jnp.einsum("kij,ij->k", self.measurements, w) - self.labels

    def adjoint(self, residual: Array) -> Array:
        return jnp.einsum("k,kij->ij", residual, self.measurements)
