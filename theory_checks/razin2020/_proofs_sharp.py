r"""Razin and Cohen 2020: proofs of the best constants of lemmas and of (15). They are ours.

W has the entries 1 - p, 1 - q, y beside w_11, so that s^2 = p^2 + q^2 + y^2 for z = z' = 1,
epsilon = 0, s = sqrt(2 loss). Theorem 2 is brought there as in `_proofs_theorem2`.
"""

from fractions import Fraction
from typing import Any

import sympy

from gradflow.claims.proofs import (
    Proof,
    Words,
    chain,
    counterexample,
    not_negative,
    prove_identity,
    settle,
)
from gradflow.claims.proofs.interval import interval, iv

from ._proofs import CAUCHY, NEAR_ZERO, Matrix, Point, refuted_at
from ._proofs_theorem2 import SIGNS, TRIANGLE

TINY = Fraction(1, 10**9)
LOW: Matrix = ((Fraction(8, 5) + TINY, Fraction(4, 5)), (Fraction(4, 5), Fraction(2, 5)))
"""At x = 1/5, where |w_11| comes down to its infimum but for a billionth."""
SKEW: Matrix = ((Fraction(2, 5) + TINY, Fraction(1, 5)), (Fraction(4, 5), Fraction(2, 5)))
"""The same at 2 loss = 21/25, beyond 3/4."""
FLATTEST: Matrix = ((Fraction(3, 2) + TINY, Fraction(3, 4)), (Fraction(3, 4), Fraction(3, 8)))
"""At t = 1/2, where s_1 comes down to its infimum but for a billionth."""
NEARLY_ONE: Matrix = ((Fraction(1, 1000) + TINY, Fraction(1, 10**6)), (1, Fraction(1, 1000)))
"""s is nearly 1, and w_11 nearly 0."""
PRODUCT = "|w_11| |w_22| = |det W + w_12 w_21| > w_12 w_21"

p, q, y, x, s = sympy.symbols("p q y x s", real=True)
_BELOW = (1 - x) * (1 - (p**2 + q**2) / (2 * x))


def _squares() -> Proof:
    """(1-p)(1-q) - (1-x)(1 - (p^2+q^2)/(2x)) for 0 < x <= 1/2."""
    return prove_identity(
        "w_12 w_21 less (1-x)(1 - (p^2+q^2)/(2x)) is two squares for 0 < x <= 1/2",
        (1 - p) * (1 - q) - _BELOW,
        (p + q - 2 * x) ** 2 / (4 * x) + (p - q) ** 2 * (1 - 2 * x) / (4 * x),
    )


def infimum_of_entry(root: Any) -> Any:
    """The infimum of |w_11| for det W > 0, from an interval of s = sqrt(2 loss) below 1."""
    if root**2 > interval(Fraction(3, 4)):
        return iv.sqrt(1 - root**2)
    at = (iv.sqrt(1 + 4 * root**2) - 1) / 2
    return iv.sqrt((1 - at) ** 3 / at)


def entry(factor: Fraction) -> Proof:
    """|w_11| against its infimum, with s^2 = x + x^2 up to s^2 = 3/4, and g^2 = 1 - s^2 beyond."""
    statement = f"|w_11| > {factor} of its infimum for det W > 0, s < 1"
    found = refuted_at(
        statement, [Point(LOW), Point(SKEW)],
        lambda at: (at.entry, interval(factor) * infimum_of_entry(at.s)),
    )  # fmt: skip
    h, g = sympy.symbols("h g", positive=True)  # h^2 = x (1-x); the infimum is (1-x) h / x
    left = (1 - x) * (1 - (x + x**2 - y**2) / (2 * x)) - (1 - x) * h / x * y
    right = (1 - x) / (2 * x) * (y - h) ** 2
    rest = (1 - x) / (2 * x) * (x * (1 - x) - h**2)  # which is 0
    proof = chain(
        statement, _squares(),
        prove_identity("that less the infimum times |y| is a square, s^2 = x + x^2", left - rest,
                       right),
        prove_identity("s^2 >= 3/4: (1-p)(1-q) - (1 - p^2 - q^2)/2 is a square",
                       (1 - p) * (1 - q) - (1 - p**2 - q**2) / 2, (1 - p - q) ** 2 / 2),
        prove_identity("(g^2 + y^2)/2 - g y is a square", (g**2 + y**2) / 2 - g * y,
                       (g - y) ** 2 / 2),
        not_negative("1 less the factor", 1 - factor),
        cites=(PRODUCT, "x rises with s, to 1/2 at s^2 = 3/4", "1 - p^2 - q^2 = g^2 + y^2"),
    )  # fmt: skip
    return settle(proof, found)


