"""Many flows as one: what differs from one to the other is stacked, the rest is what they share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_ARRAYS = (jax.Array, np.ndarray, np.generic)


def stack_alike(trees: Sequence[Any]) -> tuple[Any, Any]:
    """Arrays with a leading axis, and all else, as `equinox.partition` parts them.

    What is one object in all flows, such as a problem's data, is copied by one operation.

    Args:
      trees: one a flow.

    Raises:
      ValueError: if a tree is not like the first.
    """
    leaves, kinds = zip(*(jax.tree.flatten(tree) for tree in trees), strict=True)
    for k, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise unlike(k)
    arrays, rest = [], []
    for column in zip(*leaves, strict=True):
        stacked = _stacked(column) if isinstance(column[0], _ARRAYS) else None
        arrays.append(stacked)
        rest.append(None if stacked is not None else _common(column))
    return kinds[0].unflatten(arrays), kinds[0].unflatten(rest)


def _stacked(column: Sequence[Any]) -> Any:
    first = column[0]
    if jnp.issubdtype(first.dtype, jax.dtypes.extended):  # keys of random numbers
        return jnp.stack(column)
    if all(leaf is first for leaf in column):
        return jnp.asarray(np.broadcast_to(np.asarray(first), (len(column), *first.shape)))
    for k, leaf in enumerate(column):
        if not isinstance(leaf, _ARRAYS) or leaf.shape != first.shape:
            raise unlike(k)
    return jnp.asarray(np.stack([np.asarray(leaf) for leaf in column]))


def _common(column: Sequence[Any]) -> Any:
    for k, leaf in enumerate(column):
        if leaf is not column[0] and (isinstance(leaf, _ARRAYS) or leaf != column[0]):
            raise unlike(k)
    return column[0]


def apart(tree: Any, count: int) -> list[Any]:
    """What was stacked, one by one: as NumPy's arrays, moved from the device at once.

    Args:
      tree: arrays with a leading axis, and words, which all have in common.
      count: its length.
    """
    leaves, kind = jax.tree.flatten(jax.device_get(tree))
    rows = [[leaf] * count if isinstance(leaf, str) else leaf for leaf in leaves]
    return [kind.unflatten(row) for row in zip(*rows, strict=True)]


def in_turn() -> bool:
    """On a CPU one after the other, each as long as it takes; elsewhere all side by side."""
    return jax.default_backend() == "cpu"


def unlike(k: int) -> ValueError:
    """What to raise where the k-th flow of a batch cannot go with the first."""
    return ValueError(
        f"Flow {k} of the batch is not like the first: problems, factorisations, shapes, numbers "
        "of observations and of recording times up to the horizon, coordinates and solvers must "
        "agree; run it by gradflow.solve_flow."
    )
