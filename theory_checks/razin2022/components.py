r"""Razin, Maman and Cohen 2022: how the local components of a hierarchical factorisation move.

A local component (nu, s) is the s-th summand at a node nu of the tree: the row s of the node's
weights and the column s of each child's, L_nu = (number of children) + 1 vectors. sigma is the
product of their lengths, and gamma = <-grad L(W), W_s>, where W_s is the end tensor with this local
component normalised and the node's others set to 0. Along gradient flow of any differentiable loss
the differences of the vectors' squared lengths stay; where all are zero,

    d sigma/dt = L_nu gamma sigma^(2 - 2/L_nu),

and where they are at most eps, sigma^2 / (sigma^(2/L_nu) + eps) and (sigma^(2/L_nu) + eps)^(L_nu-1)
enclose the power. Without any condition d sigma/dt = gamma sigma^2 sum ||v||^-2 (ours).
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache, reduce
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.claims import Best, Case, Settings, claim
from gradflow.claims.oracles import component_cases
from gradflow.claims.oracles.components import (
    AbstractComponents,
    Entries,
    Followed,
    at_start,
    completions,
    follow,
)
from gradflow.factorizations.base import Factors
from gradflow.factorizations.mode_tree import children_of

TREES: dict[str, tuple[Any, str]] = {
    "balanced tree, order 3": (((0, 1), 2), "half sum"),
    "flat tree, order 3": ((0, 1, 2), "Huber"),
    "balanced tree, order 4": (((0, 1), (2, 3)), "mean"),
    "caterpillar, order 4": ((((0, 1), 2), 3), "half sum"),
    "flat tree, order 4": ((0, 1, 2, 3), "mean"),
    "balanced tree, order 5": ((((0, 1), 2), (3, 4)), "mean"),
    "caterpillar, order 5": (((((0, 1), 2), 3), 4), ""),
    "two threes, order 5": (((0, 3, 1), 4, 2), "Huber"),
    "flat tree, order 5": ((0, 1, 2, 3, 4), ""),
}
"""Trees over axes, and the loss that each is tried with; a full check tries all trees with all."""


class LocalComponents(AbstractComponents):
    """The local components of a hierarchical factorisation."""

    model: gf.HierarchicalTensor
    kind: ClassVar[str] = "a hierarchical factorisation"

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(str(node) for node in self.model.nodes)

    def vectors(self, factors: Entries) -> list[Entries]:
        weights = factors[len(self.model.shape) :]
        return [
            (own.T, *(factors[child] for child in children))
            for own, children in zip(weights, children_of(self.model.tree), strict=True)
        ]

    def norms(self, factors: Factors) -> list[jax.Array]:
        found = self.model.local_component_norms(factors)
        return [found[node] for node in self.model.nodes]

    def tensor(self, factors: Factors, node: int, index: int) -> jax.Array:
        return self.model.local_component_tensor(factors, self.model.nodes[node], index)

    def alone(self, factors: Entries, node: int, index: int) -> Entries:
        only = (np.arange(self.model.ranks[node]) == index).astype(int)[:, None]
        at = len(self.model.shape) + node
        return (*factors[:at], factors[at] * only, *factors[at + 1 :])

    def by_hand(self, factors: Entries) -> np.ndarray:
        weights = iter(factors[len(self.model.shape) :])

        def columns(tree: Any) -> list[np.ndarray]:
            """W^(nu, r) for each r."""
            if isinstance(tree, int):
                return list(factors[tree].T)
            parts = zip(*map(columns, tree), strict=True)
            terms = np.array([reduce(np.multiply.outer, part) for part in parts])
            return list(np.tensordot(next(weights).T, terms, 1))

        (w,) = columns(self.model.tree)
        return w


@cache
def flows(settings: Settings) -> list[Followed]:
    """Orders 3 to 5, several trees, from balanced and from unbalanced starts."""
    found = []
    for k, (tree_name, (tree, tried)) in enumerate(TREES.items()):
        order = int(tree_name[-1])
        for loss, problem in completions(settings, order, most=12).items():
            if settings.full or loss == tried:
                components = LocalComponents(_model(problem.shape, tree))
                name, seed = f"{tree_name}, {loss}", settings.seed + 10 * order + k
                found += follow(name, problem, components, seed, std=0.8)
    return found


SHORT = 1e-4
"""Of a weight beside vectors of length 1: the best upper bound is nearly met."""


def short_starts(settings: Settings) -> list[Followed]:
    """Of flat trees, which have one node: its weights short, the columns of axes of length 1."""
    found = []
    for order in (3, 4, 5):
        tree, _ = TREES[f"flat tree, order {order}"]
        problem = completions(settings, order, most=12)["half sum"]
        components = LocalComponents(_model(problem.shape, tree))
        drawn = components.model.gaussian(jax.random.key(settings.seed + order), std=1.0)
        *columns, weights = drawn
        columns = [w / jnp.linalg.norm(w, axis=0) for w in columns]
        name = f"flat tree, order {order}, weights {SHORT:g}"
        start = (*columns, SHORT * jnp.sign(weights))
        found.append(at_start(name, problem, components, start))
    return found


def _model(shape: tuple[int, ...], tree: Any) -> gf.HierarchicalTensor:
    """With two and three local components, node by node in turn."""
    count = len(gf.HierarchicalTensor(shape, 1, tree).nodes)
    return gf.HierarchicalTensor(shape, [3 - k % 2 for k in range(count)], tree)


@claim(
    "razin2022.lem",
    kind="conservation",
    where="the conservation of the unbalancedness of local components under gradient flow",
    statement=r"v, v' \text{ of one local component} \Rightarrow "
    r"\frac{d}{dt}\left(\|v(t)\|^2 - \|v'(t)\|^2\right) = 0",
    control={"power": 1.9},
    control_text="lengths to the power 1.9 instead of 2",
)
def lem(settings: Settings, power: float = 2.0) -> Iterator[Case]:
    """Along the flows themselves; the floor is what a hundredfold tolerance changes."""
    yield from component_cases.conserved(flows(settings), power)


@claim(
    "razin2022.thm1",
    kind="identity",
    where="the theorem on the motion of a local component's norm from a balanced start",
    statement=r"\text{all } v \text{ of each local component equally long at } 0 \Rightarrow "
    r"\dot\sigma = L_\nu\,\gamma\,\sigma^{2-2/L_\nu}",
    control={"unbalanced": True},
    control_text="unbalanced starts",
)
def thm1(settings: Settings, unbalanced: bool = False) -> Iterator[Case]:
    """At points of flows, whose balance round-off breaks by some 1e-14: that is the floor."""
    yield from component_cases.balanced_motion(flows(settings), unbalanced)


@claim(
    "razin2022.general",
    kind="identity",
    where="ours; the motion of a local component's norm from any start",
    statement=r"\sigma > 0 \Rightarrow \dot\sigma = \gamma\,\sigma^2 \sum_v \|v\|^{-2}",
    control={"mean": True},
    control_text="L_nu sigma^(-2/L_nu) instead of the sum: that of balanced starts, where they "
    "are not",
)
def general(settings: Settings, mean: bool = False) -> Iterator[Case]:
    """At points of unbalanced flows, in float64, and at rational weights in 50 digits."""
    yield from component_cases.motion(flows(settings), mean)
    for name in ("balanced tree, order 3", "balanced tree, order 4", "flat tree, order 4"):
        components = LocalComponents(_model((2,) * int(name[-1]), TREES[name][0]))
        yield component_cases.in_fifty_digits(name, components, [settings.seed, len(name)], mean)


@claim(
    "razin2022.thm2",
    kind="inequality",
    where="the theorem on the motion of a local component's norm from an unbalanced start",
    statement=r"\epsilon = \max\left|\|v(0)\|^2 - \|v'(0)\|^2\right| \text{ over } v, v' \text{ "
    r"of one local component},\ \gamma \ge 0 \Rightarrow "
    r"\frac{L_\nu\gamma\sigma^2}{\sigma^{2/L_\nu} + \epsilon} \le \dot\sigma \le "
    r"L_\nu\gamma \left(\sigma^{2/L_\nu} + \epsilon\right)^{L_\nu-1}; "
    r"\text{ reversed for } \gamma \le 0",
    control={"share": 0.57},
    control_text="0.57 eps, 10% below the best share of four vectors, 0.63",
    best=(
        Best(
            r"\frac{\sigma^2}{\sigma^{2/L_\nu}+\epsilon}",
            r"\sigma^{2-2/L_\nu}",
            "proved",
            "razin2022.thm2.sharp: the lower bound needs no epsilon; balanced starts attain it.",
        ),
        Best(
            r"\sigma^{2/L_\nu} + \epsilon",
            r"\sigma^{2/L_\nu} + L_\nu^{-1/(L_\nu-1)}\epsilon",
            "found",
            "In the upper bound. No less will do: one vector short and the others of length "
            "sqrt(epsilon), nearly. That it is enough is proved for two vectors, where the root of "
            "4 c^2 + epsilon^2 is the best of all, and was searched for up to eight.",
        ),
    ),
)
def thm2(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """At points of balanced and unbalanced flows and at starts; eps is that of the start."""
    yield from component_cases.enclosed([*short_starts(settings), *flows(settings)], share)


@claim(
    "razin2022.thm2.sharp",
    kind="inequality",
    where="the theorem on the motion of a local component's norm from an unbalanced start, its "
    "lower bound",
    statement=r"\gamma \ge 0 \Rightarrow \dot\sigma \ge L_\nu\,\gamma\,\sigma^{2-2/L_\nu}\ "
    r"\text{ from every start};\ \text{ reversed for } \gamma \le 0",
    control={"factor": Fraction(101, 100)},
    control_text="1.01 times the bound",
)
def thm2_sharp(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, by arithmetic and geometric means, without epsilon; balanced starts reach it."""
    yield from component_cases.from_below(flows(settings), factor)