def entry_of_theorem2(share: Fraction) -> Proof:
    """|w_11| > |z z'|/S - share max(|z|, |z'|), S = |epsilon| + s, for s < min(|z|, |z'|).

    For z = z' = 1: w_12 w_21 >= (1-s^2) |y|/s, for y/s <= 1 - (p^2+q^2)/(2 s^2), and by `_squares`
    at x = s^2 up to s^2 = 1/2, by a square and a product beyond. With z >= z' the entries over z,
    z' and z' have errors of s/z' in all at most, and |w_11| > z (1-r^2)/r with r = s/z'.
    """
    statement = f"|w_11| > |z z'|/(|epsilon|+s) - {share} max(|z|, |z'|)"

    def sides(at: Point) -> tuple[Any, Any]:
        most = max(at.z, at.z2, key=lambda v: v.a)
        return at.entry, at.z * at.z2 / (at.epsilon + at.s) - interval(share) * most

    found = refuted_at(statement, [Point(NEARLY_ONE)], sides)
    z, z2, a, r = sympy.symbols("z z' alpha r", positive=True)
    u = p**2 + q**2
    beyond = (1 - p - q) ** 2 / 2 + (s**2 - u) * (2 * s**2 - 1) / (2 * s**2)
    proof = chain(
        statement, _squares(),
        prove_identity("1 - (p^2+q^2)/(2 s^2) - y/s is a square", (1 - (s**2 - y**2) / (2 * s**2))
                       - y / s, (y / s - 1) ** 2 / 2),
        prove_identity("s^2 >= 1/2: w_12 w_21 less that", (1 - p) * (1 - q)
                       - _BELOW.subs(x, s**2), beyond),
        prove_identity("errors over z' are larger than over z, z >= z'", z**2 * (a - 1) ** 2
                       - z2**2 * (a - 1) ** 2, (z - z2) * (z + z2) * (a - 1) ** 2),
        prove_identity("z (1-r^2)/r at r = S/z'", (z * (1 - r**2) / r).subs(r, s / z2),
                       z * z2 / s - z * s / z2),
        not_negative("the share less 1, for S <= z'", share - 1),
        cites=(SIGNS, TRIANGLE, PRODUCT, "(1-r^2)/r falls in r",
               "for S > z' the bound is negative, and w_11 is not 0"),
    )  # fmt: skip
    return settle(proof, found)


def _at_one() -> Any:
    """0.35302 less 1/s - 1/t + t^3 at s = 1, where t^2 + t^6 = 1; an interval."""
    low, high = (interval(Fraction(826031, 10**6)), interval(Fraction(826032, 10**6)))
    if not (low**2 + low**6 < 1 and high**2 + high**6 > 1):
        return interval(-1)
    t = interval(low, high)
    return interval(Fraction(35302, 10**5)) - (1 - 1 / t + t**3)


def largest_value(factor: Fraction) -> Proof:
    """s_1 >= 1/t - t^3 with s^2 = t^2 + t^6 <= 2, which W of rank one attain.

    With w_11, w_12, w_21, w_22 = a + c, d - b, d + b, a - c: s_1 = A + C, A^2 = a^2 + b^2, C^2 =
    c^2 + d^2, and det W > 0 is A > C. So s_1 > 2 C and s^2 >= 2 (d-1)^2 + (C - |c|)^2, which is at
    least t^2 + t^6 where C = (1 - t^4)/(2 t): the difference is two squares.
    """
    statement = f"s_1(W) >= {factor} (1/t - t^3) for det W > 0, 2 loss = t^2 + t^6 <= 2"
    excess = interval(factor) * interval(Fraction(15, 8)) - Point(FLATTEST).first
    found = counterexample(statement, excess, {"W": "[[3/2 + 1e-9, 3/4], [3/4, 3/8]]", "t": "1/2"})
    a, b, c, d, t = sympy.symbols("a b c d t", real=True)
    w = sympy.Matrix([[a + c, d - b], [d + b, a - c]])
    twice = (d - b - 1) ** 2 + (d + b - 1) ** 2 + (a - c) ** 2
    size = (1 - t**4) / (2 * t)
    pull = 2 * t**2 / (1 - t**2)
    lagrangian = 2 * (d - 1) ** 2 + (size - c) ** 2 + pull * (c**2 + d**2 - size**2)
    squares = (2 + pull) * (d - 1 + t**2) ** 2 + (1 + pull) * (
        c - size * (1 - t**2) / (1 + t**2)
    ) ** 2
    v = sympy.symbols("v", positive=True)  # t^4
    proof = chain(
        statement,
        prove_identity("det W", w.det(), a**2 + b**2 - c**2 - d**2),
        prove_identity("|W|^2", (w.T * w).trace(), 2 * (a**2 + b**2 + c**2 + d**2)),
        prove_identity("2 loss", twice, 2 * (d - 1) ** 2 + 2 * b**2 + (a - c) ** 2),
        prove_identity("2 (d-1)^2 + (C-c)^2 where c^2 + d^2 = C^2", lagrangian,
                       squares + t**2 + t**6),
        prove_identity("t (1/s - 1/t + t^3) at v = t^4 has a positive second derivative",
                       ((1 + v) ** sympy.Rational(-1, 2) - 1 + v).diff(v, 2)
                       * (1 + v) ** sympy.Rational(5, 2), sympy.Rational(3, 4)),
        not_negative("0.35302 less 1/s - 1/t + t^3 at s = 1", _at_one()),
        not_negative("1 less the factor", 1 - factor),
        cites=(
            "C = 0 leaves 2 loss >= 2, where the bound is 0",
            "(s_1 + s_2)^2 = |W|^2 + 2 det W, (s_1 - s_2)^2 = |W|^2 - 2 det W",
            "(a-c)^2 + b^2 >= (A - |c|)^2 >= (C - |c|)^2 (triangle)",
            "1/t - t^3 falls and t^2 + t^6 rises in t",
            "so 1/s - 1/t + t^3 rises with s: to 0.35302 at s = 1, to 1/sqrt(2) at s = sqrt(2)",
        ),
    )  # fmt: skip
    return settle(proof, found)


