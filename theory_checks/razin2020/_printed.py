r"""Razin and Cohen 2020: the printed bounds as cases that are proved, or refuted where broken."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, chain
from gradflow.claims.proofs.interval import interval, iv

from . import _proofs, _proofs_theorem2
from ._proofs import Point, refuted_at, sign_of_determinant

EVERY = {
    "det W has the required sign": ByConstruction("every such matrix, at every time of a flow")
}
INFIMUM = "the infimum over the solutions is 1: one of rank one, or w_11 to infinity"


def proof_case(proof: Proof, hypotheses: Mapping[str, ByConstruction] = EVERY) -> Case:
    """A proof of the whole statement as a case."""
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=4)


def in_time(proof: Proof, *cites: str) -> Case:
    """A bound on matrices, brought to the flow by Lemma 6."""
    if not proof.proved:
        return proof_case(proof)
    statement = f"{proof.statement}, at every time"
    return proof_case(chain(statement, proof, sign_of_determinant(), cites=cites))


def _steep(statement: str, sides: Any) -> Proof:
    """What a broken bound comes to at a matrix of a small loss."""
    points = [Point(w) for w in (_proofs.STEEP, _proofs.FLAT)]
    found = refuted_at(statement, points, sides)
    return found or Proof(statement, "open")


def thm1_norm(power: float) -> Case:
    """(8) for every quasi-norm; `power` of the loss."""
    return in_time(_proofs_theorem2.norm_bound(power, general=False))


def thm1_erank(constant: float) -> Case:
    """(9), from the sharp constant 1."""
    share = min(Fraction(constant), Fraction(1))
    return in_time(_proofs.rank_bound(share), INFIMUM, f"{float(share):g} <= {constant:.4g}")


def thm1_irank(constant: float) -> Case:
    """(10), from the sharp constant sqrt(2)."""
    rounded = Fraction(constant) * Fraction(70710678, 10**8)  # over sqrt(2), rounded down
    share = min(rounded, Fraction(1))
    return in_time(
        _proofs.distance_bound(share),
        f"{float(share):g} sqrt(2) <= {constant:.4g}",
        "the infimal rank is 1 (Proposition 2)",
    )


def thm2_norm(power: float) -> Case:
    """(15) with the unobserved entry's unit matrix; `power` of sqrt(2 loss)."""
    return in_time(_proofs_theorem2.norm_bound(power, general=True))


def thm2_erank(constant: float) -> Case:
    """(16), from the sharp constant 1/sqrt(2)."""
    proof = _proofs_theorem2.rank_bound(Fraction(constant))
    return in_time(proof, INFIMUM)


def _printed_distance(constant: float, extra: float) -> Proof:
    def right(z: Any, z2: Any, eps: Any, s: Any) -> Any:
        first, more = Fraction(constant), Fraction(extra)
        if isinstance(s, sympy.Basic):  # sqrt(z z') / min(z, z') is at least 1
            return sympy.Rational(first) * (eps + s) + sympy.Rational(more) * s
        ratio = iv.sqrt(z * z2) / (z if z < z2 else z2)
        return interval(first) * (eps + s) + interval(more) * ratio * s

    text = f"{constant:g} |epsilon| + ({constant:g} + {extra:g} sqrt(z z')/min) s"
    return _proofs_theorem2.distance_bound(right, text)


def thm2_irank(constant: float, extra: float) -> Case:
    """(17), from |epsilon| + s."""
    return in_time(_printed_distance(constant, extra), "the infimal rank of the solutions is 1")


def lem18(factor: float) -> Case:
    """|w_11| and the printed equality."""
    return in_time(_proofs.entry_bound(Fraction(factor)))


def lem19(constant: float, push: float) -> Case:
    """All three bounds."""
    second = _proofs.distance_bound(Fraction(constant))
    third = _steep(f"s_1 >= {push}/s - 2", lambda at: (at.first, push / at.s - 2))
    if third.outcome != "refuted" and push <= 1:
        third = _proofs.entry_bound()
    return in_time(
        chain("Lemma 19", second, third, cites=("s_1 is at least the size of every entry",))
    )


def lem25(factor: float) -> Case:
    """Both inequalities."""
    return in_time(_proofs_theorem2.entry_bound(Fraction(factor)))


def lem26(constant: float, extra: float) -> Case:
    """All three bounds; of a small loss too, |epsilon| + s is enough."""
    return in_time(
        chain(
            "Lemma 26",
            _printed_distance(constant, extra),
            _printed_distance(constant, 0.0),
            cites=("s_1 is at least the size of every entry",),
        )
    )
