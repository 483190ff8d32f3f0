r"""Products of matrices that are spread over a grid of devices, none of which holds a whole one.

Block (i, j) of each matrix lies on device (i, j). A device gathers a row or a column of blocks,
multiplies what it has, and gives sums away as they become its neighbours' blocks.
"""

from collections.abc import Callable

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from gradflow._util.spread import COLUMNS, ROWS


def times(a: Float[Array, "m k"], b: Float[Array, "k n"], mesh: Mesh) -> Float[Array, "m n"]:
    """The product a b.

    Args:
      a: the left matrix.
      b: the right matrix.
      mesh: the grid of devices.
    """

    def own(a: Array, b: Array) -> Array:
        row = jax.lax.all_gather(a, COLUMNS, axis=1, tiled=True)
        column = jax.lax.all_gather(b, ROWS, axis=0, tiled=True)
        return row @ column

    return _on(mesh, own)(a, b)


def times_transposed(
    a: Float[Array, "m k"], b: Float[Array, "n k"], mesh: Mesh
) -> Float[Array, "m n"]:
    """The product a b^T.

    Args:
      a: the left matrix.
      b: the right matrix, transposed.
      mesh: the grid of devices.
    """

    def own(a: Array, b: Array) -> Array:
        column = jax.lax.all_gather(b, ROWS, axis=0, tiled=True)
        return jax.lax.psum_scatter(a @ column.T, COLUMNS, scatter_dimension=1, tiled=True)

    return _on(mesh, own)(a, b)


def transposed_times(
    a: Float[Array, "k m"], b: Float[Array, "k n"], mesh: Mesh
) -> Float[Array, "m n"]:
    """The product a^T b.

    Args:
      a: the left matrix, transposed.
      b: the right matrix.
      mesh: the grid of devices.
    """

    def own(a: Array, b: Array) -> Array:
        row = jax.lax.all_gather(a, COLUMNS, axis=1, tiled=True)
        return jax.lax.psum_scatter(row.T @ b, ROWS, scatter_dimension=0, tiled=True)

    return _on(mesh, own)(a, b)


def _on(mesh: Mesh, own: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    blocks = PartitionSpec(*mesh.axis_names)
    return jax.shard_map(own, mesh=mesh, in_specs=(blocks, blocks), out_specs=blocks)
