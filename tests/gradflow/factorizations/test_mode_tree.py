"""Mode trees: which node joins what, and which nested tuples are none."""

import numpy as np
import pytest

from gradflow.factorizations.mode_tree import (
    checked_tree,
    children_of,
    halving_tree,
    leaves_of,
    nodes_of,
)


def test_halves_of_halves():
    assert halving_tree((0, 1)) == (0, 1)
    assert halving_tree((0, 1, 2)) == ((0, 1), 2)
    assert halving_tree(tuple(range(8))) == (((0, 1), (2, 3)), ((4, 5), (6, 7)))


@pytest.mark.parametrize("order", range(2, 12))
def test_a_halving_tree_is_a_tree_of_least_height(order):
    tree = halving_tree(tuple(range(order)))
    assert checked_tree(tree, order) == tree
    assert leaves_of(tree) == tuple(range(order))
    assert len(nodes_of(tree)) == order - 1

    def height(node):
        return 0 if isinstance(node, int) else 1 + max(height(child) for child in node)

    assert height(tree) == int(np.ceil(np.log2(order)))


def test_children_come_before_parents_and_the_root_last():
    tree = checked_tree([[3, [0, 2]], 1, (4, 5)], 6)
    assert tree == ((3, (0, 2)), 1, (4, 5))
    assert leaves_of(tree) == (3, 0, 2, 1, 4, 5)
    assert nodes_of(tree) == ((0, 2), (0, 2, 3), (4, 5), (0, 1, 2, 3, 4, 5))
    assert children_of(tree) == ((0, 2), (3, 6), (4, 5), (7, 1, 8))


REFUSED = {
    "a number": (0, "it is 0", "nested tuples of axes, as ((0, 1), 2)"),
    "text": ("012", "'012'", "nested tuples"),
    "text inside": ((0, "1", 2), "'1'", "the axes 0, ..., 2"),
    "a truth value": ((0, True, 2), "holds True", "the axes 0, ..., 2"),
    "half an axis": ((0, 0.5, 2), "holds 0.5", "the axes 0, ..., 2"),
    "an axis too high": (((0, 1), 3), "holds 3", "as ((0, 1), 2)"),
    "an axis below 0": (((0, 1), -1), "holds -1", "as ((0, 1), 2)"),
    "a missing axis": ((0, 1), "axis 2 is there 0 times", "once"),
    "an axis twice": (((0, 1), (1, 2)), "axis 1 is there 2 times", "once"),
    "one child": (((0, 1), (2,)), "one is (2,)", "in its place"),
    "no child": (((0, 1), 2, ()), "one is ()", "in its place"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_tree_is_refused_by_value_and_remedy(case):
    tree, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        checked_tree(tree, 3)
    assert value in str(refused.value)
    assert remedy in str(refused.value)
