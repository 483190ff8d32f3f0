r"""Arora et al. 2019: proofs about singular vectors (Lemmas 1 and 2, Corollary 1).

In the notation of the paper, with K = U^T U' and L = V^T V', which are skew:
U^T W' V = K S + S' - S L. Entries (r, s) and (s, r) of it give K_rs and L_rs. Whatever V lacks of
W^T follows by exchanging W with W^T.
"""

from fractions import Fraction
from functools import cache

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, Words, chain, counterexample, prove_identity, settle

from . import _proofs

SIDES = {"left": ("U", "K"), "right": ("V", "L")}
ANALYTIC = {"analytic loss, gradient flow": ByConstruction("any sizes, d >= d' (else W^T), words")}
STATIONARY = {
    "N >= 2, values distinct and not 0 at the start": ByConstruction("any such flow, at any time"),
    "U' = V' = 0": ByConstruction("at that time"),
}


def lem1(ordered: bool) -> Case:
    """U = W V S^-1, where V diagonalises W^T W analytically (Rellich) and S^2 = V^T W^T W V.

    This is a part: that the roots and U are analytic, too, is taken from elsewhere.

    A value that is not always 0 has isolated zeros, of even order in its square, so that its root
    is analytic if it may change its sign; W v has the same order there, so that W v / sigma is.
    """
    statement = "W = U S V^T with analytic U, S, V" + ", S >= 0" * ordered
    # 1x1, depth 1: W = 2 e^-t - 1, from W = 1 under (W + 1)^2 / 2; W' = -1 at W = 0.
    value = [2 * x - 1 for x in (Fraction(5, 8), Fraction(3, 8))]  # before and after
    signs = [(1 if w > 0 else -1) if ordered else 1 for w in value]
    left, right = (sign * Fraction(-1) for sign in signs)
    witness = {"1x1, depth 1": "W = 2 e^-t - 1", "slopes of sigma at W = 0": f"{left}, {right}"}
    broken = counterexample(statement, abs(left - right), witness)
    w, v, s, i = Words.named("W", "V", "S", "S^-1")
    one, u = Words.identity(), w @ v @ i
    rules = [
        (v.T @ w.T @ w @ v, s @ s), (v.T @ v, one), (v @ v.T, one), (s @ i, one), (i @ s, one),
        (s.T, s), (i.T, i),
    ]  # fmt: skip
    proof = chain(
        statement,
        prove_identity("U^T U = I", u.T @ u, one, rules=rules),
        prove_identity("U S V^T = W", u @ s @ v.T, w, rules=rules),
        cites=(
            "flows of an analytic field are analytic (Cauchy and Kovalevskaya)",
            "an analytic family of symmetric matrices has analytic orthonormal eigenvectors "
            "(Rellich)",
            "zeros of an analytic function are isolated, unless it is 0",
            "analytic orthonormal columns are completed by such (Kato), for values always 0",
        ),
    )
    return Case(
        "part of a proof", proof=settle(proof, broken, covered=not ordered), whole=False,
        hypotheses=ANALYTIC, size=1,
    )  # fmt: skip


@cache
def _moving(side: str, turn: float) -> Proof:
    """K_rs or L_rs from the entries of X = U^T W' V; `turn` multiplies the formula."""
    k, l, a, b = sympy.symbols("K_rs L_rs sigma_r sigma_s")
    x_rs, x_sr = k * b - a * l, -k * a + b * l  # K and L are skew
    pair = x_rs * b + a * x_sr if side == "left" else a * x_rs + x_sr * b
    skew = k if side == "left" else l
    name = "(X S + S X^T)" if side == "left" else "(S X + X^T S)"
    return prove_identity(
        f"{SIDES[side][1]}_rs = {turn:g} {name}_rs / (sigma_s^2 - sigma_r^2)",
        skew, sympy.Rational(turn) * pair / (b**2 - a**2),
    )  # fmt: skip


@cache
def core() -> Proof:
    """X = U^T W' V is K S + S' - S L, and by Lemma 3 it is -G . (U^T grad V), G symmetric."""
    u, s, v, du, ds, dv = Words.named("U", "S", "V", "dU", "dS", "dV")
    one = Words.identity()
    rules = [(u.T @ u, one), (v.T @ v, one), (dv.T @ v, -(v.T @ dv))]
    moved = u.T @ (u @ s @ v.T).derivative({"U": du, "S": ds, "V": dv}) @ v
    n, j = sympy.symbols("N j")
    powers = sympy.Matrix([[(j - 1) / n, (n - j) / n]])  # of sigma_r^2 and sigma_s^2
    flow = _proofs.product_flow().proof
    assert flow is not None
    return chain(
        "U^T W' V",
        prove_identity("U^T W' V = K S + S' - S L", moved,
                       u.T @ du @ s + ds - s @ v.T @ dv, rules=rules),
        flow,
        prove_identity("G is symmetric: the powers of term N+1-j are those of term j, exchanged",
                       powers.subs(j, n + 1 - j), powers[:, ::-1]),
        cites=("V'^T V = -V^T V'; S' is diagonal",
               "(W W^T)^a = U (S^2)^a U^T and (W^T W)^a = V (S^2)^a V^T for a > 0"),
    )  # fmt: skip


