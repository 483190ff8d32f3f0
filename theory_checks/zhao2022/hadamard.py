r"""Zhao 2022, the elementwise scaling S_j of Equation (16), in exact arithmetic.

Layer j of Adam's model moves by the Hadamard product g_j .* S_j of its gradient
g_j = A L B, where S_j = (g_j^2 + s_j^2)^(-1/2), A = (W_N ... W_{j+1})^T, B = (W_{j-1} ... W_1)^T
and L is the gradient in W.
"""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from gradflow.claims import ByConstruction, Case, Corrected, Measured, Settings, claim

from . import _proofs
from ._rational import equal, exact, exact_case, eye, instances, plain, unit, vec


@claim(
    "zhao2022.eq16.exponent",
    kind="algebra",
    where="Appendix A.4.2, the text after Equation (16), against Theorem 1 and Equation (15)",
    statement=r"\frac{g_j}{\sqrt{g_j^2+s_j^2}} = g_j\odot S_j,\quad S_j = (g_j^2+s_j^2)^{-1}",
    control={"factor": Fraction(9, 10)},
    control_text="0.9 of the right side besides",
    flaw="Equation (16) rewrites (15), whose denominator is a square root, so the exponent of S_j "
    "has to be -1/2, as in Theorem 1; the text after (16) has -1.",
    severity="misprint",
    survives="Theorem 1, which has the exponent -1/2.",
    corrected=Corrected(
        where="Equation (16) with the S_j of Theorem 1",
        statement=r"\frac{g_j}{\sqrt{g_j^2+s_j^2}} = g_j\odot S_j,\quad "
        r"S_j = (g_j^2+s_j^2)^{-1/2}",
        control={"corrected": False},
        control_text="the exponent -1 of the text after (16)",
    ),
)
def eq16_exponent(
    settings: Settings, corrected: bool, factor: Fraction = Fraction(1)
) -> Iterator[Case]:
    """Pythagorean triples make every root rational. The exponent -1 is right where g^2 + s^2 = 1.

    Not judged: the aside before (16) that the velocity is -(1 + eta^2)^(-1/2), eta = s/g, lacks the
    gradient's sign.
    """
    yield _proofs.exponent(corrected, factor)
    exponent = -1 if corrected else -2  # of the root of g^2 + s^2

    def root(square: Fraction) -> Fraction:
        found = Fraction(isqrt(square.numerator), isqrt(square.denominator))
        if found**2 != square:
            raise ValueError(f"{square} has no rational root; choose g^2 + s^2 as a square.")
        return found

    rng = np.random.default_rng(settings.seed)
    triples = [(3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29)]
    found = [(np.array([[3]]), np.array([[4]]))]
    for shape in ((2, 2), (3, 2), (4, 5)):
        chosen = rng.integers(0, len(triples), size=shape)
        sign, scale = rng.choice([-1, 1], size=shape), rng.integers(1, 4, size=shape)
        g = np.array([[triples[k][0] for k in row] for row in chosen]) * sign * scale
        s = np.array([[triples[k][1] for k in row] for row in chosen]) * scale
        found.append((g, s))
    for g, s in found:
        g, s = exact(g), exact(s)
        roots = np.vectorize(root, otypes=[object])(g**2 + s**2)
        yield exact_case(
            f"{g.shape[0]}x{g.shape[1]} gradient",
            g / roots,
            factor * g * roots**exponent,
            {"s^2 > 0": Measured(float(np.min(s)), above=0)},
            f"g = {plain(g)}, s = {plain(s)}",
            g.size,
        )
    if not corrected:
        yield Case(
            name="the aside on (1 + eta^2)^(-1/2)",
            residual=2.0,
            hypotheses={"s^2 > 0": ByConstruction("s = 4")},
            counts=False,
            notes="at g = -3, s = 4 Equation (15) gives +3/5 and -(1 + eta^2)^(-1/2) = -3/5: the "
            "sign of g is missing",
        )


