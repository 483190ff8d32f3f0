"""Razin and Cohen 2020: lemmas as cases that are proved, or refuted where broken."""

from fractions import Fraction

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import (
    Proof,
    Words,
    chain,
    counterexample,
    not_negative,
    prove_identity,
    settle,
)
from gradflow.claims.proofs.interval import entropy, interval, iv

from ..arora2019._proofs import powers_of_partial_products
from ._printed import proof_case
from ._proofs import CAUCHY, balance_is_conserved, sign_of_determinant
from ._proofs_theorem2 import distance_bound, norm_bound, rank_bound

ENTROPY = "-(1-p) ln(1-p) <= p, so that h(p) <= p (1 - ln p)"
SIZES = {"matching sizes": ByConstruction("matrices of any sizes, as words")}
QUARTER = Fraction(1, 4)


def lem3(share: float) -> Case:
    """What is conserved is each difference of Gram matrices, hence their nuclear norms."""
    return proof_case(balance_is_conserved(Fraction(share)), SIZES)


def lem6(depths: tuple[int, ...]) -> Case:
    """At every depth from 2 on."""
    hypotheses = {"square, balanced, L >= 2": ByConstruction("any such factors, any loss")}
    return proof_case(sign_of_determinant(depths), hypotheses)


def lem8(shift: float) -> Case:
    """By W W^T = (W_L W_L^T)^L, and the same non-zero values in all factors."""
    claimed = iv.exp(interval(2 + Fraction(shift)) * iv.log(iv.mpf(2)))
    broken = counterexample("Lemma 8", abs(4 - claimed), {"1x1": "W_1 = W_2 = 2"})
    s, n = sympy.symbols("sigma L", positive=True)
    claimed = s ** (n + sympy.Rational(shift))
    power = prove_identity("the root of ((sigma_l)^2)^L", sympy.sqrt((s**2) ** n), claimed)
    cites = ("X^T X and X X^T have the same eigenvalues but for zeros",)
    proof = chain("Lemma 8", powers_of_partial_products(), power, cites=cites)
    return proof_case(settle(proof, broken), SIZES)


def _root_times(factor: Fraction) -> Proof:
    """sqrt(p) (1 - ln p) <= factor on (0, 1]: its maximum is 2/sqrt(e), at p = 1/e."""
    spare = interval(factor) - 2 / iv.sqrt(iv.e)
    return not_negative(f"{factor} less the largest sqrt(p) (1 - ln p), 2/sqrt(e)", spare)


def lem9(factor: float) -> Case:
    """Of h(p) <= p (1 - ln p) <= 2 sqrt(p)."""
    statement = f"h(p) <= {factor:g} sqrt(p) on [0, 1]"
    hypotheses = {"0 <= p <= 1": ByConstruction("all of them; h(0) = 0")}
    excess = entropy(interval(QUARTER)) - interval(factor) / 2
    broken = counterexample(statement, excess, {"p": "1/4"})
    cites = (ENTROPY, "sqrt(p) (1 - ln p) has one maximum, at p = 1/e")
    proof = chain(statement, _root_times(Fraction(factor)), cites=cites)
    return proof_case(settle(proof, broken), hypotheses)


def entropy_step(factor: float) -> Case:
    """wang2024: H <= factor e (1 - ln e) <= 2 sqrt(e)."""
    statement = f"H(1-e, e) <= {factor:g} e (1 + ln 1/e) <= 2 sqrt(e)"
    hypotheses = {"0 < e <= 1": ByConstruction("all of them")}
    at = interval(QUARTER)
    excess = entropy(at) - interval(factor) * at * (1 - iv.log(at))
    broken = counterexample(statement, excess, {"e": "1/4"})
    enough = not_negative("the factor less 1, for the first bound", Fraction(factor) - 1)
    rest = _root_times(2 / Fraction(factor))
    return proof_case(settle(chain(statement, enough, rest, cites=(ENTROPY,)), broken), hypotheses)


