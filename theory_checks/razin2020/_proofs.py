r"""Razin and Cohen 2020: proofs of the bounds on single 2x2 matrices, and of Lemma 6.

Every bound of Theorems 1 and 2 is one on matrices: with s = sqrt(2 loss), of all W of positive
determinant (Theorem 1), or of all W whose determinant has the sign of z z' (Theorem 2). Lemma 6
brings it to the flow. P is the matrix W with the observed entries at their values, so
||W - P||_F = s; in Theorem 1 its determinant is -1.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import mpmath
import sympy

from gradflow.claims.proofs import (
    Proof,
    Words,
    chain,
    counterexample,
    not_negative,
    prove_identity,
    prove_inequality,
    settle,
)
from gradflow.claims.proofs.interval import Interval, ends, entropy, interval, iv

Matrix = tuple[tuple[Any, Any], tuple[Any, Any]]

SEGMENT = "a determinant that changes its sign along a segment vanishes on it"
ECKART = "s_2 is the distance from the matrices of rank one at most (Eckart and Young)"
CAUCHY = "the inequality of Cauchy and Schwarz"

FAR: Matrix = ((1000, 1), (1, 1))
NEAR_ZERO: Matrix = ((Fraction(1, 1000), 0), (0, Fraction(1, 1000)))
STEEP: Matrix = ((101, 1), (1, Fraction(1, 100)))
FLAT: Matrix = ((10**9, 1), (1, Fraction(1, 10**4)))  # s_2 is sqrt(2 loss), nearly


class Point:
    """A matrix of numbers or intervals, and what the bounds are made of, in intervals."""

    def __init__(
        self, w: Matrix, observed: tuple[Any, Any, Any] = (1, 1, 0), det: Interval | None = None
    ):
        self.w, self.observed = w, observed
        (a, b), (c, d) = ([interval(x) for x in row] for row in w)
        z, z2, eps = map(interval, observed)
        self.z, self.z2, self.epsilon = abs(z), abs(z2), abs(eps)
        self.least = min(self.z, self.z2, key=lambda x: x.a)
        self.ratio = iv.sqrt(self.z * self.z2) / self.least
        self.entry, self.det = abs(a), a * d - b * c if det is None else det
        self.s = iv.sqrt((b - z) ** 2 + (c - z2) ** 2 + (d - eps) ** 2)
        square = a**2 + b**2 + c**2 + d**2
        self.norm = iv.sqrt(square)
        # (s_1 - s_2)^2 is not negative, whatever its interval says.
        apart = (a - d) ** 2 + (b + c) ** 2 if self.det > 0 else square - 2 * abs(self.det)
        low, high = ends(apart)
        small = iv.sqrt(iv.mpf([max(low, 0), max(high, 0)]))
        self.first = (iv.sqrt(square + 2 * abs(self.det)) + small) / 2
        self.second = abs(self.det) / self.first

    @property
    def off(self) -> Interval:
        """(|epsilon| + s) / min(|z|, |z'|)."""
        return (self.epsilon + self.s) / self.least

    @cached_property
    def rank(self) -> Interval:
        """The effective rank; the share of s_2 in s_1 + s_2 is from 0 to 1/2."""
        low, high = ends(self.second / (self.first + self.second))
        half = mpmath.mpf(1) / 2
        return iv.exp(entropy(iv.mpf([min(max(low, 0), half), max(min(high, half), 0)])))


def refuted_at(
    statement: str, points: Sequence[Point], sides: Callable[[Point], tuple[Any, Any]]
) -> Proof | None:
    """A refutation of larger >= smaller by one of some exact matrices, if one does."""
    for at in points:
        z, z2, _ = map(interval, at.observed)
        larger, smaller = sides(at)
        witness = {
            "W": str([[str(x) for x in row] for row in at.w]),
            "z, z', epsilon": str([str(x) for x in at.observed]),
        }
        broken = counterexample(statement, smaller - larger, witness)
        if broken is not None and at.det * z * z2 > 0:
            return broken
    return None


@cache
def sign_of_determinant(depths: tuple[int, ...] | None = None) -> Proof:
    """Lemma 6, at every depth from 2 on; or at given depths, of which 1 refutes it.

    While det W is not 0, d/dt log|det W| = tr(W^-1 dW/dt) = -N sum_r s_r^(1-2/N) u_r^T G v_r: the
    power of s_r is not negative, so that the right side is bounded on every bounded interval of
    time, and log|det W| cannot tend to -infinity there; nor can it backwards in time.
    """
    statement = "det W keeps its sign, or stays 0"
    if depths is not None and 1 in depths:
        # Depth 1 from I: W = ((1, 1 - x), (1 - x, x)) with x = e^-t; at x = 1/4 det = -5/16.
        x = sympy.symbols("x")
        w = sympy.Matrix([[1, 1 - x], [1 - x, x]])
        gradient = sympy.Matrix([[0, -x], [-x, x]])
        flow = prove_identity("W' = -G at depth 1, x = e^-t", w.diff(x) * -x, -gradient)
        at = w.subs(x, sympy.Rational(1, 4))
        det = sympy.Rational(at[0, 0] * at[1, 1] - at[0, 1] * at[1, 0])
        broken = counterexample(statement, -det, {"depth 1, W(0)": "I", "t": "ln 4"})
        if flow.proved and broken is not None:
            return broken
    n, j, e = sympy.symbols("N j e", positive=True)
    power = prove_identity(
        "each term of tr(W^-1 dW/dt) has s_r to the power 1 - 2/N",
        -1 + 2 * (j - 1) / n + 2 * (n - j) / n, 1 - 2 / n,
    )  # fmt: skip
    positive = prove_identity("1 - 2/N = e/N at N = 2 + e", (1 - 2 / n).subs(n, 2 + e), e / (2 + e))
    return chain(
        statement, balance_is_conserved(), power, positive,
        cites=(
            "Jacobi's formula for the derivative of a determinant",
            "dW/dt of balanced factors (Arora et al. 2019, Lemma 3)",
            "the flow can be followed backwards: a determinant that vanishes once always does",
        ),
    )  # fmt: skip


@cache
def balance_is_conserved(share: Fraction = Fraction(1)) -> Proof:
    """Lemma 3: of neighbouring factors X = W_(l+1), Y = W_l with the product A X Y B, any loss."""
    a, b, x, y, g = Words.named("A", "B", "X", "Y", "G")
    rates = {"X": -(a.T @ g @ (y @ b).T), "Y": -((a @ x).T @ g @ b.T)}
    moved = (x.T @ x - share * (y @ y.T)).derivative(rates)
    return prove_identity(f"d/dt (X^T X - {share} Y Y^T) = 0", moved)


@cache
def pairing() -> Proof:
    """2 det W <= loss |W|^2 for every real 2x2 matrix, by squares.

    With w_11, w_12, w_21, w_22 = a + c, d - b, d + b, a - c, n = a^2 + b^2 + c^2 + d^2, p = c^2 +
    d^2 and E = (2 loss |W|^2 - 4 det W)/2: p E is a sum of squares, and E is one where p = 0.
    """
    a, b, c, d = sympy.symbols("a b c d", real=True)
    w11, w12, w21, w22 = a + c, d - b, d + b, a - c
    n, p = a**2 + b**2 + c**2 + d**2, c**2 + d**2
    square = w11**2 + w12**2 + w21**2 + w22**2
    twice = (w12 - 1) ** 2 + (w21 - 1) ** 2 + w22**2
    gap = (square * twice - 4 * (w11 * w22 - w12 * w21)) / 2
    squares = (2 * p - n * d) ** 2 + n * (
        (d**2 + c * (c - a)) ** 2 + b**2 * (2 * c**2 + d**2)
    )  # fmt: skip
    return chain(
        "2 det W <= loss |W|^2",
        prove_identity("(c^2 + d^2) E is a sum of squares", p * gap, squares),
        prove_identity(
            "E at c = d = 0", gap.subs({c: 0, d: 0}), (a**2 + b**2) * (a**2 + 2 * b**2)
        ),
    )  # fmt: skip


@cache
def entropy_below_log(constant: Fraction = Fraction(1)) -> Proof:
    """log(1 + constant sqrt(loss)) >= h(p), loss = (1 - k^2)/(1 + k^2), k = 1 - 2p, p in (0, 1/2].

    Near p = 0 both sides are estimated by hand; in the middle boxes do it; from p = 1/4 on the
    difference is convex in u = k^2, and vanishes with its slope at u = 0.
    """
    statement = "log(1 + sqrt(loss)) >= h((1-k)/2) where loss = (1-k^2)/(1+k^2)"
    c = interval(constant)

    def gap(p: Any) -> Any:
        loss = 2 * p * (1 - p) / (1 - 2 * p + 2 * p**2)
        return iv.log(1 + c * iv.sqrt(loss)) - entropy(p)

    if constant < 1:
        broken = counterexample(statement, -gap(interval(Fraction(1, 2))), {"p": "1/2"})
        return broken or Proof(statement, "open")
    low = Fraction(1, 200)
    middle = prove_inequality("p from 1/200 to 1/4", gap, [(low, Fraction(1, 4))])

    def start(p: Any) -> Any:
        root = iv.sqrt(2 * p * (1 - p))
        at = interval(low)
        return iv.sqrt(2 * (1 - p)) / (1 + root) - iv.sqrt(at) * (1 - iv.log(at))

    begin = prove_inequality("p up to 1/200, divided by sqrt(p)", start, [(0, low)])
    u, r = sympy.symbols("u r", positive=True)
    slope = -r / (1 - u**2)  # of r = sqrt((1-u)/(1+u))
    first = -r / ((1 + r) * (1 - u**2))
    second = first.diff(u) + first.diff(r) * slope
    convex = prove_identity(
        "second derivative in u of log(1 + r), r = sqrt((1-u)/(1+u)); not negative for u <= 1/4",
        second, r * (1 - 2 * u * (1 + r)) / ((1 - u**2) ** 2 * (1 + r) ** 2),
    )  # fmt: skip
    root = (2 * r * slope).subs(r**2, (1 - u) / (1 + u))
    return chain(
        statement, begin, middle, convex,
        prove_identity("(r^2)' = 2 r r'", ((1 - u) / (1 + u)).diff(u), root),
        prove_identity("the slope at u = 0", first.subs({u: 0, r: 1}), -sympy.Rational(1, 2)),
        cites=(
            "log(1 + x) >= x/(1 + x), -(1-p) log(1-p) <= p",
            "sqrt(p) (1 - ln p) rises up to p = 1/e",
            "h((1-k)/2) = ln 2 - sum_m k^(2m) / (2m (2m-1)), of slope -1/2 in u at 0",
        ),
    )  # fmt: skip


def rank_bound(constant: Fraction = Fraction(1)) -> Proof:
    """Theorem 1: erank W <= 1 + constant sqrt(loss) for det W > 0."""
    statement = f"erank(W) <= 1 + {constant} sqrt(loss) for det W > 0"
    found = refuted_at(
        statement, [Point(NEAR_ZERO)], lambda at: (1 + interval(constant) * _root(at), at.rank)
    )
    return found or chain(
        statement, pairing(), entropy_below_log(min(constant, Fraction(1))),
        cites=(
            "((s_1 - s_2)/(s_1 + s_2))^2 = (|W|^2 - 2 det)/(|W|^2 + 2 det) >= (1-loss)/(1+loss)",
            "h rises up to 1/2",
            "erank <= 2, which is enough for loss >= 1",
        ),
    )  # fmt: skip


def _root(at: Point) -> Any:
    """sqrt(loss)."""
    return at.s / iv.sqrt(iv.mpf(2))


def distance_bound(constant: Fraction = Fraction(1)) -> Proof:
    """Theorem 1: s_2 <= constant s for det W > 0."""
    statement = f"s_2(W) <= {constant} sqrt(2 loss) for det W > 0"
    found = refuted_at(
        statement, [Point(FAR)], lambda at: (interval(constant) * at.s, at.second)
    )  # fmt: skip
    x = sympy.symbols("w_11")
    solution = sympy.Matrix([[x, 1], [1, 0]]).det()
    proof = chain(
        statement,
        prove_identity("det P = -1", solution, -1),
        not_negative("the bound over |W - P| = s, less 1", constant - 1),
        cites=(SEGMENT, ECKART),
    )
    return settle(proof, found)


def norm_bound(b: Any = None) -> Proof:
    """Theorem 1: |W|_F >= 1/sqrt(2 loss) - b for det W > 0, b = 1/sqrt(2) unless it is given."""
    least = 1 / sympy.sqrt(2)
    b = least if b is None else b
    statement = f"|W|_F >= 1/sqrt(2 loss) - {b} for det W > 0"
    found = refuted_at(
        statement, [Point(NEAR_ZERO)], lambda at: (at.norm, 1 / at.s - interval(b))
    )  # fmt: skip
    w11, w12, w21, w22 = sympy.symbols("w_11 w_12 w_21 w_22")
    d12, d21, d22 = 1 - w12, 1 - w21, -w22
    right = -(w11 * w22 - w12 * w21) - w11 * d22 + w12 * d21 + w21 * d12 + d12 * d21
    last = sympy.sqrt(2)  # for larger s the bound is not above 0: 1/s <= 1/sqrt(2) <= b
    proof = chain(
        statement,
        prove_identity("1 = -det W + <W, .> + D_12 D_21, D = P - W", sympy.Integer(1), right),
        not_negative("b less s/2, up to s = sqrt(2)", b - last / 2),
        cites=(
            CAUCHY + ": 1 <= |W| s + s^2/2",
            "1/s - s/2 >= 1/s - b where b >= s/2; for s > sqrt(2) the bound is negative",
        ),
    )
    return settle(proof, found)


def entry_bound(factor: Fraction = Fraction(1)) -> Proof:
    """Lemma 18: |w_11| > factor (1-s)^2/s for det W > 0, loss < 1/2."""
    statement = f"|w_11| > {factor} (1-s)^2/s for det W > 0, s < 1"
    found = refuted_at(
        statement, [Point(STEEP)],
        lambda at: (at.entry, interval(factor) * (1 - at.s) ** 2 / at.s),
    )  # fmt: skip
    s, x, y = sympy.symbols("s x y")
    claimed = sympy.Rational(factor) * (1 - s) ** 2 / s
    proof = chain(
        statement,
        prove_identity(
            "w_12 w_21 - (1-s)^2 with w_12 = 1-s+x, w_21 = 1-s+y; x, y not negative",
            (1 - s + x) * (1 - s + y) - (1 - s) ** 2, (1 - s) * (x + y) + x * y,
        ),
        prove_identity("the printed equality", (1 - s) ** 2 / s, 1 / s - 2 + s),
        not_negative("1 less the claimed bound over (1-s)^2/s",
                     1 - sympy.cancel(claimed * s / (1 - s) ** 2)),
        cites=("w_11 w_22 = det W + w_12 w_21 and |w_22| <= s",),
    )  # fmt: skip
    return settle(proof, found)