@cache
def across() -> Proof:
    """(I - U U^T) U' S = (I - U U^T) W' V, of which Lemma 3 leaves the term j = 1."""
    u, s, v, du, ds, dv = Words.named("U", "S", "V", "dU", "dS", "dV")
    g, a, b, c = Words.named("g", "A", "B", "C")
    one = Words.identity()
    rules = [(u.T @ u, one), (v.T @ v, one)]
    off = one - u @ u.T
    moved = (u @ s @ v.T).derivative({"U": du, "S": ds, "V": dv})
    terms = g @ v @ c @ v.T + u @ a @ u.T @ g @ v @ b @ v.T + u @ a @ u.T @ g
    return chain(
        "across the columns of U",
        prove_identity("(I - U U^T) (U S V^T)' V", off @ moved @ v, off @ du @ s, rules=rules),
        prove_identity("of the terms of Lemma 3 the first is left", off @ terms @ v,
                       off @ g @ v @ c, rules=rules),
    )  # fmt: skip


def lem2(side: str, turn: float) -> Case:
    """(8) and (9) as corrected; the part across by S^-1 (S^2)^(1 - 1/N)."""
    frame, _ = SIDES[side]
    hypotheses = {
        "squares of singular values distinct and not 0": ByConstruction("symbols; any depth, loss")
    }
    equal = _proofs.eq39(True, 1.0).proof
    assert equal is not None
    proof = chain(
        f"{frame}' as corrected", _moving(side, turn), core(), equal, across(),
        cites=("X' = U U^T X' + (I - U U^T) X'", "W^T W' and so on by exchanging W and W^T"),
    )  # fmt: skip
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=100.0)


def _left_alone(both: bool) -> Proof | None:
    """N = 2, W = diag(2, 1): a gradient with U' = 0 that is not diagonal, unless V' = 0 is asked.

    Off the diagonal, X = -G . grad with G = 2 + 1; U' = 0 asks for X_12 s_2 + s_1 X_21 = 0.
    """
    s1, s2, g12 = 2, 1, 2
    g21 = Fraction(-g12 * s2, s1)
    x12, x21 = -(s1 + s2) * g12, -(s1 + s2) * g21
    turning = [abs(x12 * s2 + s1 * x21), abs(s1 * x12 + x21 * s2)]  # of U and of V
    met = not any(turning[: 1 + both])
    witness = {
        "N = 2, W": "diag(2, 1)", "gradient": f"[[0, {g12}], [{g21}, 0]]",
        "U', V' are 0": str([not x for x in turning]),
    }  # fmt: skip
    return counterexample("U^T grad V is diagonal", abs(g12), witness) if met else None


def cor1(both: bool) -> Case:
    """Where U' = V' = 0, U^T W' V = S', and (I - U U^T) W' V = 0: Lemma 3 does the rest.

    This needs no distinct values at that time: G has entries above 0 as long as no value is 0.
    """
    statement = "U^T grad V is diagonal, and U, V hold singular vectors of the gradient"
    broken = _left_alone(both)
    u, s, v, ds, dv = Words.named("U", "S", "V", "dS", "dV")
    one = Words.identity()
    rules = [(u.T @ u, one), (v.T @ v, one)]
    moved = (u @ s @ v.T).derivative({"S": ds} if both else {"S": ds, "V": dv})
    value = _proofs.value_flow(signs=True).proof
    assert value is not None
    proof = chain(
        statement,
        prove_identity("U^T W' V at U' = V' = 0", u.T @ moved @ v, ds, rules=rules),
        prove_identity("(I - U U^T) W' V there", (one - u @ u.T) @ moved @ v, rules=rules),
        core(),
        across(),
        value,
        cites=(
            "G_rs is a sum of powers of positive numbers, so above 0",
            "no value reaches 0 for N >= 2, so that (S^2)^(1 - 1/N) is invertible",
            "(I - U U^T) grad V = 0 says that grad V = U (U^T grad V); the same of W^T",
        ),
    )  # fmt: skip
    return Case("proof", proof=settle(proof, broken), whole=True, hypotheses=STATIONARY)
