"""Mode trees: how the axes of a tensor are joined, step by step, as nested tuples.

A tree over N axes has the positions 0, ..., N-1 for its leaves, the axes, and N, N+1, ... for its
interior nodes, children before parents, so that the root comes last.
"""

import functools
from numbers import Integral
from typing import Any

Tree = tuple[Any, ...]
"""Nested tuples of axes, as ((0, 1), (2, 3))."""


def halving_tree(axes: tuple[int, ...]) -> Tree:
    """The balanced binary tree: the axes are halved, and the halves again.

    Args:
      axes: two or more; the first half is the longer one.

    Example:
      >>> halving_tree((0, 1, 2, 3, 4))
      (((0, 1), 2), (3, 4))
    """
    cut = (len(axes) + 1) // 2
    return tuple(
        halving_tree(half) if len(half) > 1 else min(half) for half in (axes[:cut], axes[cut:])
    )


def checked_tree(tree: Any, order: int) -> Tree:
    """Return a tree as nested tuples.

    Args:
      tree: nested tuples or lists.
      order: the number N of axes.

    Raises:
      ValueError: unless each of the axes 0, ..., N-1 occurs once and each node joins two or more.
    """
    axes: list[int] = []

    def read(node: Any) -> Any:
        if isinstance(node, tuple | list):
            if len(node) < 2:
                raise ValueError(
                    f"Each node of the tree must join two or more, but one is {node!r} in "
                    f"{tree!r}; write what it holds in its place."
                )
            return tuple(read(child) for child in node)
        axis = -1 if isinstance(node, bool) or not isinstance(node, Integral) else int(node)
        if not 0 <= axis < order:
            raise ValueError(
                f"The tree {tree!r} holds {node!r}; it must hold the axes 0, ..., {order - 1} in "
                f"nested tuples, as {halving_tree(tuple(range(order)))}."
            )
        axes.append(axis)
        return axis

    if not isinstance(tree, tuple | list):
        raise ValueError(
            f"tree must be nested tuples of axes, as {halving_tree(tuple(range(order)))}, but it "
            f"is {tree!r}."
        )
    nested = read(tree)
    if sorted(axes) != list(range(order)):
        wrong = sorted(k for k in range(order) if axes.count(k) != 1)
        raise ValueError(
            f"The tree {tree!r} must hold each of the axes 0, ..., {order - 1} once, but axis "
            f"{wrong[0]} is there {axes.count(wrong[0])} times."
        )
    return nested


@functools.cache
def children_of(tree: Tree) -> tuple[tuple[int, ...], ...]:
    """For each interior node, children before parents, the positions of its children.

    Example:
      >>> children_of(((0, 1), (2, 3)))
      ((0, 1), (2, 3), (4, 5))
    """
    order, found = len(leaves_of(tree)), []

    def place(node: Any) -> int:
        if isinstance(node, int):
            return node
        found.append(tuple(place(child) for child in node))
        return order + len(found) - 1

    place(tree)
    return tuple(found)


def leaves_of(tree: Any) -> tuple[int, ...]:
    """The axes of a tree, or of a part of it, as they stand from left to right."""
    if isinstance(tree, int):
        return (tree,)
    return tuple(axis for child in tree for axis in leaves_of(child))


@functools.cache
def nodes_of(tree: Tree) -> tuple[tuple[int, ...], ...]:
    """Each interior node as the axes below it in order, children before parents.

    Example:
      >>> nodes_of(((0, 2), (1, 3)))
      ((0, 2), (1, 3), (0, 1, 2, 3))
    """
    below: list[tuple[int, ...]] = [(axis,) for axis in range(len(leaves_of(tree)))]
    for children in children_of(tree):
        below.append(tuple(sorted(axis for child in children for axis in below[child])))
    return tuple(below[len(leaves_of(tree)) :])
