r"""Zhao 2022: proofs about Adam's moments, about depth 1, and of what (15) does to the product.

Theorems 1 and 3 are about Adam itself, of which (15) is a model; what is proved here is that the
corrected formulas follow from (15) without any further error, for every size, depth, scaling and
start. How well (15) describes Adam is measured.
"""

from fractions import Fraction

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, chain, counterexample, prove_identity, settle

from ..arora2019 import _proofs as arora2019
from . import _proofs
from ._proofs import SUM
from ._rational import relative
from ._small import Sides

MODEL = {"the layers move by (15)": ByConstruction("any sizes, depth, S_j > 0; balanced or not")}
MISSED = Fraction(3, 10)
"""From this relative error on the formulas do not approximate (three times what is allowed)."""


def moments(corrected: bool, factor: Fraction) -> Case:
    """m_t against (1 - beta) sum_k beta^(t-k) g_k, by induction; v_t has g^2 for g."""
    beta, m, g, power = sympy.symbols("beta m_(t-1) g_t beta^(t-1)")
    keep, take = (beta, 1 - beta) if corrected else (1 - beta, beta)
    hypotheses = {"0 < beta < 1": ByConstruction("a symbol, as are the gradients")}
    at = Fraction(4, 5)  # one step, g = 1: Adam's mean is 1
    first = factor * (1 - at if corrected else at) / (1 - at)
    broken = counterexample("m_1 of g = 1", abs(first - 1), {"beta": str(at), "m_1": str(first)})
    proof = chain(
        "bias-corrected moments are means with the weights of Adam",
        prove_identity("m_t", sympy.Rational(factor) * (keep * m + take * g),
                       beta * m + (1 - beta) * g),
        prove_identity("a constant gradient is returned: the weights add up to 1 - beta^t",
                       keep * (1 - power) + take, 1 - beta * power),
        cites=("m_0 = 0",),
    )  # fmt: skip
    return Case("proof", proof=settle(proof, broken), whole=True, hypotheses=hypotheses, size=1e6)


def eq27(corrected: bool, share: Fraction) -> Case:
    """Entry by entry: the powers of both Kronecker factors are 0 at j = N = 1."""
    s, g, u, v, x, w = sympy.symbols("s g u_j v_k X_jk X_kj", positive=True)
    own, part = (s if corrected else sympy.Integer(1)), sympy.Rational(share)
    n, j, left, right = sympy.symbols("N j p q", positive=True)
    term = left ** ((j - 1) / n) * s * right ** ((n - j) / n)  # p, q: values of W W^T and W^T W
    alone = term.subs({n: 1, j: 1})
    proof = chain(
        "(26), (27) and P_(W,G) at depth 1",
        _product(),
        prove_identity("the term of P_(W,G) at j = N = 1", alone, part * own),
        prove_identity("(27)", -alone * g, -part * (s * g)),
        prove_identity("(26)", u * x * v, part * u * v * (x if corrected else w), cites=(SUM,)),
        cites=("S_j > 0", arora2019.PATH),
    )  # fmt: skip
    return Case("proof", proof=proof, whole=True, hypotheses=MODEL, size=1e6)


def depth1_limit(corrected: bool, scale: float) -> Case:
    """Observed entries tend to their values, the others stay where they are.

    The squared distance from W(0) is one sum over each; only the second can be chosen, as 0.
    """
    hypotheses = {"depth 1, completion": ByConstruction("symbols; rates eta with |1 - 2 eta| < 1")}
    y, w, start, t, eta = sympy.symbols("y w w_0 t eta", positive=True)
    flow = y + (start - y) * sympy.exp(-2 * t)
    wanted = sympy.Rational(scale)
    proof = chain(
        "the limit is the solution nearest to W(0)",
        prove_identity("w' = -2 (w - y), observed", flow.diff(t), -2 * (flow - y)),
        prove_identity("its limit", sympy.limit(flow, t, sympy.oo), wanted * y),
        prove_identity("a step of descent", w - eta * 2 * (w - y) - y, (1 - 2 * eta) * (w - y)),
        prove_identity("an entry that is not observed", start,
                       wanted * (start if corrected else 0)),
        cites=("(1 - 2 eta)^k tends to 0", "a sum of squares is least where each is"),
    )  # fmt: skip
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=1e6)


def _under_the_model(proof: Proof, sides: Sides) -> Case:
    """A formula that follows from (15), unless it misses by far at the instance."""
    true, found, text = sides
    excess = relative(true, found) - MISSED
    broken = counterexample(proof.statement, excess, {"instance": text})
    return Case(
        "exact under (15)", proof=broken or proof, whole=False, hypotheses=MODEL, size=1e6
    )  # fmt: skip


def _product() -> Proof:
    """dW/dt = -sum A_j^T D_j B_j^T, D_j = S_j . (A_j L B_j), under vec; L is any gradient in W."""
    p, p2, q, q2, s, l = sympy.symbols("P_ia P_ja Q_bl Q_bk S_ab L_jk")
    return chain(
        "vec(dW/dt) = -sum_j (B_j kron A_j^T) G_j (B_j^T kron A_j) vec(L)",
        arora2019.product_rule(),
        _proofs.vec(),
        prove_identity(
            "entry (i, l) of P (S . (P^T L Q^T)) Q, P = A_j^T and Q = B_j^T",
            p * (s * (p2 * l * q2)) * q, (q * p) * s * (q2 * p2) * l, cites=(SUM,),
        ),
    )  # fmt: skip


def product(sides: Sides, penalty: bool = False) -> Case:
    """Theorems 1 and 3 for W; the penalty's gradient is part of L."""
    parts = (_product(), _proofs.ratio()) if penalty else (_product(),)
    return _under_the_model(chain("the formula for W, from (15)", *parts), sides)


def values(sides: Sides, exchanged: bool, penalty: bool = False) -> Case:
    """Theorems 1 and 3 for the singular values: u^T (dW/dt) v under vec, by u v^T or by v u^T."""
    u, v, x, w = sympy.symbols("u_j v_k X_jk X_kj")
    name = "vec(v u^T)" if exchanged else "vec(u v^T)"
    own = w if exchanged else x
    turned = prove_identity(f"u^T X v = {name}^T vec(X)", u * x * v, u * v * own, cites=(SUM,))
    parts = (_product(), turned, *([_proofs.ratio()] if penalty else []))
    proof = chain("the formula for singular values, from (15)", *parts, cites=(arora2019.PATH,))
    return _under_the_model(proof, sides)