def frobenius(share: Fraction) -> Proof:
    """|W|_F >= |z z'|/S - share |z z'|/h, S = |epsilon| + s, h^2 = z^2 + z'^2.

    P_0 gives z z' <= |W| e + e^2/2 and |W| >= h - e with e = |W - P_0| <= S; the first is enough up
    to e = 2 z z'/h, the second from e = z z'/h to h, and beyond the bound is not above 0.
    """
    statement = f"|W|_F >= |z z'|/(|epsilon|+s) - {share} |z z'|/sqrt(z^2 + z'^2)"

    def sides(at: Point) -> tuple[Any, Any]:
        product, off = at.z * at.z2, at.epsilon + at.s
        last = interval(share) * product / iv.sqrt(at.z**2 + at.z2**2)
        return at.norm, product / off - last

    found = refuted_at(statement, [Point(NEAR_ZERO), Point(NEAR_ZERO, (3, 1, 0))], sides)
    w11, w12, w21, w22, z, z2 = sympy.symbols("w_11 w_12 w_21 w_22 z z'")
    d12, d21, d22 = z - w12, z2 - w21, -w22
    right = -(w11 * w22 - w12 * w21) - w11 * d22 + w12 * d21 + w21 * d12 + d12 * d21
    e, h, product = sympy.symbols("e h k", positive=True)
    proof = chain(
        statement,
        prove_identity("z z' = -det W + <W, .> + D_12 D_21, D = P_0 - W", z * z2, right),
        prove_identity("h - e - (k/e - k/h), k = z z'; not negative for k/h <= e <= h",
                       h - e - product / e + product / h, (h - e) * (h * e - product) / (h * e)),
        prove_identity("k/h - e/2 is 0 at e = 2 k/h, the first bound's end",
                       (product / h - e / 2).subs(e, 2 * product / h), 0),
        not_negative("the share less 1", share - 1),
        cites=(SIGNS, TRIANGLE, CAUCHY + ": k <= |W| e + e^2/2", "k/e falls in e"),
    )  # fmt: skip
    return settle(proof, found)


def nearby(factor: Fraction) -> Proof:
    """Lemma 1: |W_l - W'_l| <= factor sqrt((l-1) epsilon), W' as in the printed proof.

    W_(l+1) = Q P (polar), W'_(l+1) = Q H with H^2 = W'_l W'_l^T: what P^2 and H^2 differ by has a
    nuclear norm that grows by epsilon a layer, and bounds |P - H|^2.
    """
    statement = f"|W_l - W'_l| <= {factor} sqrt((l - 1) epsilon) for some balanced W'"
    broken = counterexample(statement, 1 - factor, {"W_1, W_2": "0, 1 (1x1)"})
    qq, pp, h, w, v = Words.named("Q", "P", "H", "W_l", "W'_l")
    rules = [(h.T, h), (pp.T, pp)]
    layer = sympy.symbols("l", positive=True)
    claimed = sympy.Rational(factor) ** 2 * (layer - 1)
    grown = sympy.expand(claimed.subs(layer, layer + 1) - claimed - 1)
    after, now = qq @ h, qq @ pp
    proof = chain(
        statement,
        prove_identity("W'_(l+1)^T W'_(l+1) = H^2 = W'_l W'_l^T", after.T @ after, v @ v.T,
                       rules=[*rules, (qq.T @ qq, Words.identity()), (h @ h, v @ v.T)]),
        prove_identity("P^2 - H^2, as the imbalance and what layer l left", pp @ pp - v @ v.T,
                       (pp @ pp - w @ w.T) + (w @ w.T - v @ v.T)),
        prove_identity("what layer l+1 leaves", now @ now.T - after @ after.T,
                       qq @ (pp @ pp - h @ h) @ qq.T, rules=rules),
        not_negative("the square's bound, 0 at l = 1, grows by epsilon a layer", grown),
        cites=(
            "every square matrix is orthogonal times the root of W^T W (polar form)",
            "|P - H|_F^2 is at most the nuclear norm of P^2 - H^2 (Powers and Stormer)",
            "orthogonal factors keep both norms",
        ),
    )  # fmt: skip
    return settle(proof, broken)


