"""Theorems checked against exact simulation: claims, cases, verdicts, the ledger.

Names are imported on first use: a command that only shows its options does not wait for JAX.
"""

from typing import TYPE_CHECKING

from gradflow._util.lazy import on_first_use

if TYPE_CHECKING:
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
    from gradflow.claims.judging import Judgement
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
    "Judgement",
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

_NAMES = {
    "definition": "FIFTY_DIGITS Case Claim Confirmation Convention Corrected Settings Verdict "
    "claim roundings",
    "hypotheses": "ByConstruction Measured",
    "judging": "Judgement",
    "ledger": "Entry check",
    "paper": "Paper",
    "registry": "registered select",
}
__getattr__ = on_first_use(__name__, _NAMES)
