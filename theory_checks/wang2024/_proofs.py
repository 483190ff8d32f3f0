"""Wang and Basu Roy Chowdhury 2024: proofs of the statements on single matrices."""

from fractions import Fraction
from functools import cache

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import (
    Proof,
    chain,
    counterexample,
    enclose_flow,
    not_negative,
    prove_identity,
    settle,
)
from gradflow.claims.proofs.interval import Interval, ends, interval, iv, precision

from ..arora2019._proofs import value_flow
from ..razin2020 import _proofs as razin2020
from ..razin2020._fields import Whole
from ..razin2020._printed import proof_case

POSITIVE = {"det W > 0": ByConstruction("every such matrix")}
TALL: razin2020.Matrix = ((1000, Fraction(11, 10)), (1, Fraction(12, 10_000)))


def eq20(factor: float, share: float) -> Case:
    """(18) and (19) are terms of the loss; (20) is razin2020's Lemma 18."""
    at = razin2020.Point(razin2020.STEEP)  # all of the loss is in W_22
    excess = interval(at.w[1][1]) ** 2 - interval(Fraction(share)) ** 2 * at.s**2
    terms = counterexample(
        f"each error is at most {share:g} sqrt(2 loss)", excess, {"W": "[[101, 1], [1, 1/100]]"}
    )
    if terms is None:
        a, b, c = sympy.symbols("W_12 W_21 W_22")
        twice = (a - 1) ** 2 + (b - 1) ** 2 + c**2
        terms = prove_identity("2 loss less an error squared is two squares", twice - c**2,
                               (a - 1) ** 2 + (b - 1) ** 2)  # fmt: skip
    whole = chain("(18) to (20)", terms, razin2020.entry_bound(Fraction(factor)))
    return proof_case(whole, POSITIVE)


def lem6(share: float) -> Case:
    """The trace of A^T A, and a unit vector."""
    statement = f"s_2^2 <= {share:g} (b^2 + d^2)"
    hypotheses = {"a 2x2 matrix": ByConstruction("symbols")}
    broken = counterexample(statement, 1 - Fraction(share), {"A": "I"})
    a, b, c, d = sympy.symbols("a b c d")
    gram = sympy.Matrix([[a, b], [c, d]]).T * sympy.Matrix([[a, b], [c, d]])
    parts = (
        prove_identity("tr A^T A", gram.trace(), a**2 + b**2 + c**2 + d**2),
        prove_identity("e_1^T A^T A e_1", gram[0, 0], a**2 + c**2),
        not_negative("the share less 1, that of the difference", Fraction(share) - 1),
    )
    cites = ("s_1^2 + s_2^2 = tr A^T A", "s_1^2 is the largest x^T A^T A x of unit vectors x")
    return proof_case(settle(chain(statement, *parts, cites=cites), broken), hypotheses)


def irank_example(factor: float) -> Case:
    """W - u u^T = -E_22 / a with r = sqrt(a)."""
    statement = f"D(W, M_1) <= {factor:g} / a"
    hypotheses = {"a > 0": ByConstruction("a = r^2")}
    at = razin2020.Point(((10, 1), (1, 0)))  # a D tends to 1
    broken = counterexample(statement, 10 * at.second - interval(factor), {"a": "10"})
    r = sympy.symbols("r", positive=True)
    u = sympy.Matrix([r, 1 / r])
    left = sympy.Matrix([[r**2, 1], [1, 0]])
    parts = prove_identity("W", left, u * u.T - sympy.Matrix([[0, 0], [0, r**-2]]))
    enough = not_negative("the factor less a times |E_22 / a|", Fraction(factor) - 1)
    return proof_case(settle(chain(statement, parts, enough), broken), hypotheses)


LIMIT = sympy.sqrt(2) - 1
"""Of sqrt(2 loss): beyond it W_12 W_21 can be less than 1/2."""


def irank_proof(factor: float) -> Case:
    """0 < 1/W_11 < W_22 / (W_12 W_21) <= 2 W_22, so |W_22 - 1/W_11| <= W_22.

    With W_12 = 1 - p, W_21 = 1 - q and r^2 = p^2 + q^2 <= (sqrt(2) - 1)^2 the first factor below
    is at least 1 - sqrt(2) r >= sqrt(2) - 1, and both squares together leave 1/2.
    """
    statement = f"|W - u u^T|_F <= {factor:g} sqrt(2 loss), loss <= 3/2 - sqrt(2)"
    hypotheses = POSITIVE | {"W_11 > 0, loss <= 3/2 - sqrt(2)": ByConstruction("every such matrix")}
    at = razin2020.Point(TALL)
    (a, b), (c, d) = ([interval(x) for x in row] for row in TALL)
    excess = iv.sqrt((b - 1) ** 2 + (c - 1) ** 2 + (d - 1 / a) ** 2) - interval(factor) * at.s
    witness = {"W": str([[str(x) for x in row] for row in TALL])}
    broken = counterexample(statement, excess, witness)
    p, q = sympy.symbols("p q", real=True)
    parts = prove_identity("W_12 W_21", (1 - p) * (1 - q), ((1 - p - q) ** 2 + 1 - p**2 - q**2) / 2)
    least = ((1 - sympy.sqrt(2) * LIMIT) ** 2 + 1 - LIMIT**2) / 2
    near = prove_identity(
        "it is at least 1/2", sympy.expand(least - sympy.Rational(1, 2)), sympy.Integer(0)
    )
    enough = not_negative("the factor less 1, for |W_22 - 1/W_11| <= W_22", Fraction(factor) - 1)
    cites = ("W_11 W_22 > W_12 W_21", "p + q <= sqrt(2) r")
    proof = chain(statement, parts, near, enough, cites=cites)
    return proof_case(settle(proof, broken), hypotheses)


