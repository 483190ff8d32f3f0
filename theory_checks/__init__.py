"""Theorems checked against exact simulation: claims, cases, verdicts, the ledger."""

from theory_checks.claims import (
    Case,
    Claim,
    Confirmation,
    Corrected,
    Settings,
    Verdict,
    claim,
    registered,
    select,
)
from theory_checks.judging import Finding
from theory_checks.ledger import Entry, check

__all__ = [
    "Case",
    "Claim",
    "Confirmation",
    "Corrected",
    "Entry",
    "Finding",
    "Settings",
    "Verdict",
    "check",
    "claim",
    "registered",
    "select",
]
