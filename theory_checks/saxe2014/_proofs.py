"""Saxe, McClelland and Ganguli 2014: proofs of the closed forms at depth 2."""

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.oracles.high_precision import decimal
from gradflow.claims.proofs import Proof, Words, chain, prove_identity

ALIGNED = {"aligned, equal layers": ByConstruction("any frames, any strengths above 0")}
UNEQUAL = {"aligned layers": ByConstruction("any frames, 0 < w_1 < w_2 in each mode")}


def stay_aligned() -> Proof:
    """W_1 = R P V^T and W_2 = U Q R^T move by P' = Q (S - Q P), Q' = (S - Q P) P.

    Sigma = U S V^T + M, where M has the singular vectors of modes that do not start.
    """
    u, v, r, p, q, s, m = Words.named("U", "V", "R", "P", "Q", "S", "M")
    one, nothing = Words.identity(), Words({})
    rules = [(u.T @ u, one), (v.T @ v, one), (r.T @ r, one), (u.T @ m, nothing), (m @ v, nothing)]
    gap = u @ s @ v.T + m - u @ q @ r.T @ r @ p @ v.T
    first, second = r @ q @ u.T @ gap, gap @ v @ p @ r.T
    return chain(
        "the frames of aligned layers stand still, and modes move by themselves",
        prove_identity("W_2^T (Sigma - W)", first, r @ q @ (s - q @ p) @ v.T, rules=rules),
        prove_identity("(Sigma - W) W_1^T", second, u @ (s - q @ p) @ p @ r.T, rules=rules),
        cites=("entries of products of diagonal matrices", "solutions are unique"),
    )


def mode(rate: float) -> Case:
    """The logistic equation, and its solution with E = e^(2 s t)."""
    d, s, a0, e = sympy.symbols("d s a_0 E", positive=True)
    found = s * e / (e - 1 + s / a0)
    proof = chain(
        "a(t) = s e^(2st) / (e^(2st) - 1 + s/a_0)",
        stay_aligned(),
        prove_identity(f"a' = {rate:g} a (s - a), a = d^2", 2 * d * d * (s - d**2),
                       decimal(rate) * d**2 * (s - d**2)),
        prove_identity("the formula's a'", found.diff(e) * 2 * s * e, 2 * found * (s - found)),
        prove_identity("a at E = 1", found.subs(e, 1), a0),
    )  # fmt: skip
    return Case("proof", proof=proof, whole=True, hypotheses=ALIGNED, size=4)


def time(rate: float) -> Case:
    """The derivative of the time in a_f is 1/a', and at a_f = a_0 it is 0."""
    a, s, a0 = sympy.symbols("a_f s a_0", positive=True)
    inside = a * (s - a0) / (a0 * (s - a))
    slope = inside.diff(a) / inside / (decimal(rate) * s)
    proof = chain(
        f"t = 1/({rate:g} s) ln(a_f (s - a_0) / (a_0 (s - a_f)))",
        stay_aligned(),
        prove_identity("dt/da_f = 1 / (2 a_f (s - a_f))", slope, 1 / (2 * a * (s - a))),
        prove_identity("nothing has passed at a_f = a_0", inside.subs(a, a0), 1),
        cites=("a' = 2 a (s - a), as in saxe2014.mode",),
    )
    return Case("proof", proof=proof, whole=True, hypotheses=ALIGNED, size=4)


def unequal(four: float) -> Case:
    """With x = w_1/w_2, K^2 = c^2 + 4 s^2: c stays, x' = s - c x - s x^2, dx/dt dt/dx = 1."""
    p, q, s, c, x, k = sympy.symbols("w_1 w_2 s c x K", positive=True)
    up, uq = q * (s - p * q), p * (s - p * q)
    speed = s - c * x - s * x**2
    slope = (2 * s / (k + c + 2 * s * x) + 2 * s / (k - c - 2 * s * x)) / k
    proof = chain(
        "w_2^2 - w_1^2 stays, and t = 1/K ln((K + c + 2 s x) / (K - c - 2 s x))",
        stay_aligned(),
        prove_identity("(w_2^2 - w_1^2)'", 2 * q * uq - 2 * p * up, 0),
        prove_identity("x' = s - c x - s x^2", (up * q - p * uq) / q**2,
                       speed.subs({c: q**2 - p**2, x: p / q})),
        prove_identity("dt/dx", slope, 4 * s / (k**2 - (c + 2 * s * x) ** 2)),
        prove_identity(f"dt/dx x' = 1 with K^2 = c^2 + {four:g} s^2", 4 * s * speed,
                       c**2 + decimal(four) * s**2 - (c + 2 * s * x) ** 2),
    )  # fmt: skip
    return Case("proof", proof=proof, whole=True, hypotheses=UNEQUAL, size=2)
