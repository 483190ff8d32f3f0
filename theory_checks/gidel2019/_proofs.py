"""Gidel, Bach and Lacoste-Julien 2019: one step of gradient descent, by algebra."""

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.oracles.high_precision import decimal
from gradflow.claims.proofs import chain, prove_identity

from ..saxe2014._proofs import stay_aligned


def recursion(factor: float) -> Case:
    """The steps of both layers keep their frames, and take equal strengths to equal ones."""
    w, s, eta = sympy.symbols("w s eta", positive=True)
    first = second = w
    gap = s - second * first
    claimed = w + decimal(factor) * eta * w * (s - w**2)
    proof = chain(
        "w_(k+1) = w_k + eta w_k (s - w_k^2)",
        stay_aligned(),
        prove_identity("the step of W_1", first + eta * second * gap, claimed),
        prove_identity("the step of W_2", second + eta * first * gap, claimed),
        cites=("induction over the steps",),
    )
    hypotheses = {
        "aligned, equal layers": ByConstruction("any frames and strengths"),
        "simultaneous steps": ByConstruction("both gradients at the same weights"),
    }
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=4)
