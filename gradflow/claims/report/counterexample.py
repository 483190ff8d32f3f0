"""A counterexample as the page and the terminal show it."""

from collections.abc import Mapping
from typing import Any

from gradflow.claims.report.numbers import Row, above, number

_SAYS = {
    "case": "Case",
    "confirmation": "By hand",
    "violation": "Relative violation",
    "floor": "Numerical floor",
}
_CONFIRMED = {True: ", confirmed outside floating point", False: ", not confirmed"}


def heading(row: Row) -> str:
    """What it is called: it says whether it was confirmed."""
    confirmed = row["counterexample"].get("confirmed")
    sure = _CONFIRMED[confirmed] if isinstance(confirmed, bool) else ""
    return f"Counterexample{sure}"


def counterexample(row: Row) -> dict[str, str]:
    """What is known of it, most important first: each fact's name, and the fact.

    Args:
      row: of a claim that has one.
    """
    found = {key: value for key, value in row["counterexample"].items() if key != "confirmed"}
    order = [key for key in _SAYS if key in found] + [key for key in found if key not in _SAYS]
    says = _SAYS | ({"floor": "Allowed error"} if row["kind"] == "approximation" else {})
    return {says.get(key, key): _value(row, key, found) for key in order}


def _value(row: Row, key: str, found: Mapping[str, Any]) -> str:
    value = found[key]
    if isinstance(value, float) and key in ("violation", "floor"):
        floor = found.get("floor")
        if key == "violation" and isinstance(floor, float) and row["kind"] != "approximation":
            return f"{number(value)}, {above(value, floor)}"
        return number(value)
    return _listed(value)


def _listed(value: Any) -> str:
    """A value without the quotes that texts have within lists."""
    if isinstance(value, list) and value:
        try:
            return f"[{', '.join(map(_listed, value))}]"
        except RecursionError:
            return str(value)
    return str(value)