@claim(
    "zhao2022.hadamard",
    kind="algebra",
    where="Appendix A.4.2, fifth equality of the derivation of (18)",
    statement=r"\mathrm{vec}(ALB)\odot\mathrm{vec}(S_j) = "
    r"(B^\top\otimes A)\,(\mathrm{vec}(L)\odot\mathrm{vec}(S_j))",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of the right side",
    flaw="A Hadamard product does not pass through a matrix product: diag(vec S_j) stands to the "
    "left of (B^T kron A) and commutes with it only in special cases such as constant S_j; where "
    "layers are not square, L and S_j do not even have the same shape.",
    severity="substance",
    survives="Equation (17), from which the derivation starts; not (18), which is this step's "
    "result, unless all entries of S_j are the same or the depth is 1, where A and B are I.",
    corrected=Corrected(
        where="Appendix A.4.2, fifth equality of the derivation of (18), corrected",
        statement=r"\mathrm{vec}(ALB\odot S_j) = \mathrm{diag}(s)\,K\,\mathrm{vec}(L),\quad "
        r"K = B^\top\otimes A,\ s = \mathrm{vec}\,S_j;\quad \text{the printed one holds for every }"
        r"L \iff s_p = s_q \text{ wherever } K_{pq}\ne0",
        control={"corrected": False},
        control_text="S_j on the gradient in W, as printed",
    ),
)
def hadamard(settings: Settings, corrected: bool, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """S_j on the gradient L in W, as printed, or on the layer's gradient A L B, as in Adam.

    Only square factors: elsewhere L and S_j have different shapes and L .* S_j is not defined.
    Corrected also when the two are the same for every L, each L a column of the identity.
    """
    yield _proofs.hadamard(corrected, share)
    if corrected:
        yield from _commuting_cases(settings)
    flip, name = eye(2)[[1, 0]], "A = 1, L = [1, 0], B exchanges the columns, S = [1, 3/5]"
    g, deviation, scaling = exact([[0, 1]]), exact([["1", "4/3"]]), exact([["1", "3/5"]])
    met = {
        "S = (g^2 + s^2)^(-1/2) of g = (0, 1) and s = (1, 4/3)": bool(
            np.all(scaling**2 * (g**2 + deviation**2) == 1) and np.all(scaling > 0)
        )
    }
    found: list[tuple[Any, ...]] = [(name, eye(1), exact([[1, 0]]), flip, scaling, met, 2)]
    for made in instances(settings, square=True):
        for j in range(1, made.depth + 1):
            found.append((
                f"{made.name}, layer {j}",
                made.above(j).T,
                made.gradient,
                made.below(j).T,
                made.scalings[j - 1],
                made.scaled()
                | {"L, S_j of one shape": ByConstruction("square factors")},
                made.w.size,
            ))  # fmt: skip
    for name, a, l, b, s, hypotheses, size in found:
        k = np.kron(b.T, a) * share
        yield exact_case(
            name,
            vec((a @ l @ b) * s),
            vec(s) * (k @ vec(l)) if corrected else k @ (vec(l) * vec(s)),
            hypotheses,
            f"A = {plain(a)}, L = {plain(l)}, B = {plain(b)}, S = {plain(s)}",
            size,
        )


def _commuting_cases(settings: Settings) -> Iterator[Case]:
    """Whether S_j passes through K for every L, against equal entries of S_j where K has one."""
    rng, found = np.random.default_rng(settings.seed), []
    for x in (x for x in instances(settings, square=True) if x.depth > 1):
        a, b, s = x.above(1).T, x.below(1).T, x.scalings[0]
        found += [(x.name, a, b, s), (f"{x.name}, S_1 constant", a, b, 0 * s + Fraction(1, 3))]
    for n in (2, 3):
        s = 1 / exact(rng.integers(1, 9, size=(n, n)))
        a, b = (np.diag(exact(rng.integers(1, 5, size=n))) for _ in range(2))
        mixed = eye(n)
        mixed[0, 1] = Fraction(1)
        rows = exact(np.ones((n, 1), int)) @ s[:1]
        found.append((f"A, B diagonal, {n}x{n}", a, b, s))
        found.append((f"A mixes two rows, {n}x{n}", mixed, b, s))
        found.append((f"A mixes two rows where S has equal ones, {n}x{n}", mixed, b, rows))
    for name, a, b, s in found:
        k, entries = np.kron(b.T, a), vec(s)
        rows, columns = s.shape
        basis = [
            unit(rows, p) @ unit(columns, q).T for p, q in itertools.product(*map(range, s.shape))
        ]
        # For every L if for each matrix of a basis; without K, by the products themselves.
        passes = all(equal((a @ x @ b) * s, a @ (x * s) @ b) for x in basis)
        alike = bool(np.all((k == 0) | (entries[:, None] == entries)))
        yield exact_case(
            f"for every L, {name}",
            Fraction(int(passes)),
            Fraction(int(alike)),
            {"A, B and S fit": ByConstruction("square, of one size")},
            f"A = {plain(a)}, B = {plain(b)}, S = {plain(s)}",
            entries.size,
            notes=f"for every L, {name}: {'the same' if passes else 'not the same'}",
        )
