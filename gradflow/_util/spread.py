"""Arrays spread over a grid of devices, and back again: of one process or of several."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ROWS, COLUMNS = "rows", "columns"


def see_grid(mesh: Any, shapes: tuple[tuple[int, ...], ...]) -> None:
    """See that a mesh is a grid over which matrices of these shapes can be spread.

    Raises:
      ValueError: if it is none, or a shape cannot be cut so.
    """
    if not isinstance(mesh, Mesh) or mesh.axis_names != (ROWS, COLUMNS):
        raise ValueError(
            f"mesh must be a jax.sharding.Mesh with the axes {(ROWS, COLUMNS)}, such as "
            f"jax.make_mesh((2, 4), {(ROWS, COLUMNS)}), but it is {mesh!r}."
        )
    grid = mesh.devices.shape
    for shape in shapes:
        if len(shape) != 2 or any(n % k for n, k in zip(shape, grid, strict=True)):
            raise ValueError(
                f"An array of shape {shape} cannot be cut into {grid} equal blocks; choose sizes "
                "that are multiples of the mesh's, or another mesh."
            )


def blocks_on(mesh: Mesh) -> Mesh:
    """The mesh with axes along which the compiler places by itself what is not in blocks."""
    return Mesh(mesh.devices, mesh.axis_names)


def spread(tree: Any, mesh: Mesh, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """The tree with matrices of these shapes in blocks, and everything else on every device.

    Args:
      tree: arrays and other things, the same in every process; axes may come before the matrices'.
      mesh: the grid.
      shapes: of what is spread.
    """

    def put(leaf: Any) -> Any:
        if not eqx.is_array(leaf):
            return leaf
        blocks = leaf.ndim >= 2 and leaf.shape[-2:] in shapes
        spec = PartitionSpec(*[None] * (leaf.ndim - 2), ROWS, COLUMNS) if blocks else None
        sharding = NamedSharding(mesh, spec or PartitionSpec())
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda at: whole[at])

    return jax.tree.map(put, tree)


def fetched(tree: Any) -> Any:
    """The tree's arrays on the host, whole, in every process."""

    def fetch(leaf: Any) -> Any:
        if _of_one_process(leaf) or leaf.is_fully_replicated:
            return leaf
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(fetch, tree))


def agreed(number: int, arrays: Any) -> int:
    """The number, or that of the first process where arrays belong to several.

    What processes measure, such as time, differs; what they run together must not.

    Args:
      number: this process's.
      arrays: what it is to be used with.
    """
    if _of_one_process(arrays):
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def see_alike(digest: str, mesh: Mesh) -> None:
    """See that all processes of a mesh were given the same.

    Args:
      digest: of what this one was given, in hexadecimal digits.
      mesh: the grid of devices.

    Raises:
      ValueError: if they were not.
    """
    if not mesh.is_multi_process:
        return
    from jax.experimental import multihost_utils

    own = np.frombuffer(bytes.fromhex(digest[:16]), np.int32)
    every = np.asarray(multihost_utils.process_allgather(own))
    if np.any(every != every[0]):
        first = int(np.flatnonzero(np.any(every != every[0], axis=1))[0])
        raise ValueError(
            f"Process {first} was given other data, another start or other options than process 0; "
            "make them from the same keys in every process."
        )


def _of_one_process(arrays: Any) -> bool:
    leaves = [leaf for leaf in jax.tree.leaves(arrays) if isinstance(leaf, jax.Array)]
    return all(leaf.is_fully_addressable for leaf in leaves)
