"""Proofs by machine: identities by algebra, inequalities and flows in interval arithmetic."""

from gradflow.claims.proofs.proof import Proof, chain

__all__ = ["Proof", "chain"]
