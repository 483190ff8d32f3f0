r"""What is fitted: least-squares problems in a matrix, a tensor or a vector W.

Every problem is linear measurement and a quadratic loss,

    loss(W) = c * sum_k (A(W) - y)_k^2,    gradient(W) = 2 c A^T(A(W) - y),

with the factor c chosen by name, since papers differ: "half_sum" (c = 1/2; Arora, Razin, Wang),
"sum" (c = 1; Zhao) and "mean" (c = 1/n; the code of Arora, and of Razin for tensors).
"""

import abc
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from gradflow._validate import entry_indices, finite_array, shape_of

LossConvention = Literal["half_sum", "sum", "mean"]


def astype(tree: Any, dtype: Any) -> Any:
    """Convert every floating-point array in a problem, objective or set of factors.

    Args:
      tree: any tree of arrays (problems and factorisations are trees).
      dtype: the wanted precision, for instance `jax.numpy.float32`.

    Returns:
      The same tree with converted arrays; integers and booleans stay.

    Example:
      >>> import jax.numpy as jnp
      >>> astype((jnp.ones(2), jnp.arange(2)), jnp.float32)[0].dtype
      dtype('float32')
    """

    def convert(leaf: Any) -> Any:
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf.astype(dtype)
        return leaf

    return jax.tree.map(convert, tree)


class AbstractProblem(eqx.Module):
    """A quadratic loss in W. See the module's docstring for the three conventions."""

    convention: eqx.AbstractVar[LossConvention]
    truth: eqx.AbstractVar[Array | None]

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of W."""

    @property
    @abc.abstractmethod
    def observations(self) -> int:
        """The number n of observed values."""

    @abc.abstractmethod
    def residual(self, w: Array) -> Array:
        """A(W) - y, in whatever shape suits the problem (unobserved places hold 0)."""

    @abc.abstractmethod
    def adjoint(self, residual: Array) -> Array:
        """A^T applied to a residual: an array of the shape of W."""

    @property
    def weight(self) -> float:
        """The factor c of the loss convention."""
        return {"half_sum": 0.5, "sum": 1.0, "mean": 1.0 / self.observations}[self.convention]

    def loss(self, w: Float[Array, "*shape"]) -> Float[Array, ""]:
        """The loss c * ||A(W) - y||^2 at W, of shape `self.shape`."""
        return self.weight * jnp.sum(self.residual(w) ** 2)

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The closed-form gradient 2 c A^T(A(W) - y) of the loss at W."""
        return 2 * self.weight * self.adjoint(self.residual(w))

    def loss_and_gradient(self, w: Array) -> tuple[Array, Array]:
        """Both at the price of one residual."""
        residual = self.residual(w)
        return self.weight * jnp.sum(residual**2), 2 * self.weight * self.adjoint(residual)


def _convention(value: str) -> LossConvention:
    if value not in get_args(LossConvention):
        raise ValueError(
            f"loss must be one of {', '.join(get_args(LossConvention))}, but it is {value!r}."
        )
    return cast(LossConvention, value)


def _truth(truth: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    if truth is None:
        return None
    array = finite_array("truth", truth)
    if array.shape != shape:
        raise ValueError(
            f"truth has shape {array.shape} but the problem has shape {shape}; they must agree."
        )
    return jnp.asarray(array)


class _AbstractCompletion(AbstractProblem):
    """Observed entries of an array; the residual is dense, with zeros where nothing is known."""

    indices: eqx.AbstractVar[Array]
    values: eqx.AbstractVar[Array]
    mask: eqx.AbstractVar[Array]
    target: eqx.AbstractVar[Array]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mask.shape[-self.indices.shape[-1] :]

    @property
    def observations(self) -> int:
        return self.indices.shape[-2]

    def residual(self, w: Array) -> Array:
        return self.mask * (w - self.target)

    def adjoint(self, residual: Array) -> Array:
        return residual

    def _fill(
        self,
        shape: Sequence[int],
        axes: int | None,
        indices: Any,
        values: Any,
        loss: str,
        truth: ArrayLike | None,
    ) -> None:
        shape = shape_of("shape", shape, axes)
        observed = finite_array("values", values, ndim=1)
        where = entry_indices(indices, shape, observed.shape[0])
        mask = np.zeros(shape, observed.dtype)
        target = np.zeros(shape, observed.dtype)
        mask[tuple(where.T)] = 1
        target[tuple(where.T)] = observed
        self.indices = jnp.asarray(where)
        self.values = jnp.asarray(observed)
        self.mask = jnp.asarray(mask)
        self.target = jnp.asarray(target)
        self.convention = _convention(loss)
        self.truth = _truth(truth, shape)


class MatrixCompletion(_AbstractCompletion):
    r"""Fit observed entries of a matrix: loss c * sum_{(i,j) observed} (W_ij - b_ij)^2.

    Args:
      shape: (d, d').
      indices: (n, 2) integers, counted from 0, none repeated.
      values: n finite numbers b_ij.
      loss: the convention c; see the module's docstring.
      truth: the (d, d') matrix to recover, if it is known.

    Raises:
      ValueError: on a shape mismatch, an index out of range or repeated, a value that is not
        finite, or no observation at all.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = MatrixCompletion((2, 2), [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.0])
      >>> float(problem.loss(jnp.zeros((2, 2))))
      1.0
      >>> problem.gradient(jnp.zeros((2, 2))).tolist()
      [[0.0, -1.0], [-1.0, 0.0]]

    References:
      razin2020, Equation (1); arora2019, Section 2.
    """

    indices: Int[Array, "n 2"]
    values: Float[Array, " n"]
    mask: Float[Array, "d d_prime"]
    target: Float[Array, "d d_prime"]
    truth: Float[Array, "d d_prime"] | None
    convention: LossConvention = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        indices: Any,
        values: Any,
        *,
        loss: LossConvention = "half_sum",
        truth: ArrayLike | None = None,
    ):
        self._fill(shape, 2, indices, values, loss, truth)


