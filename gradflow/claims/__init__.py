"""Theorems checked against exact simulation: claims, cases, verdicts, the ledger."""

from gradflow.claims.definition import (
    FIFTY_DIGITS,
    Case,
    Claim,
    Confirmation,
    Convention,
    Corrected,
    Settings,
    Verdict,
    claim,
    roundings,
)
from gradflow.claims.hypotheses import ByConstruction, Measured
from gradflow.claims.judging import Finding
from gradflow.claims.ledger import Entry, check
from gradflow.claims.paper import Paper
from gradflow.claims.registry import registered, select

__all__ = [
    "FIFTY_DIGITS",
    "ByConstruction",
    "Case",
    "Claim",
    "Confirmation",
    "Convention",
    "Corrected",
    "Entry",
    "Finding",
    "Measured",
    "Paper",
    "Settings",
    "Verdict",
    "check",
    "claim",
    "registered",
    "roundings",
    "select",
]