def lem12(factor: float) -> Case:
    """Telescoping: of A X - B Y, by induction over the chain."""
    statement = f"the difference of products is at most {factor:g} times the sum"
    (a1, a2), (b1, b2) = (1, 1), (1, 0)  # 1x1
    errors = abs(a1 - b1) * abs(a2) + abs(b1) * abs(a2 - b2)
    excess = abs(a1 * a2 - b1 * b2) - Fraction(factor) * errors
    broken = counterexample(statement, excess, {"A": "(1, 1)", "B": "(1, 0)"})
    a, b, x, y = Words.named("A", "B", "X", "Y")
    step = prove_identity("A X - B Y", a @ x - b @ y, (a - b) @ x + b @ (x - y))
    enough = not_negative("the factor less 1, which each term has", Fraction(factor) - 1)
    proof = chain(statement, step, enough, cites=("|A B|_F <= |A|_F |B|_F",))
    return proof_case(settle(proof, broken), SIZES)


def lem17(share: float) -> Case:
    """The chain rule: f' = <grad f, theta'> = -|grad f|^2, so f' <= -share |theta'|^2."""
    (g,) = Words.named("grad f")
    hypotheses = {"theta' = -grad f": ByConstruction("any differentiable f")}
    part = Fraction(share)
    statement = f"f(a) - f(b) >= {share:g} |theta(b) - theta(a)|^2 / (b - a)"
    witness = {"f(x), theta(0)": "-x, 0: theta = t and f = -t"}
    broken = counterexample(statement, part - 1, witness)
    proof = chain(
        statement,
        prove_identity("f' = -|theta'|^2", g.T @ -g, -((-g).T @ -g), cites=("the chain rule",)),
        not_negative("1 less the factor", 1 - part),
        cites=(CAUCHY + ": |theta(b) - theta(a)|^2 / (b - a) is at most |theta'|^2, integrated",),
    )
    return proof_case(settle(proof, broken), hypotheses)


def lem20(depths: tuple[int, ...]) -> Case:
    """W stays symmetric, since W^T moves by the same equations, and no eigenvalue reaches 0."""
    proof = sign_of_determinant(depths)
    cites = (
        "W^T solves the same equations from the same start",
        "eigenvalues of symmetric matrices are continuous",
    )
    whole = chain("W(t) is positive definite", proof, cites=cites)
    return proof_case(whole if proof.proved else proof)


def cor1(inverse_norm: float, rank: float, distance: float) -> Case:
    """The limits that (8), (9) and (10) leave: infinity, 1 and 0."""
    parts = (
        norm_bound(0.5, general=False),
        rank_bound(16),
        distance_bound(lambda z, z2, eps, s: eps + s, "s"),
    )
    s = sympy.symbols("s", positive=True)  # sqrt(2 loss)
    left = {
        "1/norm": (1 / (1 / s - 8), inverse_norm), "erank": (1 + 16 * s, rank),
        "distance": (s, distance),
    }  # fmt: skip
    limits = (
        prove_identity(f"{name} tends to", sympy.limit(bound, s, 0, "+"), sympy.Rational(claimed))
        for name, (bound, claimed) in left.items()
    )
    return proof_case(
        chain("as the loss vanishes: norms to infinity, erank to 1, distance to 0", *parts,
              *limits, sign_of_determinant())
    )  # fmt: skip


def lem11(factor: float) -> Case:
    """B = v v^T + R R^T with |v|^2 its largest eigenvalue."""
    statement = f"Tr(A^T B A) >= {factor:g} lambda_1(B) s_d(A)^2"
    broken = counterexample(statement, Fraction(factor) - 1, {"A, B": "1, 1 (1x1)"})
    a, v, r = Words.named("A", "v", "R")
    form = a.T @ (v @ v.T + r @ r.T) @ a
    split = prove_identity(
        "A^T B A", form, (a.T @ v) @ (a.T @ v).T + (a.T @ r) @ (a.T @ r).T,
        cites=("|A^T v| >= s_d(A) |v|", "traces of Gram matrices are not negative"),
    )  # fmt: skip
    enough = not_negative("1, which the first term has, less the factor", 1 - Fraction(factor))
    return proof_case(settle(chain(statement, split, enough), broken), SIZES)
