r"""Razin and Cohen 2020: proofs of what Theorem 2 says of single 2x2 matrices.

Exchanging rows and columns brings the unobserved entry to (1,1), and turning signs of rows and
columns makes z and z' positive; neither changes norms of entries or singular values, and the sign
that is asked of det W becomes +. P_0 is W with the observed entries at z, z' and 0: its
determinant is -z z', and ||W - P_0||_F <= |epsilon| + s.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import sympy

from gradflow.claims.proofs import (
    Proof,
    chain,
    not_negative,
    prove_identity,
    prove_inequality,
    settle,
)
from gradflow.claims.proofs.interval import interval, iv

from ._proofs import (
    ECKART,
    FAR,
    NEAR_ZERO,
    SEGMENT,
    STEEP,
    Point,
    entropy_below_log,
    pairing,
    refuted_at,
)

SIGNS = (
    "exchanging rows or columns, turning their signs and transposing W bring (i, j) to (1,1), z "
    "and z' above 0, z' <= z, and the determinant's sign to +"
)
TRIANGLE = "||W - P_0||_F <= |epsilon| + s"
POINTS = (
    Point(FAR),
    Point(STEEP),
    Point(NEAR_ZERO),
    Point(((500, 2), (1, Fraction(1, 2))), (3, 1, Fraction(1, 4))),
)


@cache
def general_pairing() -> Proof:
    """2 det W <= loss |W|^2 for z' = 1 <= z, epsilon = 0, det W > 0; scaling W gives any z'.

    With x, t, y, u for w_11, w_12, w_21, w_22: for t <= 1 it is at least the same with z = 1; for
    t > 1 and y >= 0, dropping (t - z)^2, what is left grows with t from its value at t = 1; for
    y = -v < 0 it is at least R(v, u^2) / Q, whose sign one variable decides.
    """
    x, t, y, u, z, v, w = sympy.symbols("x t y u z v w", real=True)
    left = prove_identity(
        "t <= 1: (t-z)^2 - (t-1)^2 is a product of two factors >= 0",
        (t - z) ** 2 - (t - 1) ** 2, (z - 1) * (z + 1 - 2 * t),
    )  # fmt: skip
    rest = (y - 1) ** 2 + u**2
    square, det = x**2 + t**2 + y**2 + u**2, x * u - t * y
    grows = prove_identity(
        "t > 1, y >= 0: the derivative in t is a sum of terms >= 0",
        (square * rest - 4 * det).diff(t), 2 * t * rest + 4 * y,
    )  # fmt: skip
    q = (1 + v) ** 2 + w
    least = prove_identity(
        "y = -v, w = u^2: Q E = (Q x - 2 u)^2 + Q (t-1) (Q (t+1) - 4 v) + R",
        (q * (square * rest - 4 * det)).subs({y: -v, w: u**2}).subs(w, u**2),
        ((q * x - 2 * u) ** 2 + q * (t - 1) * (q * (t + 1) - 4 * v)
         + q**2 * (1 + v**2 + w) - 4 * v * q - 4 * w).subs(w, u**2),
    )  # fmt: skip
    a = (1 + v) ** 2
    c0 = a * ((1 - v) ** 2 + v**2 + 2 * v**3 + v**4)
    c1 = (1 + v) * (-1 + 5 * v + 5 * v**2 + 3 * v**3)
    c2 = 3 * a - 2 * v
    powers = prove_identity(
        "R in powers of w", q**2 * (1 + v**2 + w) - 4 * v * q - 4 * w,
        c0 + c1 * w + c2 * w**2 + w**3,
    )  # fmt: skip
    inside = sympy.lambdify(v, 4 * c0 * c2 - c1**2)
    slope = sympy.lambdify(v, -1 + 5 * v + 5 * v**2 + 3 * v**3)
    return chain(
        "2 det W <= loss |W|^2 for z' = 1 <= z, epsilon = 0, det W > 0",
        pairing(), left, grows, least, powers,
        prove_inequality("the discriminant of c_0 + c_1 w + c_2 w^2 for v up to 1/5", inside,
                         [(0, Fraction(1, 5))]),
        prove_inequality("c_1 >= 0 at v = 1/5, from where it grows", slope,
                         [(Fraction(1, 5), Fraction(1, 5))]),
        cites=("Q >= (1+v)^2 >= 4 v; c_0 and c_2 are positive for v >= 0",),
    )  # fmt: skip


def rank_bound(constant: Any) -> Proof:
    """Of the effective rank: erank <= 1 + constant (|epsilon| + s) / min(|z|, |z'|)."""
    statement = f"erank(W) <= 1 + {constant} (|epsilon| + s) / min(|z|, |z'|)"

    def sides(at: Point) -> tuple[Any, Any]:
        z, z2, eps = (abs(interval(x)) for x in at.observed)
        least = z if z < z2 else z2
        return 1 + interval(constant) * (eps + at.s) / least, at.rank

    found = refuted_at(statement, POINTS, sides)
    # What is sqrt(loss) in Theorem 1 is here s / (sqrt(2) min(|z|, |z'|)), at epsilon = 0.
    spare = not_negative("the constant less 1/sqrt(2)", constant - 1 / sympy.sqrt(2))
    proof = chain(
        statement, general_pairing(), entropy_below_log(), spare, cites=(SIGNS, TRIANGLE)
    )  # fmt: skip
    return settle(proof, found)


def distance_bound(right: Callable[[Any, Any, Any, Any], Any], text: str) -> Proof:
    """s_2 <= right(|z|, |z'|, |epsilon|, s), where that is at least |epsilon| + s, or refuted."""
    statement = f"s_2(W) <= {text}"

    def sides(at: Point) -> tuple[Any, Any]:
        z, z2, eps = (abs(interval(x)) for x in at.observed)
        return right(z, z2, eps, at.s), at.second

    found = refuted_at(statement, POINTS, sides)
    z, z2, eps, s, x = sympy.symbols("z z' epsilon s w_11", positive=True)
    spare = sympy.expand(right(z, z2, eps, s) - eps - s)
    positive = all(term.is_nonnegative for term in spare.as_ordered_terms())
    proof = chain(
        statement,
        prove_identity("det P_0 = -z z'", sympy.Matrix([[x, z], [z2, 0]]).det(), -z * z2),
        Proof("it is at least |epsilon| + s", "proved" if positive else "open", (f"{spare} >= 0",)),
        cites=(SIGNS, TRIANGLE, SEGMENT, ECKART),
    )
    return settle(proof, found)


def entry_bound(factor: Fraction = Fraction(1)) -> Proof:
    """Lemma 25: |w_11| > factor (|z|-s)(|z'|-s)/(|epsilon|+s), and that against its right side."""
    statement = f"|w_11| > {factor} (|z|-s)(|z'|-s)/(|epsilon|+s)"

    def sides(at: Point) -> tuple[Any, Any]:
        z, z2, eps = (abs(interval(x)) for x in at.observed)
        return at.entry, interval(factor) * (z - at.s) * (z2 - at.s) / (eps + at.s)

    found = refuted_at(statement, [Point(STEEP)], sides)
    z, z2, eps, s, x, y = sympy.symbols("z z' epsilon s x y", positive=True)
    derived = (z - s) * (z2 - s) / (eps + s)
    claimed = sympy.Rational(factor) * derived
    proof = chain(
        statement,
        prove_identity(
            "w_12 w_21 - (z-s)(z'-s) with w_12 = z-s+x, w_21 = z'-s+y; x, y not negative",
            (z - s + x) * (z2 - s + y) - (z - s) * (z2 - s), (z - s) * y + (z2 - s) * x + x * y,
        ),
        prove_identity(
            "the second inequality: the difference is not negative",
            derived - z * z2 / (eps + s) + z + z2, (s**2 + eps * (z + z2)) / (eps + s),
        ),
        not_negative("1 less the claimed bound over the derived",
                     1 - sympy.cancel(claimed / derived)),
        cites=(SIGNS, "w_11 w_22 = det W + w_12 w_21 and |w_22| <= |epsilon| + s"),
    )  # fmt: skip
    return settle(proof, found)


def norm_bound(power: float, general: bool) -> Proof:
    r"""(15) with the unobserved entry's own unit matrix, or (8), for every quasi-norm.

    With c >= 1 of the quasi-norm, M the largest ||e_i e_j^T||, T = max(|z|, |z'|, |epsilon|): where
    s >= min(|z|, |z'|) the bound is at most 0; else the entry contributes at least its bound over
    c, and the other three at most c^2 M (|z| + |z'| + |epsilon| + sqrt(3) s).
    """
    statement = f"||W|| >= {'(15)' if general else '(8)'} for every quasi-norm"
    printed = 1 if general else 0.5  # (15) has a power of sqrt(2 loss), (8) one of the loss

    def sides(at: Point) -> tuple[Any, Any]:  # the Frobenius norm: c = M = 1
        return at.norm, iv.exp(interval(-power / printed) * iv.log(at.s)) - interval(8)

    found = refuted_at(statement, [Point(STEEP)], sides)
    others = 3 if general else 2  # the observed entries over T, without their errors
    root = sympy.sqrt(3)
    room = prove_inequality(
        f"({others} + sqrt(3)) c^2 M T + 2 T M / c <= 8 c^2 M T",
        lambda x: 8 - (others + iv.sqrt(x) + 2), [(3, 3)],
    )  # fmt: skip
    proof = chain(
        statement, entry_bound(), room,
        cites=(
            SIGNS, f"the errors of three entries add up to at most {root} s, s < T",
            "||e_i e_j^T|| <= M and 1/c <= c^2",
        ),
    )  # fmt: skip
    return settle(proof, found, covered=power == printed)