ROOT = (Fraction(24148, 10**5), Fraction(24149, 10**5))
"""Where h(p)/sqrt(p) is largest: (1 + p) ln(1 - p) - p ln p changes its sign between."""


def largest_share() -> Any:
    """An interval around the maximum of h(p)/sqrt(p), 2 sqrt(p) ln((1-p)/p) at its place."""
    at = interval(*ROOT)
    return 2 * iv.sqrt(at) * iv.log((1 - at) / at)


def entropy(factor: Fraction) -> Proof:
    """h(p) <= factor c sqrt(p), c the maximum of h(p)/sqrt(p): its derivative's sign decides."""
    statement = f"h(p) <= {factor} c sqrt(p) on [0, 1], c = 1.12489..."
    at = sympy.symbols("p_", positive=True)
    h = -at * sympy.log(at) - (1 - at) * sympy.log(1 - at)
    sign = (1 + at) * sympy.log(1 - at) - at * sympy.log(at)
    low, high = (interval(v) for v in ROOT)

    def sign_at(v: Any) -> Any:
        return (1 + v) * iv.log(1 - v) - v * iv.log(v)

    excess = (-low * iv.log(low) - (1 - low) * iv.log(1 - low)) / iv.sqrt(low)
    excess -= interval(factor) * largest_share()
    broken = counterexample(statement, excess, {"p": str(ROOT[0])})
    proof = chain(
        statement,
        prove_identity("2 p h' - h, the sign of (h/sqrt(p))'",
                       sympy.expand_log(sympy.expand(2 * at * (sympy.log(1 - at) - sympy.log(at))
                                                     - h)), sympy.expand(sign)),
        prove_identity("it is concave", sign.diff(at, 2),
                       -1 / (at * (1 - at)) - 2 / (1 - at) ** 2),
        not_negative("at 0.24148 it is positive", sign_at(low)),
        not_negative("at 0.24149 it is negative", -sign_at(high)),
        not_negative("the factor less 1", factor - 1),
        cites=("it is 0 at p = 0 and tends to minus infinity at 1: one change of sign",),
    )  # fmt: skip
    return settle(proof, broken)


def drift(share: Fraction, logistic: Any) -> Proof:
    """Proposition 5 with (L-1) L^(-L/2) of the exponent; `logistic` refutes less at L = 2.

    Flows part at the rate of -lambda_min of the Hessian, at most |W - Y| |D^2 W[v, v]|, and the
    polynomial w_1 ... w_L bounds both on the ball of radius R: R^L L^(-L/2), and L (L-1) R^(L-2)
    L^(-L/2) for its second derivative.
    """
    statement = f"two flows part at most like exp({share} (L-1) L^(-L/2) L R^(L-2) (2 R^L + B) t)"
    n, r, b, m = sympy.symbols("L R B m", positive=True)  # m = L^(-L/2), at most 1/2 from L = 2
    curved = n * (n - 1) * m * r ** (n - 2) * (m * r**n + b)
    printed = (n - 1) * m * n * r ** (n - 2) * (2 * r**n + b)
    v, d = sympy.symbols("v d", positive=True)
    spare = prove_identity(
        "the claimed exponent less the curvature, over the latter's factor",
        sympy.powsimp(sympy.simplify((printed - curved) / (n * (n - 1) * m * r ** (n - 2)))),
        sympy.powsimp((2 - m) * r**n),
    )
    proof = chain(
        statement, spare,
        prove_identity("|v|^2 moves by -2 <v, H v> along the segment", (v * v).diff(v) * -d * v,
                       -2 * d * v * v),
        not_negative("the share less 1", share - 1),
        cites=(
            "the gradients differ by the mean Hessian of the segment, which lies in the ball",
            "<v, H v> = |D W[v]|^2 + <W - Y, D^2 W[v, v]> on the observed entries",
            "|W_L ... W_1| is at most the product of norms, at most (R/sqrt(L))^L",
            "norms of layers in place of layers bound W and D^2 W[v, v] by w_1 ... w_L and its own",
            "a polynomial's polarised form is no larger on unit vectors than itself (Banach 1938)",
        ),
    )  # fmt: skip
    return settle(proof, logistic(statement, float(share) / 2))
