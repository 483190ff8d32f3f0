"""Numbers of a ledger's row as a reader wants them: in powers of ten, and in words."""

import math
import re
from collections.abc import Mapping
from typing import Any

from gradflow.claims.judging import times

Row = Mapping[str, Any]
"""A claim's entry, as `Entry.as_json` gives it."""

_MACHINE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]?\d{1,4})(?![\w.]*\w)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """A number to two or three digits, in powers of ten where it is large or small.

    Example:
      >>> number(0.25), number(2.95e-11), number(0)
      ('0.25', '3.0 × 10⁻¹¹', '0')
    """
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "infinite" if math.isinf(value) else "no number"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits} × {ten(int(power))}"


def ten(power: int) -> str:
    """A power of ten."""
    return f"10{str(power).translate(_RAISED)}" if power else "1"


def in_powers(text: str) -> str:
    """A text with its numbers such as 1.5e+10 in powers of ten.

    Example:
      >>> in_powers("loss 2e-05 to 1.3e+10, at 1e2")
      'loss 2 × 10⁻⁵ to 1.3 × 10¹⁰, at 1 × 10²'
    """
    return _MACHINE.sub(lambda at: f"{at[1]} × {ten(int(at[2]))}" if int(at[2]) else at[1], text)


def above(violation: float, floor: float) -> str:
    """How far a violation is above its floor, in words where the ratio is large."""
    return f"{times(violation / floor if floor > 0 else math.inf)} the numerical floor"


def margin(row: Row) -> str:
    """Relative residual against its floor; for an inequality that is kept, its smallest slack.

    Example:
      >>> margin({"residual": 0.0, "floor": 1e-12, "slack": None})
      '0 ≤ 1.0e-12'
    """
    residual, floor, slack = row["residual"], row["floor"], row["slack"]
    if residual is None or floor is None:
        return "-"
    if slack is not None and residual == 0:
        return f"slack {_brief(slack)}"
    return f"{_brief(residual)} {'≤' if residual <= floor else '>'} {_brief(floor)}"


def _brief(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def margin_in_words(row: Row) -> str:
    """The same as a sentence."""
    residual, floor, slack = row["residual"], row["floor"], row["slack"]
    if residual is None or floor is None:
        return "No case could be looked at."
    if slack is not None and residual == 0:
        return (
            f"No case violates it; the smallest slack is {number(slack)} of the size of the two "
            "sides."
        )
    if residual == 0:
        return "Both sides are the same, without any difference."
    if row["kind"] == "approximation":
        return (
            f"The largest relative error is {number(residual)}; up to {number(floor)} an "
            "approximation may be off."
        )
    what = "violation" if slack is not None else "difference"
    text = f"The largest {what} is {number(residual)} of the sides' size"
    if residual <= floor:
        return f"{text}, within the numerical floor of {number(floor)} there."
    return f"{text}, {above(residual, floor)}."
