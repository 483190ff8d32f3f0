"""Hierarchical tensors: axes are joined along a tree, with a sum of outer products at each node."""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array, shape_of, whole
from gradflow.factorizations.base import AbstractFactorization, Factors, weight_std
from gradflow.factorizations.mode_tree import (
    Tree,
    checked_tree,
    children_of,
    halving_tree,
    leaves_of,
    nodes_of,
)
from gradflow.linalg.khatri_rao import khatri_rao, khatri_rao_pullback
from gradflow.linalg.products import product

_SWEEPS = 10_000
"""The most sweeps for balanced factors; about 10 times the squared longest path are taken."""


class HierarchicalTensor(AbstractFactorization):
    r"""Hierarchical tensor: sums of outer products at each interior node of a tree over the axes.

    At the node nu with the children c

        W^(nu, r) = sum_s W^(nu)[s, r] * outer product over c of W^(c, s),

    where W^(n, s) of a leaf n is the column s of its weights, and W is W^(root, 1). A *local
    component* (nu, s) is the row s of W^(nu) and the column s of each child's weights: scaling one
    of these vectors up and another down leaves W as it is, so gradient flow conserves the
    differences of their squared norms.

    The factors are the leaves' weights (shape[n], rank of the parent) in the order of the axes, and
    then the weights (rank, rank of the parent) of the interior `nodes`; the root's parent counts as
    rank 1.

    A flat tree (0, 1, ..., N-1) has one node, whose weights are a number a term: where they are
    ones, W is the `CPTensor` of the leaves' weights, and always that with one more axis of length
    1. Gradient flow moves these numbers too, so its paths are those of the latter.

    Args:
      shape: the lengths of the axes; at least two.
      ranks: the number R_nu of local components of each interior node: one number for all, or one
        for each of `nodes`.
      tree: nested tuples of axes, such as ((0, 1), (2, 3)); by default the axes are halved again
        and again.

    Raises:
      ValueError: if the tree or the ranks do not fit the shape.

    Example:
      >>> model = HierarchicalTensor((2, 3, 4, 5), 6)
      >>> model.tree, model.nodes
      (((0, 1), (2, 3)), ((0, 1), (2, 3), (0, 1, 2, 3)))
      >>> model.factor_shapes
      ((2, 6), (3, 6), (4, 6), (5, 6), (6, 6), (6, 6), (6, 1))

    References:
      razin2022.
    """

    tensor_shape: tuple[int, ...] = eqx.field(static=True)
    ranks: tuple[int, ...] = eqx.field(static=True)
    tree: Tree = eqx.field(static=True)

    def __init__(
        self,
        shape: Checked[Sequence[int]],
        ranks: Checked[int | Sequence[int]],
        tree: Checked[Tree | None] = None,
    ):
        self.tensor_shape = shape_of("shape", shape)
        order = len(self.tensor_shape)
        if order < 2:
            raise ValueError(
                f"A hierarchical tensor needs at least 2 axes, but shape is {self.tensor_shape}."
            )
        self.tree = halving_tree(tuple(range(order))) if tree is None else checked_tree(tree, order)
        self.ranks = _checked_ranks(ranks, self.nodes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor_shape

    @property
    def nodes(self) -> tuple[tuple[int, ...], ...]:
        """The interior nodes, each as the axes below it, children before parents."""
        return nodes_of(self.tree)

    @property
    def _children(self) -> tuple[tuple[int, ...], ...]:
        return children_of(self.tree)

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        above = {c: r for cs, r in zip(self._children, self.ranks, strict=True) for c in cs}
        rows = (*self.tensor_shape, *self.ranks)
        return tuple((size, above.get(at, 1)) for at, size in enumerate(rows))

    @property
    def highest_rank(self) -> int:
        return min(*self.ranks, *self.tensor_shape)

    def product(self, factors: Factors) -> Array:
        return self.forward(factors)[0]

    def forward(self, factors: Factors) -> tuple[Array, tuple[Factors, Factors, Factors]]:
        order = len(self.tensor_shape)
        below, joined = list(factors[:order]), []
        for children, weights in zip(self._children[:-1], factors[order:-1], strict=True):
            joined.append(khatri_rao([below[c] for c in children]))
            below.append(product(joined[-1], weights))
        left, right = (khatri_rao([below[c] for c in half]) for half in self._halves)
        axes = leaves_of(self.tree)
        w = product(left * factors[-1][:, 0], right.T)
        w = w.reshape([self.tensor_shape[axis] for axis in axes]).transpose(np.argsort(axes))
        return w, (tuple(below), tuple(joined), (left, right))

    @property
    def _halves(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The root's children in two halves, whose product is a product of matrices."""
        children = self._children[-1]
        cut = (len(children) + 1) // 2
        return children[:cut], children[cut:]

    def pullback(
        self, factors: Factors, partial: tuple[Factors, Factors, Factors], gradient: Array
    ) -> Factors:
        order = len(self.tensor_shape)
        below, joined, (left, right) = partial
        unfolded = gradient.transpose(leaves_of(self.tree)).reshape(len(left), len(right))
        onto_left = product(unfolded, right)
        found: dict[int, Array] = {len(factors) - 1: jnp.sum(left * onto_left, axis=0)[:, None]}

        def descend(children: tuple[int, ...], side: Array) -> None:
            gradients = khatri_rao_pullback([below[c] for c in children], side)
            found.update(zip(children, gradients, strict=True))

        sides = (onto_left * factors[-1][:, 0], product(unfolded.T, left) * factors[-1][:, 0])
        for half, side in zip(self._halves, sides, strict=True):
            descend(half, side)
        for k in range(len(self.ranks) - 2, -1, -1):
            at = order + k
            descend(self._children[k], product(found[at], factors[at].T))
            found[at] = product(joined[k].T, found[at])
        return tuple(found[at] for at in range(len(factors)))

    def local_components(self, factors: Factors) -> dict[tuple[int, ...], Factors]:
        """For each node the vectors of its local components, as the columns of matrices.

        The first matrix is the transpose of the node's weights, the others are its children's.

        Example:
          >>> import jax.numpy as jnp
          >>> model = HierarchicalTensor((2, 3), 1)
          >>> own, left, right = model.local_components(
          ...     (jnp.ones((2, 1)), jnp.ones((3, 1)), jnp.ones((1, 1)))
          ... )[(0, 1)]
          >>> own.shape, left.shape, right.shape
          ((1, 1), (2, 1), (3, 1))

        References:
          razin2022.
        """
        order = len(self.tensor_shape)
        return {
            node: (factors[order + k].T, *[factors[c] for c in children])
            for k, (node, children) in enumerate(zip(self.nodes, self._children, strict=True))
        }

    def local_component_norms(self, factors: Factors) -> dict[tuple[int, ...], Float[Array, " _"]]:
        """For each node the norms of its local components, products of their vectors' norms.

        Example:
          >>> import jax.numpy as jnp
          >>> model = HierarchicalTensor((2, 2), 2)
          >>> factors = (jnp.diag(jnp.array([2.0, 3.0])), jnp.eye(2), jnp.array([[1.0], [-5.0]]))
          >>> model.local_component_norms(factors)[(0, 1)].tolist()
          [2.0, 15.0]

        References:
          razin2022.
        """
        return {node: jnp.prod(x, axis=0) for node, x in self._norms(factors).items()}

    def local_component_tensor(
        self, factors: Factors, node: Checked[tuple[int, ...]], index: Checked[int]
    ) -> Float[Array, "..."]:
        """W with one local component normalised and the others of its node set to 0.

        The products of these tensors and the local components' norms sum to W, at each node.

        Args:
          factors: the weights.
          node: one of `nodes`.
          index: which of its local components, from 0.

        Raises:
          ValueError: if there is no such local component.

        References:
          razin2022, Theorem 1.
        """
        k = self._index_of(node)
        if whole("index", index, 0) >= self.ranks[k]:
            raise ValueError(f"index must be below {self.ranks[k]}, but it is {index}.")
        norm = self.local_component_norms(factors)[self.nodes[k]][index]
        at = len(self.tensor_shape) + k
        alone = jnp.zeros_like(factors[at]).at[index].set(factors[at][index])
        w = self.product((*factors[:at], alone, *factors[at + 1 :]))
        return w / jnp.where(norm > 0, norm, 1.0)

    def _index_of(self, node: Any) -> int:
        if node not in self.nodes:
            raise ValueError(f"node must be one of {self.nodes}, but it is {node!r}.")
        return self.nodes.index(node)

    def _norms(self, factors: Factors) -> dict[tuple[int, ...], Array]:
        """For each node the norms of the vectors (vectors of a local component, rank)."""
        return {
            node: jnp.stack([jnp.linalg.norm(x, axis=0) for x in vectors])
            for node, vectors in self.local_components(factors).items()
        }

    def _squares(self, factors: Factors) -> list[Array]:
        return [
            jnp.stack([jnp.sum(x**2, axis=0) for x in vectors])
            for vectors in self.local_components(factors).values()
        ]

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """For each node the differences of squared norms of neighbours in its local components."""
        return tuple(jnp.diff(squares, axis=0) for squares in self._squares(factors))

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """The largest difference of squared norms in a local component.

        Example:
          >>> import jax.numpy as jnp
          >>> model = HierarchicalTensor((1, 1), 1)
          >>> one = jnp.ones((1, 1))
          >>> float(model.unbalancedness((3 * one, one, one)))
          8.0

        References:
          razin2022.
        """
        ranges = [jnp.max(s, axis=0) - jnp.min(s, axis=0) for s in self._squares(factors)]
        return jnp.max(jnp.concatenate(ranges))

    def std_of(self, product_std: float) -> float:
        """(product_std^2 / prod R_nu)^(1/2N): an entry sums prod R_nu products of N weights."""
        return weight_std(product_std, prod(self.ranks), self.degree)

    def balanced(self, w: Checked[ArrayLike], key: PRNGKeyArray | None = None) -> Factors:
        """The same W with all vectors of a local component equally long.

        Local components share weights, so this goes round the nodes until all are balanced; the
        sum of the weights' squares falls to the least that such scalings of vectors can reach. A
        local component with a vector of zeros becomes 0.

        Args:
          w: weights, as a tuple of factors. A tensor alone does not tell its components.
          key: not used; nothing is free.

        Raises:
          ValueError: if a single array is given, or wrong shapes, or numbers whose squares
            overflow.

        Example:
          >>> import jax, jax.numpy as jnp
          >>> model = HierarchicalTensor((2, 3, 2), 2)
          >>> start = model.gaussian(jax.random.key(0), std=1.0)
          >>> balanced = model.balanced(start)
          >>> float(model.unbalancedness(balanced)) < 1e-12
          True
          >>> bool(jnp.allclose(model.product(balanced), model.product(start)))
          True
        """
        del key
        if not isinstance(w, tuple | list):
            raise ValueError(
                f"{type(self).__name__} needs its factors as the start, but a single array was "
                "given, which does not tell its components; give a tuple of arrays of the shapes "
                f"{self.factor_shapes}."
            )
        factors = self.check([finite_array(f"w[{k}]", f) for k, f in enumerate(w)])
        factors, sweeps, spread = _go_round(self, factors, "geometric")
        if not spread <= _tolerance(factors) * 100:
            raise ValueError(
                f"After {int(sweeps)} sweeps squared norms in a local component still differ by "
                f"{float(spread):.1e} of the larger; the largest weight is "
                f"{float(max(jnp.max(jnp.abs(f)) for f in factors)):.1e}: scale weights so that "
                "their squares neither over- nor underflow."
            )
        return factors

    def random_balanced(self, key: Checked[PRNGKeyArray], std: float) -> Factors:
        """`balanced` of weights with N(0, std^2) entries."""
        return self.balanced(self.gaussian(key, std=std))

    def nearest_balanced(self, factors: Factors) -> Factors:
        """Balanced factors near given ones: vectors are made as long as their mean.

        This goes round the nodes until all are balanced; each step goes to the nearest factors that
        are balanced at a node. Vectors that are zero get the direction of the first axis. Unlike
        `balanced` this changes W.
        """
        factors = _go_round(self, factors, "arithmetic")[0]
        for k in range(len(self.ranks) - 1, -1, -1):  # what is left, from the root down
            own = jnp.linalg.norm(factors[len(self.tensor_shape) + k], axis=1)
            factors = self._with_lengths(factors, k, own)
        return factors

    def _with_lengths(self, factors: Factors, k: int, wanted: Array) -> Factors:
        """The local components of the node k get vectors of these lengths."""
        found = list(factors)
        own = len(self.tensor_shape) + k
        found[own] = _as_long(found[own].T, wanted).T
        for child in self._children[k]:
            found[child] = _as_long(found[child], wanted)
        return tuple(found)


@eqx.filter_jit
def _go_round(
    model: HierarchicalTensor, factors: Factors, mean: Literal["geometric", "arithmetic"]
) -> tuple[Factors, Array, Array]:
    """Make the vectors of each local component as long as their mean, node by node, until they are.

    Returns:
      The factors, the number of sweeps, and the largest relative difference of squared norms.
    """

    def spread(factors: Factors) -> Array:
        squares = model._squares(factors)
        least = jnp.concatenate([jnp.min(s, axis=0) for s in squares])
        most = jnp.concatenate([jnp.max(s, axis=0) for s in squares])
        return jnp.max(jnp.where(most > 0, 1 - least / jnp.where(most > 0, most, 1.0), 0.0))

    def sweep(state: tuple[Factors, Array, Array]) -> tuple[Factors, Array, Array]:
        factors, count, _ = state
        for k, node in enumerate(model.nodes):
            norms = model._norms(factors)[node]
            if mean == "geometric":
                wanted = jnp.prod(norms ** (1 / len(norms)), axis=0)
            else:
                wanted = jnp.mean(norms, axis=0)
            factors = model._with_lengths(factors, k, wanted)
        return factors, count + 1, spread(factors)

    def going(state: tuple[Factors, Array, Array]) -> Array:
        return (state[2] > _tolerance(factors)) & (state[1] < _SWEEPS)

    begun = (factors, jnp.zeros((), int), spread(factors))
    return jax.lax.while_loop(going, sweep, begun)


def _tolerance(factors: Factors) -> float:
    """A few roundings of a squared norm."""
    return 64 * float(jnp.finfo(factors[0].dtype).eps)


def _as_long(columns: Array, wanted: Array) -> Array:
    """Columns of these lengths; those that are zero get the direction of the first axis."""
    norms = jnp.linalg.norm(columns, axis=0)
    first = jnp.eye(columns.shape[0], 1, dtype=columns.dtype)
    return jnp.where(norms > 0, columns, first) * (wanted / jnp.where(norms > 0, norms, 1.0))


def _checked_ranks(ranks: Any, nodes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    each = (ranks,) * len(nodes) if np.ndim(ranks) == 0 else tuple(ranks)
    each = shape_of("ranks", each)
    if len(each) != len(nodes):
        raise ValueError(
            f"ranks must be one number, or one for each of the {len(nodes)} nodes {nodes}, but it "
            f"is {ranks!r}."
        )
    return each
