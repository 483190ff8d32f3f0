"""Completion: some entries of a matrix or tensor are observed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.processes import memory
from gradflow._util.validate import entry_indices, observed_values, shape_of
from gradflow.problems._array_file import read_array
from gradflow.problems._observed import observed_entries
from gradflow.problems.base import (
    AbstractProblem,
    AbstractQuadraticProblem,
    LossConvention,
    checked_convention,
    checked_truth,
)


class AbstractCompletion(AbstractProblem):
    """Some entries of an array are observed; the loss is any function of these.

    Attributes:
      indices: (n, order) positions.
      values: what is observed there.
      mask: 1 where an entry is observed, else 0, in the shape of W.
      target: the values at their places, 0 elsewhere.
      axes: how many W has; None for any number.
    """

    indices: eqx.AbstractVar[Array]
    values: eqx.AbstractVar[Array]
    mask: eqx.AbstractVar[Array]
    target: eqx.AbstractVar[Array]
    axes: ClassVar[int | None] = None

    @classmethod
    def from_array(
        cls, array: Any, *, mask: Any = None, missing: Checked[float | None] = None, **options: Any
    ) -> Self:
        """The problem of filling an array's gaps: what is NaN, masked or not stored.

        Args:
          array: numbers with NaN (or None) where nothing is observed: an array of any library,
            nested lists, a pandas DataFrame. Or a `numpy.ma` array, whose masked entries are not
            observed. Or a SciPy sparse array of any format, whose stored entries are observed,
            zeros among them.
          mask: an array of the same shape, True or 1 where an entry is observed. What stands behind
            its zeros is never looked at. By default all that is not NaN is observed.
          missing: a number that stands for "nothing is observed here", such as 99.
          **options: as for the class itself, such as `loss` and `truth`.

        Raises:
          ValueError: if an observed entry is no finite number, the mask does not fit, a sparse
            array stores an entry twice, or nothing is observed; and as the class itself.

        Example:
          >>> import gradflow as gf, numpy as np
          >>> problem = gf.MatrixCompletion.from_array([[1.0, np.nan], [3.0, 4.0]])
          >>> problem.indices.tolist(), problem.values.tolist()
          ([[0, 0], [1, 0], [1, 1]], [1.0, 3.0, 4.0])
          >>> gf.MatrixCompletion.from_array(np.eye(2), mask=[[1, 1], [1, 0]]).observations
          3
        """
        shape, indices, values = observed_entries(array, mask, missing)
        if cls.axes is not None and len(shape) != cls.axes:
            raise ValueError(
                f"{cls.__name__} needs an array with {cls.axes} axes, but its shape is {shape}; "
                "take gradflow.TensorCompletion, or a part of it."
            )
        make: Any = cls
        return make(shape, indices, values, **options)

    @classmethod
    def from_file(
        cls, path: Checked[str | Path], *, key: Checked[str | None] = None, **options: Any
    ) -> Self:
        """The problem of filling the gaps of an array in a file.

        A picture's brightness goes from 0 to 1, and where it is fully transparent nothing is
        observed; of a coloured one, a matrix is the brightness of its colours, a tensor has them
        along its last axis.

        Args:
          path: .npy; .npz of NumPy or of SciPy's sparse arrays; .mtx; or a picture (.png, .jpg).
          key: the array's name in an .npz file with several.
          **options: as for `from_array`.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it is of another kind or damaged; and as `from_array`.

        Example:
          >>> import gradflow as gf, numpy as np, pathlib, tempfile
          >>> path = pathlib.Path(tempfile.mkdtemp()) / "y.npy"
          >>> np.save(path, np.array([[1.0, np.nan], [3.0, 4.0]]))
          >>> gf.MatrixCompletion.from_file(path).observations
          3
        """
        return cls.from_array(read_array(path, key, in_grey=cls.axes == 2), **options)

    def with_values(self, values: Float[AnyArray, " n"]) -> Self:
        """The same entries with other values, which may be traced by `jax.jit`, `vmap` or `grad`.

        Args:
          values: n numbers, in the order of `indices`.

        Raises:
          ValueError: if there are not n of them.

        Example:
          >>> import gradflow as gf, jax, jax.numpy as jnp
          >>> problem = gf.MatrixCompletion((2, 2), [[0, 1], [1, 0]], [1.0, 2.0])
          >>> loss = lambda values: problem.with_values(values).loss(jnp.zeros((2, 2)))
          >>> jax.grad(loss)(problem.values).tolist()
          [1.0, 2.0]
        """
        if values.shape != self.values.shape:
            raise ValueError(
                f"values has shape {values.shape}, but {self.values.shape[0]} entries are observed;"
                " give one value for each."
            )
        values = jnp.asarray(values, self.values.dtype)
        target = jnp.zeros_like(self.target).at[tuple(self.indices.T)].set(values)
        return eqx.tree_at(lambda p: (p.values, p.target), self, (values, target))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mask.shape[-self.indices.shape[-1] :]

    @property
    def observations(self) -> int:
        """The number n of observed values."""
        return self.indices.shape[-2]

    def in_place(self, numbers: Float[AnyArray, " n"]) -> Array:
        """Numbers that belong to observed entries, at these; 0 elsewhere."""
        zero = jnp.zeros(self.shape, numbers.dtype)
        return zero.at[tuple(self.indices.T)].set(numbers)

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
        self.truth = checked_truth(truth, shape)


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
    axes: ClassVar[int | None] = 2

    def __init__(
        self,
        shape: Checked[Sequence[int]],
        indices: Checked[ArrayLike],
        values: Checked[ArrayLike],
        *,
        loss: Checked[LossConvention] = "half_sum",
        truth: Checked[ArrayLike | None] = None,
    ):
        self._observe(shape, self.axes, indices, values, truth)
        self.convention = checked_convention(loss, LossConvention)


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
        self._observe(shape, self.axes, indices, values, truth)
        self.convention = checked_convention(loss, LossConvention)
