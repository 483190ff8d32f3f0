"""Kunin et al. 2024: the invariant, and the gradient of the potential, by algebra."""

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.oracles.high_precision import decimal
from gradflow.claims.proofs import chain, prove_identity


def invariant(factor: float) -> Case:
    """With the gradient G in beta = a w: a' = -eta_a <w, G>, w' = -eta_w a G."""
    a, ea, ew, inner = sympy.symbols("a eta_a eta_w inner")
    moved = 2 * ew * a * (-ea * inner) - decimal(factor) * ea * 2 * (-ew * a * inner)
    proof = chain(
        "eta_w a^2 - eta_a ||w||^2 stays",
        prove_identity(f"(eta_w a^2 - {factor:g} eta_a ||w||^2)'", moved),
        cites=("(||w||^2)' = 2 <w, w'>",),
    )
    hypotheses = {"gradient flow of any loss of beta = a w": ByConstruction("any gradient G")}
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=2)


def bias(share: float) -> Case:
    """The gradient of Psi is sqrt(2) w sign(a), and w - w_0 is in the range of X^T.

    With a > 0 and r = sqrt(S + delta): S = r^2 - delta, r = sqrt(2) a and b = ||beta|| = a ||w||.
    """
    r, delta, b, a, norm, two = sympy.symbols("r delta b a ||w|| sqrt2", positive=True)
    psi = (r**2 - 3 * delta) * r / 3
    slope = psi.diff(r) / (2 * r) * 4 * b / (r**2 - delta)  # dr/dS = 1/(2r), dS/db = 4b/S
    proof = chain(
        "the gradient of Psi less that of the linear term is sqrt(2) (w - w_0) sign(a)",
        prove_identity("Psi by b = ||beta||", slope, 2 * b / r),
        prove_identity("at b = a ||w||, r = sqrt(2) a", (2 * b / r).subs({b: a * norm, r: two * a}),
                       2 * norm / two),
        prove_identity("S + delta = 2 a^2 where S = a^2 + ||w||^2",
                       a**2 + norm**2 + (a**2 - norm**2), 2 * a**2),
        prove_identity("S^2 = delta^2 + 4 ||beta||^2", (a**2 + norm**2) ** 2,
                       (a**2 - norm**2) ** 2 + 4 * (a * norm) ** 2),
        prove_identity(f"psi^2 = {share:g}^2 (S - delta) at the start, 2 ||w_0||^2",
                       decimal(share) ** 2 * ((a**2 + norm**2) - (a**2 - norm**2)), 2 * norm**2),
        cites=(
            "w' = -a X^T r, so that w - w_0 stays in the range of X^T",
            "a keeps its sign, as ||beta|| > 0",
            "Psi is convex, so that a gradient in the range of X^T makes a minimiser",
        ),
    )  # fmt: skip
    hypotheses = {"beta does not vanish on the way, and X beta = y": ByConstruction("any such")}
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=2)
