"""Sensing: linear measurements of a matrix or a tensor."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import finite_array, positive, shape_of
from gradflow.linalg.khatri_rao import khatri_rao
from gradflow.problems.base import (
    AbstractProblem,
    AbstractQuadraticProblem,
    LossConvention,
    check_counts,
    checked_convention,
    checked_truth,
    convention_weight,
)
from gradflow.problems.entrywise import EntrywiseConvention, huber, huber_slope


class AbstractSensing(AbstractProblem):
    """Numbers <A_i, W> are observed; the loss is any function of these.

    Attributes:
      measurements: (m, *shape) array of the A_i; or of rank-one A_i = a_i^1 x ... x a_i^N the rows
        a_i^k, as a tuple of (m, n_k) arrays. The A_i themselves are not formed then.
      labels: the m numbers that are observed.
    """

    measurements: eqx.AbstractVar[Array | tuple[Array, ...]]
    labels: eqx.AbstractVar[Array]

    @property
    def shape(self) -> tuple[int, ...]:
        if isinstance(self.measurements, tuple):
            return tuple(rows.shape[-1] for rows in self.measurements)
        return self.measurements.shape[self.labels.ndim :]

    @property
    def observations(self) -> int:
        """The number m of measurements."""
        return self.labels.shape[-1]

    def measure(self, w: Float[AnyArray, "*shape"]) -> Float[Array, " m"]:
        """The m numbers <A_i, W>."""
        if isinstance(self.measurements, tuple):
            left, right = self._halves(self.measurements)
            return jnp.sum(left * (jnp.reshape(w, (len(left), len(right))) @ right), axis=0)
        axes = list(range(1, w.ndim + 1))
        return jnp.einsum(self.measurements, [0, *axes], w, axes, [0])

    def adjoint(self, residual: Float[AnyArray, " m"]) -> Float[Array, "*shape"]:
        """The sum of residual_i A_i, in the shape of W."""
        if isinstance(self.measurements, tuple):
            left, right = self._halves(self.measurements)
            return ((left * residual) @ right.T).reshape(self.shape)
        axes = list(range(1, self.measurements.ndim))
        return jnp.einsum(residual, [0], self.measurements, [0, *axes], axes)

    @staticmethod
    def _halves(rows: tuple[Array, ...]) -> tuple[Array, Array]:
        """Rank-one measurements of W as a matrix: <A_i, W> = left[:, i]^T W right[:, i]."""
        cut = (len(rows) + 1) // 2
        return khatri_rao([a.T for a in rows[:cut]]), khatri_rao([a.T for a in rows[cut:]])

    def _observe(
        self,
        measurements: Checked[ArrayLike | tuple[ArrayLike, ...]],
        labels: Checked[ArrayLike],
        truth: Checked[ArrayLike | None],
        axes: int | None = None,
    ) -> None:
        if isinstance(measurements, tuple) and axes is None:
            rows = _rank_one(measurements)
            shape, count = tuple(a.shape[1] for a in rows), min(map(len, rows))
            found = tuple(jnp.asarray(a) for a in rows)
            self.measurements = found if len(found) > 1 else jnp.asarray(rows.pop())
        else:
            dense = finite_array("measurements", measurements, axes)
            if dense.ndim < 2:
                raise ValueError(
                    f"measurements must have the axes (m, *shape), but its shape is {dense.shape}; "
                    "give one array A_i of the shape of W for each label."
                )
            shape, count = dense.shape[1:], len(dense)
            self.measurements = jnp.asarray(dense)
        y = finite_array("labels", labels, ndim=1)
        check_counts(count, "measurements", len(y), "labels")
        shape_of("The shape of W", shape)
        self.labels = jnp.asarray(y)
        self.truth = checked_truth(truth, shape)


class _AbstractQuadraticSensing(AbstractSensing, AbstractQuadraticProblem):
    """The residual has one number a measurement."""

    def residual(self, w: AnyArray) -> Array:
        return self.measure(w) - self.labels


class MatrixSensing(_AbstractQuadraticSensing):
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
        self._observe(measurements, labels, truth, axes=3)
        self.convention = checked_convention(loss, LossConvention)


class TensorSensing(_AbstractQuadraticSensing):
    r"""Fit linear measurements of a tensor of any order: loss c * sum_i (<A_i, W> - y_i)^2.

    Args:
      measurements: (m, *shape) array of the A_i; or, for A_i = a_i^1 x ... x a_i^N of rank one, a
        tuple with an (m, n_k) array of the rows a_i^k for each axis k. The A_i are not formed then.
      labels: m finite numbers y_i.
      loss: the convention c; see the module's docstring.
      truth: the tensor to recover, if it is known.

    Raises:
      ValueError: on a shape mismatch, a number that is not finite, or no measurement at all.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = TensorSensing(jnp.ones((1, 2, 2, 2)), [3.0], loss="mean")
      >>> float(problem.loss(jnp.zeros((2, 2, 2))))
      9.0
      >>> again = TensorSensing((jnp.ones((1, 2)),) * 3, [3.0], loss="mean")
      >>> again.shape, float(again.loss(jnp.ones((2, 2, 2))))
      ((2, 2, 2), 25.0)

    References:
      razin2021.
    """

    measurements: Float[Array, "m ..."] | tuple[Float[Array, "m _"], ...]
    labels: Float[Array, " m"]
    truth: Float[Array, "..."] | None
    convention: LossConvention = eqx.field(static=True)

    def __init__(
        self,
        measurements: Checked[ArrayLike | tuple[ArrayLike, ...]],
        labels: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(measurements, labels, truth)
        self.convention = checked_convention(loss, LossConvention)


class HuberSensing(AbstractSensing):
    r"""Fit linear measurements of a matrix or a tensor robustly: loss c * sum_i h(<A_i, W> - y_i).

    h is Huber's loss, as of `HuberCompletion`: r^2 / 2 for |r| <= delta, and linear beyond.

    Args:
      measurements: dense ones or of rank one, as for `TensorSensing`.
      labels: m finite numbers y_i.
      delta: where the loss turns from quadratic to linear, above 0.
      loss: "sum" (c = 1; the default, for a large delta half the sum of squares) or "mean"
        (c = 1/m).
      truth: the array to recover, if it is known.

    Raises:
      ValueError: as for `TensorSensing`, and if delta is not finite and above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = HuberSensing(jnp.eye(2), [0.5, 3.0])
      >>> float(problem.loss(jnp.zeros(2)))  # 1/8 + (3 - 1/2)
      2.625
      >>> problem.gradient(jnp.zeros(2)).tolist()
      [-0.5, -1.0]

    References:
      Huber 1964, Robust Estimation of a Location Parameter; razin2021.
    """

    measurements: Float[Array, "m ..."] | tuple[Float[Array, "m _"], ...]
    labels: Float[Array, " m"]
    delta: Float[Array, ""]
    truth: Float[Array, "..."] | None
    convention: EntrywiseConvention = eqx.field(static=True)

    def __init__(
        self,
        measurements: Checked[ArrayLike | tuple[ArrayLike, ...]],
        labels: Checked[ArrayLike],
        *,
        delta: Checked[float] = 1.0,
        loss: Checked[EntrywiseConvention] = "sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(measurements, labels, truth)
        self.delta = jnp.asarray(positive("delta", delta), self.labels.dtype)
        self.convention = checked_convention(loss, EntrywiseConvention)

    @property
    def twice_differentiable(self) -> bool:
        return False

    @property
    def weight(self) -> float:
        """The factor c of the loss convention."""
        return convention_weight(self.convention, self.observations)

    def loss(self, w: Float[AnyArray, "*shape"]) -> Float[Array, ""]:
        """The loss c * sum_i h(<A_i, W> - y_i) at W."""
        return self.loss_and_gradient(w)[0]

    def gradient(self, w: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """The closed-form gradient c * sum_i h'(<A_i, W> - y_i) A_i."""
        return self.loss_and_gradient(w)[1]

    def loss_and_gradient(self, w: AnyArray) -> tuple[Array, Array]:
        """Both at the price of one residual."""
        residual = self.measure(w) - self.labels
        slope = self.weight * huber_slope(residual, self.delta)
        return self.weight * jnp.sum(huber(residual, self.delta)), self.adjoint(slope)

    def details(self) -> dict[str, Any]:
        return {
            "observations": self.observations,
            "loss_convention": self.convention,
            "delta": float(self.delta),
        }


def _rank_one(measurements: tuple[Any, ...]) -> list[Any]:
    """The rows of rank-one measurements, one matrix an axis."""
    rows = [finite_array(f"measurements[{k}]", part) for k, part in enumerate(measurements)]
    shapes = [part.shape for part in rows]
    if not rows or any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            "measurements as a tuple must hold an (m, n_k) matrix for each axis, with the vectors "
            f"of rank-one measurements as rows, but the shapes are {shapes}; give dense ones as "
            "one array (m, *shape)."
        )
    return rows
