r"""Razin and Cohen 2020: proofs of what is said of solutions and of random starts (Section 3).

A solution W_x of (7) has x unobserved, 1 beside it and 0 opposite. Each x is r - 1/r for one r > 0,
and W_x has the eigenvalues r and -1/r.
"""

from fractions import Fraction
from functools import cache
from typing import Any

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, chain, counterexample, prove_identity, settle

from ._printed import proof_case
from ._proofs import ECKART, Point

SOLUTIONS = {"W in S": ByConstruction("every solution: x = r - 1/r for one r > 0")}
LAWS = {
    "independent entries, continuous and symmetric": ByConstruction("any such laws and size"),
    "the second part: independent factors with densities": ByConstruction("any such laws"),
}
R = sympy.symbols("r", positive=True)


@cache
def values_of_solutions() -> Proof:
    """Eigenvectors (r, 1) and (1, -r) of the symmetric W_x, x = r - 1/r rising with r."""
    x = R - 1 / R
    w = sympy.Matrix([[x, 1], [1, 0]])
    first, second = sympy.Matrix([R, 1]), sympy.Matrix([1, -R])
    return chain(
        "W_x has the singular values r and 1/r",
        prove_identity("W_x (r, 1) = r (r, 1)", w * first, R * first),
        prove_identity("W_x (1, -r) = -(1, -r) / r", w * second, -second / R),
        prove_identity("dx/dr is above 0", x.diff(R), 1 + R**-2),
        cites=("r - 1/r takes every real value",),
    )


def _solutions(centre: float) -> tuple[Point, Point, dict[str, str]]:
    """W at the centre that is claimed and at 0."""
    away, zero = (Point(((x, 1), (1, 0))) for x in (Fraction(centre), Fraction(0)))
    return away, zero, {"W": "[[0, 1], [1, 0]]", "claimed to be beaten by w_11 =": f"{centre:g}"}


def prop1(centre: float) -> Case:
    """(28) for any quasi-norm, and ||W_x||^p - 2 = (q - 1/q)^2 with q = r^(p/2)."""
    statement = f"bounded w_11; Schatten quasi-norms are least at w_11 = {centre:g} alone"
    away, zero, witness = _solutions(centre)
    broken = counterexample(f"{statement} (p = 2)", away.norm - zero.norm, witness)
    c, unit, rest, least, eps, more, q = sympy.symbols("c e r m epsilon d q", positive=True)
    outside = c * (least + eps + rest) / unit + more
    return proof_case(
        settle(chain(
            statement,
            prove_identity(
                "(28) exceeds inf + epsilon by d e / c where |w_11| exceeds its limit by d",
                outside * unit / c - rest - (least + eps), more * unit / c,
            ),
            values_of_solutions(),
            prove_identity("q^2 + q^-2 - 2", q**2 + q**-2 - 2, (q - 1 / q) ** 2),
            prove_identity("w_11 at q = r = 1", (R - 1 / R).subs(R, 1), sympy.Rational(centre)),
            cites=(
                "the weak triangle inequality: |w_11| ||e_1 e_1^T|| <= c (||W|| + ||rest||)",
                "p = infinity: the larger of r and 1/r is at least 1, and 1 at r = 1 alone",
            ),
        ), broken),
        SOLUTIONS,
    )  # fmt: skip


def prop2(centre: float) -> Case:
    """Both measures fall with r from r = 1: D = 1/r, and the entropy of p = 1/(1 + r^2)."""
    statement = f"erank falls from 2 to 1, D from 1 to 0, both largest at w_11 = {centre:g}"
    away, zero, witness = _solutions(centre)
    broken = counterexample(f"{statement}: D", zero.second - away.second, witness)
    p, x = sympy.symbols("p x", positive=True)
    entropy = -p * sympy.log(p) - (1 - p) * sympy.log(1 - p)
    share = 1 / (1 + R**2)
    return proof_case(
        settle(chain(
            statement,
            values_of_solutions(),
            prove_identity("w_11 at r = 1, whence both fall", (R - 1 / R).subs(R, 1),
                           sympy.Rational(centre)),
            prove_identity("D at r = 1", (1 / R).subs(R, 1), 1),
            prove_identity("s_2 / (s_1 + s_2)", (1 / R) / (R + 1 / R), share),
            prove_identity("it falls with r", share.diff(R), -2 * R / (1 + R**2) ** 2),
            prove_identity("h'(p)", entropy.diff(p), sympy.log(1 - p) - sympy.log(p)),
            prove_identity("(1-p)/p, which is above 1 for r > 1", (1 - share) / share, R**2),
            prove_identity("erank at r = 1", sympy.exp(entropy.subs(p, share.subs(R, 1))), 2),
            prove_identity("h at p = 0+", sympy.limit(entropy, p, 0, "+"), 0),
            prove_identity("D as r grows", sympy.limit(1 / R, R, sympy.oo), 0),
            prove_identity(
                "||W_x||^2, so that D(S, M_0) > 0",
                sympy.Matrix([[x, 1], [1, 0]]).norm() ** 2, x**2 + 2,
            ),
            cites=(
                ECKART, "-x and x give the same singular values (r and 1/r change places)",
                "a continuous function takes all values between",
            ),
        ), broken),
        SOLUTIONS,
    )  # fmt: skip


def prop3(shift: Fraction) -> Case:
    """Turning the first row keeps the law and turns the determinant; `shift` is added to entries.

    This is a part: what is seen to here are 3x3 matrices and the factors' signs. All other sizes,
    and that determinants are 0 with probability 0, are taken from elsewhere. 1x1 and uniform on
    [shift - 1, shift + 1], the determinant is positive with the probability (1 + shift)/2.
    """
    statement = f"Pr(det > 0) = Pr(det < 0) = 1/2, entries symmetric about {shift}"
    above = (1 + shift) / 2
    witness = {"W": f"1x1, uniform on [{shift - 1}, {shift + 1}]", "Pr(det > 0)": str(above)}
    broken = counterexample(statement, abs(above - Fraction(1, 2)), witness)
    w: Any = sympy.Matrix(3, 3, lambda i, j: sympy.Symbol(f"w_{i + 1}{j + 1}"))
    turned: Any = w.copy()
    turned[0, :] = (2 * sympy.Rational(shift) * sympy.ones(1, 3)) - w[0, :]
    share, one = sympy.Symbol("p"), sympy.Rational(above)
    proof = settle(
        chain(
            statement,
            prove_identity("det with the first row turned (3x3)", turned.det(), -w.det()),
            prove_identity(
                "det is w_11 times its minor and what has no w_11 (3x3)",
                w.det(), w[0, 0] * w[1:, 1:].det() + w.subs(w[0, 0], 0).det(),
            ),
            prove_identity(
                "Pr(det of the product > 0), with Pr(det of the others > 0) = p: no p is left",
                one * share + (1 - one) * (1 - share), sympy.Rational(1, 2),
            ),
            cites=(
                "both hold at every size: a determinant is linear in its first row",
                "so, by induction, entries without atoms make it 0 with probability 0 (Fubini)",
                "with a density, too: a polynomial's zeros have measure 0",
                "det of a product is the product of the determinants",
            ),
        ),
        broken,
    )  # fmt: skip
    return Case("part of a proof", proof=proof, whole=False, hypotheses=LAWS, size=4)
