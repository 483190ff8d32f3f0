"""Proofs by machine: identities by algebra, inequalities and flows in interval arithmetic."""

from gradflow.claims.proofs.enclosure import EnclosedStep, enclose_flow
from gradflow.claims.proofs.identity import prove_identity
from gradflow.claims.proofs.inequality import prove_inequality
from gradflow.claims.proofs.polynomials import decide_polynomials
from gradflow.claims.proofs.proof import (
    Proof,
    chain,
    counterexample,
    not_negative,
    settle,
)
from gradflow.claims.proofs.words import Words

__all__ = [
    "EnclosedStep",
    "Proof",
    "Words",
    "chain",
    "counterexample",
    "decide_polynomials",
    "enclose_flow",
    "not_negative",
    "prove_identity",
    "prove_inequality",
    "settle",
]
