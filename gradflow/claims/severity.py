"""How grave it is that a printed statement fails, and what of its conclusion stands."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

Severity = Literal["misprint", "missing hypothesis", "constant", "substance"]

MEANINGS: Mapping[str, str] = {
    "misprint": "a slip that neither the proof nor its use relies on",
    "missing hypothesis": "true where the authors use it",
    "constant": "the form stands, a number or a power in it does not",
    "substance": "what is concluded does not follow",
}
"""What each severity says, from the mildest to the gravest. Of several faults the gravest counts.

A severity is judged by what the paper itself does with the statement.
"""

UNCLASSIFIED = "unclassified"
"""In place of a severity, for a statement that was found to fail and declares none."""


def see_severity(id: str, severity: str | None, flaw: str, survives: str) -> None:
    """See that a claim that is declared to fail says why, how grave that is, and what stands.

    Raises:
      ValueError: if a part is missing, or there is no such severity.
    """
    if severity is not None and severity not in get_args(Severity):
        known = ", ".join(map(repr, get_args(Severity)))
        raise ValueError(f"Claim {id!r} has severity {severity!r}; give one of {known}.")
    parts = {"flaw": flaw, "severity": severity, "survives": survives}
    missing = [name for name, part in parts.items() if not part]
    if missing:
        raise ValueError(
            f"Claim {id!r} is declared to fail without {' and '.join(missing)}; say where the "
            "argument breaks, how grave that is, and what of the conclusion stands."
        )


def severity_of(row: Mapping[str, Any]) -> str:
    """The severity of a ledger's row that fails; nothing for other rows."""
    return (row.get("severity") or UNCLASSIFIED) if row["verdict"] == "fails" else ""


def unclassified(row: Mapping[str, Any]) -> bool:
    """Whether a row fails and does not say how grave that is; such a verdict is not counted."""
    return severity_of(row) == UNCLASSIFIED or (
        row["verdict"] == "fails" and not row.get("survives")
    )
