"""Domine et al. 2025: the matrix Riccati equation and its solution, by algebra."""

from fractions import Fraction

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.oracles.high_precision import decimal
from gradflow.claims.proofs import Proof, Words, chain, prove_identity


def equation() -> Proof:
    """All blocks of d(QQ^T)/dt, for matrices of any sizes; L is the number lambda."""
    one, two, sigma, lam = Words.named("W_1", "W_2", "Sigma", "L")
    gap = sigma - two @ one
    rates = {"W_1": two.T @ gap, "W_2": gap @ one.T}
    # lambda commutes with everything; W_2^T W_2 = W_1 W_1^T + lambda I.
    rules = [(two.T @ two, one @ one.T + lam), (lam.T, lam)]
    rules += [(x @ lam, lam @ x) for w in (one, two, sigma) for x in (w, w.T)]
    a, b, c = one.T @ one, one.T @ two.T, two @ two.T
    blocks = {
        # 2 lambda/2 = lambda on each diagonal block; off the diagonal the halves cancel.
        "first": (a, sigma.T @ b.T + b @ sigma - lam @ a - (a @ a + b @ b.T)),
        "mixed": (b, sigma.T @ c + a @ sigma.T - (a @ b + b @ c)),
        "second": (c, sigma @ b + b.T @ sigma.T + lam @ c - (b.T @ b + c @ c)),
    }
    parts = [
        prove_identity(f"the {name} block", left.derivative(rates), right, rules=rules)
        for name, (left, right) in blocks.items()
    ]
    return chain("d(QQ^T)/dt = F QQ^T + QQ^T F - (QQ^T)^2", *parts)


def balance() -> Proof:
    """W_2^T W_2 - W_1 W_1^T stays."""
    one, two, sigma = Words.named("W_1", "W_2", "Sigma")
    gap = sigma - two @ one
    rates = {"W_1": two.T @ gap, "W_2": gap @ one.T}
    moved = (two.T @ two - one @ one.T).derivative(rates)
    return prove_identity("W_2^T W_2 - W_1 W_1^T = lambda I stays", moved)


def solution() -> Proof:
    """P = E Q N Q^T E, E = e^(Ft), N the inverse of I + Q^T (E F^-1 E - F^-1) Q / 2."""
    e, f, g, q, n = Words.named("E", "F", "F^-1", "Q", "N")
    bracket = Fraction(1, 2) * (q.T @ (e @ g @ e - g) @ q)
    grown = q.T @ e @ e @ q
    p = e @ q @ n @ q.T @ e
    rates = {"E": f @ e, "N": -(n @ grown @ n)}
    one = Words.identity()
    return chain(
        "the formula solves the equation",
        prove_identity("the bracket's derivative", bracket.derivative(rates), grown,
                       rules=[(f @ g, one), (g @ f, one), (f @ e, e @ f)]),
        prove_identity("the formula's derivative", p.derivative(rates), f @ p + p @ f - p @ p,
                       rules=[(e @ f, f @ e)]),
        cites=("an inverse N of B moves by -N B' N",),
    )  # fmt: skip


def riccati(half: float) -> Case:
    """The equation and its solution; numbers 1x1 tell lambda/2 from other shares of it."""
    w1, w2, s = sympy.symbols("w_1 w_2 s", positive=True)
    lam, gap = w2**2 - w1**2, s - w1 * w2
    q = sympy.Matrix([w1, w2])
    f = sympy.Matrix([[-decimal(half) * lam, s], [s, decimal(half) * lam]])
    square = q * q.T
    moved = sympy.Matrix([w2 * gap, w1 * gap])
    proof = chain(
        "QQ^T obeys a Riccati equation, and is e^(Ft) Q_0 [...]^-1 Q_0^T e^(Ft)",
        balance(),
        equation(),
        prove_identity(f"1x1, with {half:g} lambda in F", moved * q.T + q * moved.T,
                       f * square + square * f - square * square),
        solution(),
        cites=("solutions are unique", "F and e^(Ft) are symmetric and commute"),
    )  # fmt: skip
    hypotheses = {
        "W_2^T W_2 - W_1 W_1^T = lambda I": ByConstruction("a rule of the algebra"),
        "F is invertible": ByConstruction("its inverse is a matrix of the formula"),
    }
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=2)
