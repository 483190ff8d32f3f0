r"""Arora et al. 2019: proofs of Theorems 1 and 2 and of Proposition 1.

In the frame of the commuting measurements everything is diagonal, W_kk > 0. At any time t let x_k
be 1 - sum_i nu_i (a_i)_k, nu a multiple of s(t): by (16) x_k is a power of W_kk. With t chosen so
that W(t) tends to the limit as alpha falls, x_k tends to 0 where the limit is not 0, and is not
negative in the limit: nu is nearly feasible in the dual, and nearly complementary. Nothing is asked
of s(infinity).
"""

from fractions import Fraction

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, chain, counterexample, prove_identity, settle
from gradflow.claims.proofs.interval import interval, iv

from . import _proofs
from ._linear_programmes import minimal_trace

COMMUTING = {
    "symmetric commuting measurements": ByConstruction("diagonal in one frame, symbols"),
    "the limit exists and fits": ByConstruction("it is assumed, as printed"),
}
FRAME = "symmetric matrices that commute are diagonal in one orthonormal frame"
DUAL = "with 1 - sum nu_i A_i >= -delta: (1 + delta) tr W >= nu.y for every W >= 0 that fits"


def _tilted(tilt: Fraction) -> Proof | None:
    """Diagonal (1000, 1001), y = 1001: what has the least trace, and what the least tilted sum."""
    a, y = [[1000, 1001]], [1001]
    weights = [1, 1 + tilt]
    limit = minimal_trace(a, y, [1, 1]).primal
    found = sum(c * w for c, w in zip(weights, limit, strict=True))
    excess = found - minimal_trace(a, y, weights).value
    witness = {"A, y": "diag(1000, 1001), 1001", "limit": str([str(w) for w in limit]),
               "weights": str([str(c) for c in weights])}  # fmt: skip
    return counterexample(f"the limit has the least sum of {weights} W_kk", excess, witness)


def least_norm(depth_two: bool, tilt: Fraction) -> Case:
    """Theorem 1 (depth 2) or 2; `tilt` is added once more to the weight of each later entry."""
    statement = "the limit has the least nuclear norm of all W >= 0 that fit"
    broken = _tilted(tilt)
    n, log_a, log_x, log_w, small, r, a, w = sympy.symbols("N log_alpha log_x log_W L r a W")
    flow = _proofs.product_flow().proof
    assert flow is not None
    if depth_two:  # L = log(1/alpha), nu = -s / L; s' = r
        s = sympy.Symbol("s")
        parts = [
            prove_identity("W_kk' at log W_kk = -2 L - 2 a s", w * (-2 * small - 2 * a * s).diff(s)
                           * r, -2 * w * a * r),
            prove_identity("x = 1 + a s / L is -log W_kk / (2 L)", 1 + a * s / small,
                           -(-2 * small - 2 * a * s) / (2 * small)),
        ]  # fmt: skip
        limits = "W_kk <= M: x_k >= -log M / (2 L), which tends to 0, as x_k does where W_kk > 0"
    else:
        sixteen = _proofs.eq16(0).proof
        assert sixteen is not None
        parts = [
            sixteen,
            prove_identity("W_kk = alpha^N x_k^(-N/(N-2)): x_k = alpha^(N-2) W_kk^(-(N-2)/N)",
                           (n - 2) * log_a - (n - 2) / n * (n * log_a - n / (n - 2) * log_x),
                           log_x),
            prove_identity("x_k W_kk = alpha^(N-2) W_kk^(2/N)",
                           (n - 2) * log_a - (n - 2) / n * log_w + log_w,
                           (n - 2) * log_a + 2 / n * log_w),
        ]  # fmt: skip
        limits = "x_k > 0, and it tends to 0 where W_kk does not, for alpha^(N-2) does"
    u, v, p, q = sympy.symbols("nu_i A_ikk W_kk y_i")
    weight = 1 + sympy.Rational(tilt)  # of W_kk in what is least; 1 in the trace
    return Case(
        "proof",
        proof=settle(chain(
            statement, flow, *parts,
            prove_identity("tr W - nu.y less the sum of x_k W_kk, 0 where W fits",
                           (weight * p - u * q) - (1 - u * v) * p, -u * (q - v * p)),
            cites=(FRAME, "in it W stays diagonal, for solutions are unique", limits, DUAL,
                   "tr W is the nuclear norm of W >= 0"),
        ), broken), whole=True,
        hypotheses=COMMUTING,
    )  # fmt: skip


def prop1(shift: float) -> Case:
    """(24): the trace is 2 + d w with w = W_33 = ... = W_dd, least at 0; and 1 + e, 1 - e."""
    low, high = Fraction(shift), 1 + Fraction(shift)
    tried = high - Fraction(1, 1000)
    statement = (
        f"diag(1, 1, 0, ...) has neighbours of smaller S_p for {shift:g} < p < {1 + shift:g}"
    )
    hypotheses = {"d >= 3": ByConstruction("a symbol"), "the limit exists": ByConstruction(
        "it is assumed in Theorem 2, which defines it")}  # fmt: skip
    log = iv.log(interval(Fraction(3, 2))), iv.log(interval(Fraction(1, 2)))
    excess = sum(iv.exp(interval(tried) * x) for x in log) - 2
    broken = counterexample(statement, excess, {"e": "1/2", "p": str(tried)})
    e, p, w, d, y = sympy.symbols("e p w d y", positive=True)
    norm = (1 + e) ** p + (1 - e) ** p
    slopes = p * (p - 1)  # of y^p twice, over y^(p-2)
    least = least_norm(False, Fraction(0)).proof
    assert least is not None
    pair = sympy.Matrix([[1, e], [e, 1]])
    return Case(
        "proof",
        proof=settle(chain(
            statement,
            least,
            prove_identity("the trace under (24)", 2 * (1 + w) + (d - 2) * w, 2 + d * w),
            prove_identity("(1, 1) belongs to 1 + e", pair * sympy.Matrix([1, 1]),
                           (1 + e) * sympy.Matrix([1, 1])),
            prove_identity("(1, -1) belongs to 1 - e", pair * sympy.Matrix([1, -1]),
                           (1 - e) * sympy.Matrix([1, -1])),
            prove_identity("(y^p)'', at y = 1 + e and y = 1 - e", (y**p).diff(y, 2),
                           slopes * y ** (p - 2)),
            *(prove_identity("p (p - 1) is 0 at the ends, so below 0 between",
                             slopes.subs(p, sympy.Rational(end)), 0) for end in (low, high)),
            prove_identity("at e = 0 the sum is 2", norm.subs(e, 0), 2),
            prove_identity("and its slope 0", norm.diff(e).subs(e, 0), 0),
            cites=("(24) fixes all W_kk, k >= 3, at W_11 - 1 >= 0",
                   "W >= 0 with diagonal (1, 1, 0, ...) that is diagonal"),
        ), broken), whole=True,
        hypotheses=hypotheses,
    )  # fmt: skip
