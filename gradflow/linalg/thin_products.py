r"""Products left @ right of thin factors that are never formed: entries, misfits, spectra.

What costs memory is the entries asked for, not the size of the product.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow._util.annotations import AnyArray
from gradflow.linalg.thin_svd import values

_CHUNKS = {"cpu": 2**12, "other": 2**20}
"""Entries at a time: rows that are gathered stay in a CPU's cache; an accelerator wants many."""


class Misfit(NamedTuple):
    """How far entries are from values, and which way they are nearer.

    Attributes:
      squares: the sum of the squared differences.
      left: half its gradient in the left factor.
      right: half its gradient in the right factor.
    """

    squares: Float[Array, ""]
    left: Float[Array, "m k"]
    right: Float[Array, "k n"]


def entries(
    left: Float[AnyArray, "m k"], right: Float[AnyArray, "k n"], indices: Int[AnyArray, "u 2"]
) -> Float[Array, " u"]:
    """The entries of left @ right at the indices.

    Args:
      left: the left factor.
      right: the right factor.
      indices: rows and columns.

    Example:
      >>> import jax.numpy as jnp
      >>> entries(jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 4.0]]), jnp.array([[1, 0]])).tolist()
      [6.0]
    """
    left, columns = jnp.asarray(left), jnp.asarray(right).T

    def entry(at: Array) -> Array:
        return jnp.sum(left[at[0]] * columns[at[1]])

    return jax.lax.map(entry, jnp.asarray(indices), batch_size=_chunk())


def misfit(
    left: Float[AnyArray, "m k"],
    right: Float[AnyArray, "k n"],
    indices: Int[AnyArray, "u 2"],
    values: Float[AnyArray, " u"],
) -> Misfit:
    """Entries of left @ right against values: rows are gathered, gradients summed by segments.

    Args:
      left: the left factor.
      right: the right factor.
      indices: rows and columns.
      values: what is wanted there.

    Example:
      >>> import jax.numpy as jnp
      >>> found = misfit(
      ...     jnp.array([[1.0], [2.0]]),
      ...     jnp.array([[3.0, 4.0]]),
      ...     jnp.array([[1, 0]]),
      ...     jnp.array([5.0]),
      ... )
      >>> float(found.squares), found.left.tolist(), found.right.tolist()
      (1.0, [[0.0], [3.0]], [[2.0, 0.0]])
    """
    left, columns = jnp.asarray(left), jnp.asarray(right).T
    indices, values = jnp.asarray(indices), jnp.asarray(values)

    def add(total: tuple[Array, Array, Array], at: Array, wanted: Array) -> tuple:
        squares, of_left, of_columns = total
        one, other = left[at[:, 0]], columns[at[:, 1]]
        residual = jnp.sum(one * other, axis=1) - wanted
        return (
            squares + jnp.sum(residual**2),
            of_left.at[at[:, 0]].add(residual[:, None] * other),
            of_columns.at[at[:, 1]].add(residual[:, None] * one),
        )

    none = (jnp.zeros((), left.dtype), jnp.zeros_like(left), jnp.zeros_like(columns))
    size = _chunk()
    whole = len(values) // size

    def chunk(k: Array, total: tuple) -> tuple:
        at = jax.lax.dynamic_slice_in_dim(indices, k * size, size)
        return add(total, at, jax.lax.dynamic_slice_in_dim(values, k * size, size))

    total = jax.lax.fori_loop(0, whole, chunk, none) if whole else none
    if whole * size < len(values):
        total = add(total, indices[whole * size :], values[whole * size :])
    return Misfit(total[0], total[1], total[2].T)


def squared_misfit(
    left: Float[AnyArray, "m k"],
    right: Float[AnyArray, "k n"],
    indices: Int[AnyArray, "u 2"],
    values: Float[AnyArray, " u"],
) -> Float[Array, ""]:
    """The sum of the squared differences alone; see `misfit`.

    Args:
      left: the left factor.
      right: the right factor.
      indices: rows and columns.
      values: what is wanted there.
    """
    return jnp.sum((entries(left, right, indices) - values) ** 2)


def singular_values(
    left: Float[AnyArray, "m k"], right: Float[AnyArray, "k n"]
) -> Float[Array, " r"]:
    """Singular values of left @ right in falling order, those that the sizes allow.

    Args:
      left: the left factor.
      right: the right factor.

    Example:
      >>> import jax.numpy as jnp
      >>> singular_values(jnp.array([[3.0], [4.0]]), jnp.array([[0.0, 2.0, 0.0]])).tolist()
      [10.0]
    """
    return values(_core(left, right))


def norm(left: Float[AnyArray, "m k"], right: Float[AnyArray, "k n"]) -> Float[Array, ""]:
    """The Frobenius norm of left @ right.

    Args:
      left: the left factor.
      right: the right factor.

    Example:
      >>> import jax.numpy as jnp
      >>> norm(jnp.array([[3.0], [4.0]]), jnp.array([[0.0, 2.0, 0.0]])).item()
      10.0
    """
    return jnp.linalg.norm(_core(left, right))


def _core(left: Any, right: Any) -> Array:
    """R_1 R_2^T of left = Q_1 R_1 and right^T = Q_2 R_2, with orthonormal columns of Q_1 and Q_2.

    It has the singular values of left @ right.
    """
    upper, lower = (jnp.linalg.qr(jnp.asarray(half), mode="r") for half in (left, right.T))
    return upper @ lower.T


def _chunk() -> int:
    """How many entries are had at a time."""
    return _CHUNKS.get(jax.default_backend(), _CHUNKS["other"])