UNBALANCED = (4, 0, 0, 4, Fraction(1, 4), 0, 0, Fraction(1, 4))
"""W_1 = 4 I and W_2 = I/4, row by row: det W(0) = 1."""
_FLOW = Whole(2, (1, 1, 0))


@cache
def unbalanced_flow(end: Fraction) -> tuple[tuple[Interval, ...], razin2020.Point]:
    """Both factors and the product at a time, enclosed."""
    *_, last = enclose_flow(_FLOW.velocities, UNBALANCED, end=end, bits=96)
    with precision(96):
        return last.end, _FLOW.point(last.end)


@cache
def theorem1_is_false() -> Proof:
    """From W_1 = 4 I, W_2 = I/4 the loss vanishes while W tends to a finite W of determinant -1.

    At t = 17/64 the loss is l. As long as both factors stay within d of their values there,
    |grad|^2 >= 2 c l' at every later loss l', c = (s_2(W_1) - d)^2 + (s_2(W_2) - d)^2, so that what
    is left of the path is at most sqrt(2 l / c), which is below d.
    """
    statement = "norms tend to infinity, erank to 1 and the distance to 0 with the loss"
    with precision(96):
        factors, at = unbalanced_flow(Fraction(17, 64))
        one, two = (
            razin2020.Point(((x[0], x[1]), (x[2], x[3]))) for x in (factors[:4], factors[4:])
        )
        d = interval(Fraction(1, 100))
        if not (one.second > d and two.second > d):
            return Proof(statement, "open")
        c = (one.second - d) ** 2 + (two.second - d) ** 2
        if not at.s / iv.sqrt(c) < d:
            return Proof(statement, "open")
        norm = (one.norm + d) * (two.norm + d)
        second = 1 / norm  # det = -1 in the limit, and s_1 is at most the norm
        witness = {
            "W_1(0), W_2(0)": "4 I, I/4: depth 2, det W(0) = 1, not balanced",
            "sqrt(2 loss) at t = 17/64": str(at.s),
            "path from there to t = infinity": f"at most {_up(at.s / iv.sqrt(c))}",
            "loss": "tends to 0 exponentially",
            "||W||_F from there on": f"at most {_up(norm)}, so no a > 0 and b will do",
            "s_2 in the limit": f"at least {float(ends(second)[0]):.6f}, so that erank > 1 there "
            "and the distance is not 0",
        }
    return Proof(statement, "refuted", witness=witness)


def _up(x: Interval) -> str:
    return f"{float(ends(x)[1]) + 5e-7:.6f}"


def theorem1_case() -> Case:
    """Theorem 1 as printed, for all constants at once."""
    hypotheses = {"det W(0) > 0": ByConstruction("W_1 = 4 I, W_2 = I/4")}
    return proof_case(theorem1_is_false(), hypotheses)


def least_squares_flow(rate: float) -> Case:
    """(6) with beta_0, along an eigenvector of X^T X of eigenvalue l = sigma^2.

    E is e^(-rate t l); along the kernel of X, z vanishes and nothing moves.
    """
    hypotheses = {"the flow of |y - X beta|^2": ByConstruction("any X, y, beta_0")}
    e, b, y, s = sympy.symbols("E beta_0 y sigma", positive=True)
    found = e * b + (1 - e) / s * y
    moved = found.diff(e) * (-sympy.Rational(rate) * s**2 * e)
    return proof_case(
        chain(
            "beta_t = e^(-tA) beta_0 + V Sigma_t^T U^T y",
            prove_identity(
                "beta' = z - A beta, z = 2 sigma y", moved, 2 * s * y - 2 * s**2 * found
            ),
            prove_identity("beta at E = 1", found.subs(e, 1), b),
            cites=("solutions are unique",),
        ),
        hypotheses,
    )


def least_norm(scale: float) -> Case:
    """Its limit E -> 0: y / sigma, and nothing along the kernel, where beta_0 has no part."""
    hypotheses = {"beta_0 in the range of X^T": ByConstruction("any such beta_0")}
    e, b, y, s = sympy.symbols("E beta_0 y sigma", positive=True)
    end = (e * b + (1 - e) / s * y).subs(e, 0)
    limit = prove_identity("the limit", end, sympy.Rational(scale) * y / s)
    return proof_case(
        chain("the limit is X^+ y", limit, cites=("E tends to 0 for sigma > 0",)), hypotheses
    )


def lem5(stretch: float) -> Case:
    """The determinant, and (sigma^2)^(1 - 1/L) = sigma^alpha, sigma > 0."""
    statement = "det W > 0 is kept, and sigma moves by sigma^alpha"
    hypotheses = {"balanced, L >= 2": ByConstruction("any such start and loss")}
    claimed = iv.exp(interval(stretch) * iv.log(iv.mpf(2)))  # 1x1, L = 2, sigma = 2: alpha = 1
    broken = counterexample(statement, abs(2 - claimed), {"1x1, L = 2, sigma": "2"})
    flow = value_flow().proof
    assert flow is not None
    n = sympy.symbols("L")
    power = prove_identity(
        "alpha = 2 - 2/L", 2 * (1 - 1 / n), sympy.Rational(stretch) * (2 - 2 / n)
    )
    proof = chain(statement, razin2020.sign_of_determinant(), flow, power)
    return proof_case(settle(proof, broken), hypotheses)