class TensorCompletion(_AbstractCompletion):
    r"""Fit observed entries of a tensor of any order: loss c * sum_observed (W_i - b_i)^2.

    Args:
      shape: the lengths of the axes.
      indices: (n, order) integers, counted from 0, none repeated.
      values: n finite numbers.
      loss: the convention c; see the module's docstring.
      truth: the tensor to recover, if it is known.

    Raises:
      ValueError: as for `MatrixCompletion`.

    Example:
      >>> import jax.numpy as jnp
      >>> problem = TensorCompletion((2, 2, 2), [[0, 1, 0]], [3.0], loss="mean")
      >>> float(problem.loss(jnp.zeros((2, 2, 2))))
      9.0

    References:
      razin2020, Section 4.2.
    """

    indices: Int[Array, "n order"]
    values: Float[Array, " n"]
    mask: Float[Array, "..."]
    target: Float[Array, "..."]
    truth: Float[Array, "..."] | None
    convention: LossConvention = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        indices: Any,
        values: Any,
        *,
        loss: LossConvention = "half_sum",
        truth: ArrayLike | None = None,
    ):
        self._fill(shape, None, indices, values, loss, truth)


class MatrixSensing(AbstractProblem):
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
        measurements: Any,
        labels: Any,
        *,
        loss: LossConvention = "half_sum",
        truth: ArrayLike | None = None,
    ):
        a = finite_array("measurements", measurements, ndim=3)
        y = finite_array("labels", labels, ndim=1)
        _same_count(len(a), "measurements", len(y), "labels")
        shape_of("The shape of W", a.shape[1:])
        self.measurements = jnp.asarray(a)
        self.labels = jnp.asarray(y)
        self.convention = _convention(loss)
        self.truth = _truth(truth, a.shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.measurements.shape[-2:]

    @property
    def observations(self) -> int:
        return self.labels.shape[-1]

    def residual(self, w: Array) -> Array:
        return jnp.einsum("kij,ij->k", self.measurements, w) - self.labels

    def adjoint(self, residual: Array) -> Array:
        return jnp.einsum("k,kij->ij", residual, self.measurements)


class LeastSquares(AbstractProblem):
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
        inputs: Any,
        targets: Any,
        *,
        loss: LossConvention = "half_sum",
        truth: ArrayLike | None = None,
    ):
        x = finite_array("inputs", inputs, ndim=2)
        y = finite_array("targets", targets)
        if y.ndim not in (1, 2):
            raise ValueError(f"targets must have 1 or 2 axes, but its shape is {y.shape}.")
        _same_count(len(x), "inputs", len(y), "targets")
        shape_of("The shape of W", (x.shape[1], *y.shape[1:]))
        self.inputs = jnp.asarray(x)
        self.targets = jnp.asarray(y)
        self.convention = _convention(loss)
        self.truth = _truth(truth, (x.shape[1], *y.shape[1:]))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.inputs.shape[1], *self.targets.shape[1:])

    @property
    def observations(self) -> int:
        return int(np.prod(self.targets.shape))

    def residual(self, w: Array) -> Array:
        return self.inputs @ w - self.targets

    def adjoint(self, residual: Array) -> Array:
        return self.inputs.T @ residual


def _same_count(first: int, first_name: str, second: int, second_name: str) -> None:
    if first == 0:
        raise ValueError(f"There is no observation at all: {first_name} is empty; give some.")
    if first != second:
        raise ValueError(
            f"There are {first} {first_name} but {second} {second_name}; give one for each."
        )
