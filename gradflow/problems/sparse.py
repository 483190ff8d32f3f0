"""Completion of matrices that are too large to be stored: nothing but the observations is."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import entry_indices, observed_values, shape_of
from gradflow.problems.base import AbstractQuadraticProblem, LossConvention, checked_convention


class SparseCompletion(AbstractQuadraticProblem):
    r"""Fit observed entries of a matrix that is never formed: loss c * sum (W_ij - b_ij)^2.

    The loss is that of `MatrixCompletion`, which stores two matrices of the shape of W. Here memory
    goes by the observations and by the factors, so that 10^5 x 10^5 with 10^7 observations takes
    some hundred megabytes. It is for a `MatrixProduct` with a thin hidden size, without a penalty
    on W.

    Args:
      shape: (d, d').
      indices: (n, 2) integers, counted from 0, none repeated; or a tuple of two arrays.
      values: n finite numbers b_ij; those that a `numpy.ma` array masks are not observed.
      loss: the convention c; see `gradflow.problems`.
      held_out: indices and values that are not fitted, as a pair; "test_error" and
        "mean_squared_error" are those of W there.

    Raises:
      ValueError: as `MatrixCompletion`, and if an entry is both observed and held out.

    Example:
      >>> import gradflow as gf, jax
      >>> problem = SparseCompletion((10**6, 10**6), [[0, 1], [9, 5]], [1.0, 2.0])
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, 2, hidden=1))
      >>> start = objective.factorization.gaussian(jax.random.key(0), std=0.1)
      >>> objective.gradient(start)[1].shape
      (1000000, 1)
    """

    array_shape: tuple[int, int] = eqx.field(static=True)
    indices: Int[Array, "n 2"]
    values: Float[Array, " n"]
    held_out: tuple[Int[Array, "m 2"], Float[Array, " m"]] | None
    truth: Array | None
    convention: LossConvention = eqx.field(static=True)

    def __init__(
        self,
        shape: Checked[Sequence[int]],
        indices: Checked[ArrayLike],
        values: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        held_out: Checked[tuple[ArrayLike, ArrayLike] | None] = None,
    ):
        rows, columns = shape_of("shape", shape, 2)
        self.array_shape = (rows, columns)
        where, observed = _in_order(self.array_shape, indices, values)
        self.held_out = None
        if held_out is not None:
            if not isinstance(held_out, tuple | list) or len(held_out) != 2:
                raise ValueError(f"held_out must be (indices, values), but it is {held_out!r}.")
            hidden, wanted = _in_order(self.array_shape, *held_out)
            _see_apart(self.array_shape, where, hidden)
            self.held_out = (jnp.asarray(hidden), jnp.asarray(wanted))
        self.indices, self.values, self.truth = jnp.asarray(where), jnp.asarray(observed), None
        self.convention = checked_convention(loss, LossConvention)

    @property
    def shape(self) -> tuple[int, int]:
        return self.array_shape

    @property
    def observations(self) -> int:
        return self.indices.shape[-2]

    def residual(self, w: AnyArray) -> Array:
        """A(W) - y, one number an observation, of a W that is there."""
        return w[self.indices[:, 0], self.indices[:, 1]] - self.values

    def adjoint(self, residual: Array) -> Array:
        zero = jnp.zeros(self.array_shape, residual.dtype)
        return zero.at[self.indices[:, 0], self.indices[:, 1]].add(residual)

    def details(self) -> dict[str, Any]:
        held_out = 0 if self.held_out is None else self.held_out[1].shape[-1]
        return super().details() | {"held_out": held_out}


def _in_order(
    shape: tuple[int, int], indices: Checked[Any], values: Checked[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Checked, and row by row: what is gathered in turn then lies side by side."""
    indices, observed = observed_values(indices, values, 2)
    where = entry_indices(indices, shape, observed.shape[0])
    order = np.argsort(_flat(shape, where), kind="stable")
    return where[order].astype(np.int32), observed[order]


def _flat(shape: tuple[int, int], where: np.ndarray) -> np.ndarray:
    return where[:, 0].astype(np.int64) * shape[1] + where[:, 1]


def _see_apart(shape: tuple[int, int], where: np.ndarray, hidden: np.ndarray) -> None:
    """See that no entry is both observed and held out."""
    both = np.flatnonzero(np.isin(_flat(shape, hidden), _flat(shape, where), kind="sort"))
    if both.size:
        raise ValueError(
            f"The entry {hidden[both[0]].tolist()} is observed and held out ({both.size} such in "
            "all); give each once."
        )
