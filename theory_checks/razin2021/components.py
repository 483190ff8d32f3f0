r"""Razin, Maman and Cohen 2021: how the components of a CP factorisation move (Section 3).

W = sum_r w_r^1 x ... x w_r^N, c_r the norm of its r-th component (the product of the lengths of the
w_r^n), and gamma_r = <-grad L(W), w_r^1/||w_r^1|| x ... x w_r^N/||w_r^N||>. Along gradient flow of
any differentiable loss the differences ||w_r^n||^2 - ||w_r^m||^2 stay; where they are zero,

    dc_r/dt = N gamma_r c_r^(2 - 2/N),

and where they are at most eps, c_r^2 / (c_r^(2/N) + eps) and (c_r^(2/N) + eps)^(N-1) enclose the
power. Without any condition dc_r/dt = gamma_r c_r^2 sum_n ||w_r^n||^-2 (ours).
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache, reduce
from typing import ClassVar

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


class Components(AbstractComponents):
    """The components of a CP factorisation, all at one node."""

    model: gf.CPTensor
    kind: ClassVar[str] = "a CP factorisation"

    @property
    def nodes(self) -> tuple[str, ...]:
        return ("all axes",)

    def vectors(self, factors: Entries) -> list[Entries]:
        return [factors]

    def norms(self, factors: Factors) -> list[jax.Array]:
        return [self.model.component_norms(factors)]

    def tensor(self, factors: Factors, node: int, index: int) -> jax.Array:
        return self.model.product(self.alone(factors, node, index)) / self.norms(factors)[0][index]

    def alone(self, factors: Entries, node: int, index: int) -> Entries:
        only = (np.arange(self.model.rank) == index).astype(int)
        return (factors[0] * only, *factors[1:])

    def by_hand(self, factors: Entries) -> np.ndarray:
        terms = [
            reduce(np.multiply.outer, columns)
            for columns in zip(*(f.T for f in factors), strict=True)
        ]
        return np.sum(np.array(terms), axis=0)


@cache
def flows(settings: Settings) -> list[Followed]:
    """Orders 3 to 5, from balanced and from unbalanced starts."""
    found = []
    for order in (3, 4, 5):
        for loss, problem in completions(settings, order).items():
            if settings.full or order == 3 or loss == "half sum":
                components = Components(gf.CPTensor(problem.shape, 3))
                name, seed = f"order {order}, {loss}", settings.seed + 10 * order
                found += follow(name, problem, components, seed, std=0.6)
    return found


SHORT = 1e-4
"""Of a vector beside others of length 1: the best upper bound of Theorem 2 is nearly met."""


def short_starts(settings: Settings) -> list[Followed]:
    """Of orders 3 to 5, the first vector of each component short and the others of length 1."""
    found = []
    for order in (3, 4, 5):
        problem = completions(settings, order)["half sum"]
        components = Components(gf.CPTensor(problem.shape, 3))
        drawn = components.model.gaussian(jax.random.key(settings.seed + order), std=1.0)
        first, *others = (w / jnp.linalg.norm(w, axis=0) for w in drawn)
        name = f"order {order}, first vectors of length {SHORT:g}"
        found.append(at_start(name, problem, components, (SHORT * first, *others)))
    return found


@claim(
    "razin2021.lem1",
    kind="conservation",
    where="Lemma 1",
    statement=r"\frac{d}{dt}\left(\|w_r^n(t)\|^2 - \|w_r^m(t)\|^2\right) = 0",
    control={"power": 1.9},
    control_text="lengths to the power 1.9 instead of 2",
)
def lem1(settings: Settings, power: float = 2.0) -> Iterator[Case]:
    """Along the flows themselves; the floor is what a hundredfold tolerance changes."""
    yield from component_cases.conserved(flows(settings), power)


@claim(
    "razin2021.thm1",
    kind="identity",
    where="Theorem 1",
    statement=r"\|w_r^1(0)\| = \dots = \|w_r^N(0)\| \Rightarrow \dot c_r = N\,\gamma_r\, "
    r"c_r^{2-2/N}",
    control={"unbalanced": True},
    control_text="unbalanced starts",
)
def thm1(settings: Settings, unbalanced: bool = False) -> Iterator[Case]:
    """At points of flows, whose balance round-off breaks by some 1e-16: that is the floor."""
    yield from component_cases.balanced_motion(flows(settings), unbalanced)


@claim(
    "razin2021.general",
    kind="identity",
    where="ours; Theorem 1 without its hypothesis",
    statement=r"c_r > 0 \Rightarrow \dot c_r = \gamma_r\, c_r^2 \sum_{n=1}^N \|w_r^n\|^{-2}",
    control={"mean": True},
    control_text="N c_r^(-2/N) instead of the sum: Theorem 1 where the start is not balanced",
)
def general(settings: Settings, mean: bool = False) -> Iterator[Case]:
    """At points of unbalanced flows, in float64, and at rational factors in 50 digits."""
    yield from component_cases.motion(flows(settings), mean)
    for order in (3, 4):
        components = Components(gf.CPTensor((2,) * order, 2))
        name = f"order {order}, sides 2, two components"
        yield component_cases.in_fifty_digits(name, components, [settings.seed, order, 1], mean)


@claim(
    "razin2021.thm2",
    kind="inequality",
    where="Theorem 2",
    statement=r"\epsilon = \max_{r,n,m}\left|\|w_r^n(0)\|^2 - \|w_r^m(0)\|^2\right|,\ "
    r"\gamma_r \ge 0 \Rightarrow \frac{N\gamma_r c_r^2}{c_r^{2/N} + \epsilon} \le \dot c_r \le "
    r"N\gamma_r \left(c_r^{2/N} + \epsilon\right)^{N-1}; \text{ reversed for } \gamma_r \le 0",
    control={"share": 0.52},
    control_text="0.52 eps, 10% below the best share at N = 3, 0.577",
    best=(
        Best(
            r"\frac{c_r^2}{c_r^{2/N}+\epsilon}",
            r"c_r^{2-2/N}",
            "proved",
            "razin2021.thm2.sharp: the lower bound needs no epsilon; balanced starts attain it.",
        ),
        Best(
            r"c_r^{2/N} + \epsilon",
            r"c_r^{2/N} + N^{-1/(N-1)}\epsilon",
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
    "razin2021.thm2.sharp",
    kind="inequality",
    where="Theorem 2, its lower bound",
    statement=r"\gamma_r \ge 0 \Rightarrow \dot c_r \ge N\,\gamma_r\, c_r^{2-2/N}\ \text{ from "
    r"every start};\ \text{ reversed for } \gamma_r \le 0",
    control={"factor": Fraction(101, 100)},
    control_text="1.01 times the bound",
)
def thm2_sharp(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, by arithmetic and geometric means, without epsilon; balanced starts reach it."""
    yield from component_cases.from_below(flows(settings), factor)
