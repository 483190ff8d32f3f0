"""Theorems checked against exact simulation: claims, cases, verdicts, the ledger.

Names are imported on first use: a command that only shows its options does not wait for JAX.
"""

from typing import TYPE_CHECKING

from gradflow._util.lazy import on_first_use

if TYPE_CHECKING:
    from gradflow.claims.constants import Best
    from gradflow.claims.definition import (
        Case,
        Claim,
        Confirmation,
        Corrected,
        Settings,
        Verdict,
        claim,
    )
    from gradflow.claims.floors import FIFTY_DIGITS, Convention, roundings
    from gradflow.claims.hypotheses import ByConstruction, Measured
    from gradflow.claims.judging import Judgement
    from gradflow.claims.ledger import Entry, check
    from gradflow.claims.paper import Paper
    from gradflow.claims.registry import registered, select

__all__ = [
    "FIFTY_DIGITS",
    "Best",
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
    "constants": "Best",
    "definition": "Case Claim Confirmation Corrected Settings Verdict claim",
    "floors": "FIFTY_DIGITS Convention roundings",
    "hypotheses": "ByConstruction Measured",
    "judging": "Judgement",
    "ledger": "Entry check",
    "paper": "Paper",
    "registry": "registered select",
}
__getattr__ = on_first_use(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
