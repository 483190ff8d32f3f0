"""The cases of a claim in outline: the few numbers of each that a picture shows."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow.claims.evidence import floats

if TYPE_CHECKING:
    from gradflow.claims.definition import Case

LONGEST = 40
"""How many cases, and how many numbers of one, an outline has at most."""


def outline(cases: "Sequence[Case]") -> tuple[dict[str, Any], ...]:
    """Of each case what its picture needs, as JSON can hold it; no more than `LONGEST` cases.

    Left out are those that say least: of identities the smallest residuals, of inequalities the
    largest slacks.

    Args:
      cases: those of a claim.

    Returns:
      For each case its name, what it is ("residual", "slack" or "proof"), whether it counts, the
      largest violation with the floor there, and for a slack the lowest, the middle and the highest
      number and, of the tightest case, its course over what the numbers are listed along.
    """
    shown = [case for case in cases if not case.unreachable]
    if not shown:
        return ()
    kept = sorted(sorted(range(len(shown)), key=lambda k: _urgency(shown[k]))[:LONGEST])
    courses = [case for case in shown if case.slack is not None and case.along is not None]
    tightest = min(courses, key=lambda case: float(np.min(floats(case.slack))), default=None)
    return tuple(_of_case(shown[k], shown[k] is tightest) for k in kept)


def _urgency(case: "Case") -> float:
    """The smaller, the more a reader should see the case."""
    if case.proof is not None:
        return -math.inf
    found = float(np.min(floats(case.slack))) if case.slack is not None else 0.0
    worst = float(np.max(case.violation))
    return -worst if worst > 0 or case.slack is None else found


def _of_case(case: "Case", whole: bool) -> dict[str, Any]:
    violation, floors = case.violation, case.floors
    at = int(np.argmax(np.where(np.isfinite(violation), violation, -1.0)))
    found: dict[str, Any] = {
        "name": case.name,
        "what": "slack" if case.slack is not None else "residual",
        "counts": case.counts,
        "violation": _number(violation[at]),
        "floor": _number(floors[at]),
    }
    if case.proof is not None:
        return {**found, "what": "proof", "outcome": case.proof.outcome}
    if case.slack is not None:
        slack = np.ravel(floats(case.slack))
        parts = (np.min(slack), np.median(slack), np.max(slack))
        found["slack"] = [_number(part) for part in parts]
        if whole and case.along is not None:
            found |= _course(slack, *case.along)
    return found


def _course(slack: np.ndarray, along: str, values: Any) -> dict[str, Any]:
    """Some of a case's slacks in their order, the smallest among them."""
    thinned = np.linspace(0, slack.size - 1, LONGEST - 1).round().astype(int)
    at = np.unique([*thinned, int(np.argmin(slack))])
    where = np.ravel(floats(values))
    return {
        "along": along,
        "at": [_number(where[k]) for k in at],
        "course": [_number(slack[k]) for k in at],
    }


def _number(value: Any) -> float | None:
    """To four digits; what is not finite is no number."""
    return float(f"{float(value):.4g}") if abs(value) < 1e300 else None
