"""Many flows as one: what differs from one to the other is stacked, the rest is what they share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_ARRAYS = (jax.Array, np.ndarray, np.generic)


def alike(trees: Sequence[Any], places: Sequence[int] | None = None) -> tuple[Any, list[Any]]:
    """See that trees can be stacked; their structure, and their leaves in columns.

    Args:
      trees: one a flow.
      places: the numbers of the flows, for the message; by default from 0 on.

    Raises:
      ValueError: if a tree is not like the first.
    """
    leaves, kinds = zip(*(jax.tree.flatten(tree) for tree in trees), strict=True)
    columns = list(zip(*leaves, strict=False))
    for k, kind in enumerate(kinds):
        same = kind == kinds[0] and all(_like(column[k], column[0]) for column in columns)
        if not same:
            raise unlike(k if places is None else places[k])
    return kinds[0], columns


def kind_of(tree: Any) -> Any:
    """Equal of trees that can be stacked."""
    leaves, kind = jax.tree.flatten(tree)
    return kind, tuple(leaf.shape if isinstance(leaf, _ARRAYS) else leaf for leaf in leaves)


def _like(leaf: Any, first: Any) -> bool:
    """Whether two are arrays of one shape, or equal."""
    if leaf is first:
        return True
    if isinstance(leaf, _ARRAYS) and isinstance(first, _ARRAYS):
        return leaf.shape == first.shape
    return not isinstance(leaf, _ARRAYS) and not isinstance(first, _ARRAYS) and leaf == first


def stack_alike(trees: Sequence[Any], places: Sequence[int] | None = None) -> tuple[Any, Any]:
    """Arrays with a leading axis, and all else, as `equinox.partition` parts them.

    What is one object in all flows, such as a problem's data, is copied by one operation.

    Args:
      trees: one a flow.
      places: as for `alike`.

    Raises:
      ValueError: if a tree is not like the first.
    """
    kind, columns = alike(trees, places)
    parts = [
        (_stacked(column), None) if isinstance(column[0], _ARRAYS) else (None, column[0])
        for column in columns
    ]
    arrays, rest = ([part[side] for part in parts] for side in (0, 1))
    return kind.unflatten(arrays), kind.unflatten(rest)


def _stacked(column: Sequence[Any]) -> Any:
    first = column[0]
    if jnp.issubdtype(first.dtype, jax.dtypes.extended):  # keys of random numbers
        return jnp.stack(column)
    if all(leaf is first for leaf in column):
        return jnp.asarray(np.broadcast_to(np.asarray(first), (len(column), *first.shape)))
    return jnp.asarray(np.stack([np.asarray(leaf) for leaf in column]))


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
        "of observations, coordinates and solvers must agree; run it by gradflow.solve_flow."
    )
