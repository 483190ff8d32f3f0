"""Completion: some entries of a matrix or tensor are observed."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.processes import memory
from gradflow._util.validate import entry_indices, observed_values, shape_of
from gradflow.problems.base import (
    AbstractProblem,
    AbstractQuadraticProblem,
    LossConvention,
    _one_of,
    _truth,
)


class AbstractCompletion(AbstractProblem):
    """Some entries of an array are observed; the loss is any function of these.

    Attributes:
      indices: (n, order) positions.
      values: what is observed there.
      mask: 1 where an entry is observed, else 0, in the shape of W.
      target: the values at their places, 0 elsewhere.
    """

    indices: eqx.AbstractVar[Array]
    values: eqx.AbstractVar[Array]
    mask: eqx.AbstractVar[Array]
    target: eqx.AbstractVar[Array]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mask.shape[-self.indices.shape[-1] :]

    @property
    def observations(self) -> int:
        """The number n of observed values."""
        return self.indices.shape[-2]

    def _observe(
        self,
        shape: Checked[Sequence[int]],
        axes: int | None,
        indices: Checked[ArrayLike],
        values: Checked[ArrayLike],
        truth: Checked[ArrayLike | None],
    ) -> None:
        shape = shape_of("shape", shape, axes)
        indices, observed = observed_values(indices, values, len(shape))
        where = entry_indices(indices, shape, observed.shape[0])
        _see_room(shape, observed.itemsize)
        mask = np.zeros(shape, observed.dtype)
        target = np.zeros(shape, observed.dtype)
        mask[tuple(where.T)] = 1
        target[tuple(where.T)] = observed
        self.indices = jnp.asarray(where)
        self.values = jnp.asarray(observed)
        self.mask = jnp.asarray(mask)
        self.target = jnp.asarray(target)
        self.truth = _truth(truth, shape)


def _see_room(shape: tuple[int, ...], itemsize: int) -> None:
    """See that mask and target can be stored.

    Raises:
      ValueError: if this machine has not so much memory.
    """
    room, wanted = memory(), 2 * itemsize * math.prod(shape)
    if room is not None and wanted > room:
        raise ValueError(
            f"An array of shape {shape} is stored twice, in {wanted / 2**30:.0f} GiB, and this "
            f"machine has {room / 2**30:.0f}; a matrix with few observations fits as a "
            "gradflow.problems.SparseCompletion."
        )


class _AbstractQuadraticCompletion(AbstractCompletion, AbstractQuadraticProblem):
    """The residual is dense, with zeros where nothing is known."""

    def residual(self, w: AnyArray) -> Array:
        return self.mask * (w - self.target)

    def adjoint(self, residual: Array) -> Array:
        return residual


class MatrixCompletion(_AbstractQuadraticCompletion):
    r"""Fit observed entries of a matrix: loss c * sum_{(i,j) observed} (W_ij - b_ij)^2.

    Args:
      shape: (d, d').
      indices: (n, 2) integers, counted from 0, none repeated; or a tuple of arrays, one an
        axis, as `numpy.nonzero` gives it.
      values: n finite numbers b_ij; those that a `numpy.ma` array masks are not observed.
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
        shape: Checked[Sequence[int]],
        indices: Checked[ArrayLike],
        values: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(shape, 2, indices, values, truth)
        self.convention = _one_of(loss, LossConvention)


class TensorCompletion(_AbstractQuadraticCompletion):
    r"""Fit observed entries of a tensor of any order: loss c * sum_observed (W_i - b_i)^2.

    Args:
      shape: the lengths of the axes.
      indices: (n, order) integers, counted from 0, none repeated; or a tuple of arrays, one an
        axis, as `numpy.nonzero` gives it.
      values: n finite numbers, masked ones as for `MatrixCompletion`.
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
        shape: Checked[Sequence[int]],
        indices: Checked[ArrayLike],
        values: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(shape, None, indices, values, truth)
        self.convention = _one_of(loss, LossConvention)
