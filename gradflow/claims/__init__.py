"""Theorems checked against exact simulation: claims, cases, verdicts, the ledger."""

from gradflow.claims.definition import (
    Case,
    Claim,
    Confirmation,
    Corrected,
    Settings,
    Verdict,
    claim,
)
from gradflow.claims.judging import Finding
from gradflow.claims.ledger import Entry, check
from gradflow.claims.paper import Paper
from gradflow.claims.registry import registered, select

__all__ = [
    "Case",
    "Claim",
    "Confirmation",
    "Corrected",
    "Entry",
    "Finding",
    "Paper",
    "Settings",
    "Verdict",
    "check",
    "claim",
    "registered",
    "select",
]
