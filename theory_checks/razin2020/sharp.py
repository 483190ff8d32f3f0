r"""Razin and Cohen 2020: the best constants of Theorems 1 and 2, proved. They are ours.

Printed are 2 sqrt(12) / ln 2 = 9.995 for 1 in (9), b = 8 for 1/sqrt(2) in (8) under Schatten
norms, 3 sqrt(2) for sqrt(2) in (10), 16 for 1/sqrt(2) in (16), and 4 and more for 1 in (17). In
(15) b is 8 max(|z|, |z'|, |epsilon|), or more, for |z z'| / sqrt(z^2 + z'^2), Frobenius' norm.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from gradflow.claims import Case, Settings, claim
from gradflow.claims.proofs import chain
from gradflow.claims.proofs.interval import interval, iv

from . import _proofs, _proofs_sharp, _proofs_theorem2
from ._effective_rank import entropy_rank
from ._enclosed import PERTURBED_FLOWS, SPARED, along
from ._sharp_cases import POSITIVE, REQUIRED, best_case, drawn, drawn_case, proof_case


@claim(
    "razin2020.thm1.norm.sharp",
    kind="inequality",
    where="Theorem 1, Equation (8), for Schatten (quasi-)norms",
    statement=r"\|W(t)\|_{S_p} \ge \frac1{\sqrt{2\ell(t)}} - \frac1{\sqrt2},\quad "
    r"0 < p \le \infty",
    control={"share": Fraction(99, 100)},
    control_text="0.99 / sqrt(2)",
)
def norm(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved for s_1, the least of them; the best b for the printed a, which I / 1000 shows."""
    b = sympy.Rational(share) / sympy.sqrt(2)
    least = _proofs_sharp.largest_value(Fraction(1))
    cites = ("no Schatten (quasi-)norm is below s_1", "1/t - t^3 >= 1/s - 1/sqrt(2)")
    whole = chain(f"(8) with b = {b}", _proofs.norm_bound(b), least, cites=cites)
    yield proof_case(whole, POSITIVE)
    yield from along(lambda at: (at.first, 1 / at.s - interval(b)))
    if share == 1:
        yield best_case(
            "b", [_proofs.NEAR_ZERO],
            lambda at: (1 / at.s - at.first) * iv.sqrt(iv.mpf(2)), Fraction(99, 100),
        )  # fmt: skip
    found = drawn(settings)
    yield drawn_case(found.s[:, 0], 1 / found.root - float(b), found)


@claim(
    "razin2020.thm1.erank.sharp",
    kind="inequality",
    where="Theorem 1, Equation (9)",
    statement=r"\mathrm{erank}(W(t)) \le 1 + \sqrt{\ell(t)}",
    control={"constant": Fraction(99, 100)},
    control_text="0.99 sqrt(loss)",
)
def erank(settings: Settings, constant: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, from 2 det W <= loss |W|^2; the best constant, approached at W = c I as c -> 0."""
    yield proof_case(_proofs.rank_bound(constant), POSITIVE)
    root = iv.sqrt(iv.mpf(2))
    yield from along(lambda at: (1 + interval(constant) * at.s / root, at.rank), SPARED)
    if constant == 1:
        yield best_case(
            "I / 1000", [_proofs.NEAR_ZERO],
            lambda at: (at.rank - 1) * iv.sqrt(iv.mpf(2)) / at.s, Fraction(99999, 100000),
        )  # fmt: skip
    found = drawn(settings)
    right = float(constant) * found.root / np.sqrt(2)
    yield drawn_case(right, entropy_rank(*found.s.T), found)


@claim(
    "razin2020.thm1.irank.sharp",
    kind="inequality",
    where="Theorem 1, Equation (10)",
    statement=r"D(W(t), \mathcal M_1) \le \sqrt{2\ell(t)}",
    control={"constant": Fraction(99, 100)},
    control_text="0.99 sqrt(2 loss)",
)
def irank(settings: Settings, constant: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, by the segment from W to P; the best constant, approached as w_11 grows."""
    yield proof_case(_proofs.distance_bound(constant), POSITIVE)
    yield from along(lambda at: (interval(constant) * at.s, at.second))
    if constant == 1:
        yield best_case(
            "((1000, 1), (1, 1))", [_proofs.FAR], lambda at: at.second / at.s, Fraction(998, 1000)
        )
    found = drawn(settings)
    yield drawn_case(float(constant) * found.root, found.s[:, 1], found)


@claim(
    "razin2020.thm2.norm.sharp",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (15), for the Frobenius norm",
    statement=r"\|W(t)\|_F \ge \frac{|z||z'|}{|\epsilon|+\sqrt{2\ell(t)}} - "
    r"\frac{|z||z'|}{\sqrt{z^2+z'^2}}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 of the last term",
)
def norm2(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; the best last term for every z and z' at epsilon = 0, which W -> 0 shows."""
    yield proof_case(_proofs_sharp.frobenius(share), REQUIRED)
    if share == 1:
        yield best_case(
            "the last term", [_proofs.NEAR_ZERO],
            lambda at: (1 / at.s - at.norm) * iv.sqrt(iv.mpf(2)), Fraction(99, 100),
        )  # fmt: skip
    found = drawn(settings, general=True)
    z, z2, eps = np.abs(found.observed)
    right = z * z2 / (eps + found.root) - float(share) * z * z2 / np.hypot(z, z2)
    yield drawn_case(np.linalg.norm(found.w, axis=(1, 2)), right, found)


@claim(
    "razin2020.thm2.erank.sharp",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (16)",
    statement=r"\mathrm{erank}(W(t)) \le 1 + "
    r"\frac{|\epsilon| + \sqrt{2\ell(t)}}{\sqrt2\,\min\{|z|,|z'|\}}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 / sqrt(2)",
)
def erank2(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; the best constant, for z = z' = 1 and epsilon = 0 are Theorem 1."""
    constant = sympy.Rational(share) / sympy.sqrt(2)
    yield proof_case(_proofs_theorem2.rank_bound(constant), REQUIRED)
    yield from along(lambda at: (1 + interval(constant) * at.off, at.rank), PERTURBED_FLOWS)
    found = drawn(settings, general=True)
    z, z2, eps = np.abs(found.observed)
    right = float(constant) * (eps + found.root) / np.minimum(z, z2)
    yield drawn_case(right, entropy_rank(*found.s.T), found)


@claim(
    "razin2020.thm2.irank.sharp",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (17)",
    statement=r"D(W(t), \mathcal M_1) \le |\epsilon| + \sqrt{2\ell(t)}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 times that",
)
def irank2(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, by the segment from W to P_0."""

    def right(z: Any, z2: Any, eps: Any, s: Any) -> Any:
        return (eps + s) * share.numerator / share.denominator

    proof = _proofs_theorem2.distance_bound(right, f"{share} (|epsilon| + s)")
    yield proof_case(proof, REQUIRED)
    yield from along(lambda at: (interval(share) * (at.epsilon + at.s), at.second), PERTURBED_FLOWS)
    found = drawn(settings, general=True)
    right_side = float(share) * (np.abs(found.observed[2]) + found.root)
    yield drawn_case(right_side, found.s[:, 1], found)
