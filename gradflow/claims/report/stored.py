"""Ledgers that `gradflow check --json` stored, read back: each field is what it should be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradflow.claims.constants import MEANINGS as KNOWN
from gradflow.claims.evidence import GRADES
from gradflow.claims.outline import LONGEST
from gradflow.claims.report.summary import VERDICTS
from gradflow.claims.severity import MEANINGS

_LARGEST = 64 << 20  # bytes; the papers' ledger has 1% of it
_CONSTANT = frozenset(("printed", "best", "known", "why"))


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """The rows of a stored ledger.

    Args:
      path: the file.

    Returns:
      The rows, as `Entry.as_json` gives them.

    Raises:
      ValueError: if it is no ledger; it names the row and the field.
    """

    def refused(reason: str) -> ValueError:
        return ValueError(f"{path} is no ledger of `gradflow check --json`: {reason}.")

    with Path(path).open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise refused(f"it has more than {_LARGEST >> 20} MB")
    try:
        rows = json.loads(content.decode("utf-8"), parse_constant=_no_number)
        json.dumps(rows, ensure_ascii=False).encode("utf-8")  # no half characters
    except RecursionError:
        raise refused("it is nested too deeply") from None
    except ValueError as error:
        raise refused(f"it is no JSON that can be shown ({error})") from error
    if not isinstance(rows, list):
        raise refused("it is no list of rows")
    seen: set[str] = set()
    for k, row in enumerate(rows, start=1):
        if wrong := _wrong(row):
            raise refused(f"row {k} {wrong}")
        if row["id"] in seen:
            raise refused(f"row {k} has the id of another one, {_short(row['id'])}")
        seen.add(row["id"])
    return rows


def _wrong(row: Any) -> str:
    """What is wrong with a row; nothing if it is as it should be."""
    if not isinstance(row, dict):
        return f"is {_short(row)}"
    for name, (good, meant) in _FIELDS.items():
        if name not in row:
            if name in _OPTIONAL:
                continue
            return f"has no {name}"
        if not good(row[name]):
            return f"has {name} = {_short(row[name])}, which is not {meant}"
    return ""


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300  # an int may be larger than any float


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_verdict(value: Any) -> bool:
    return isinstance(value, str) and value in VERDICTS


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_severity(value: Any) -> bool:
    return isinstance(value, str) and value in MEANINGS


def _are_named_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, [*value, *value.values()]))


def _are_constants(value: Any) -> bool:
    """Whether a value says of some constants which are the best (`gradflow.claims.constants`)."""
    return isinstance(value, list) and all(
        _are_named_texts(one) and set(one) == _CONSTANT and one["known"] in KNOWN for one in value
    )


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_outline(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= LONGEST and all(map(_is_shown, value))


def _is_shown(value: Any) -> bool:
    """Whether a value is a case in outline (`gradflow.claims.outline`)."""
    if not isinstance(value, dict) or not _is_text(value.get("name")):
        return False
    numbers = [value.get("violation"), value.get("floor")]
    what, good = value.get("what"), isinstance(value.get("counts"), bool)
    if what == "proof":
        good = good and value.get("outcome") in ("proved", "refuted", "open")
    if what == "slack":
        good = good and _are_numbers(value.get("slack"), 3)
    if "course" in value:
        count = len(value["course"]) if isinstance(value["course"], list) else 0
        good = good and _is_text(value.get("along")) and count <= LONGEST
        good = good and all(_are_numbers(value.get(key), count) for key in ("at", "course"))
    return good and what in ("residual", "slack", "proof") and _are_numbers(numbers, 2)


def _are_numbers(value: Any, count: int) -> bool:
    """Whether a value is a list of so many numbers, or nulls."""
    if not isinstance(value, list) or len(value) != count:
        return False
    return all(part is None or _is_number(part) for part in value)


def _is_witness(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _or_none(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or good(value)


_TEXT, _TEXT_OR_NONE = (_is_text, "a text"), (_or_none(_is_text), "a text or null")
_NUMBER_OR_NONE = (_or_none(_is_number), "a finite number or null")
_COUNT, _VERDICT = (_is_count, "a count"), (_is_verdict, "a verdict")
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (lambda value: _is_text(value) and 0 < len(value) <= 200, "a text of 1 to 200 letters"),
    "verdict": _VERDICT,
    "control": _VERDICT,
    "kind": _TEXT,
    "statement": _TEXT,
    "where": _TEXT,
    "reason": _TEXT,
    "control_text": _TEXT,
    "cases": _COUNT,
    "points": _COUNT,
    "residual": _NUMBER_OR_NONE,
    "floor": _NUMBER_OR_NONE,
    "slack": _NUMBER_OR_NONE,
    "hypotheses": (_are_texts, "a list of texts"),
    "conventions": (_are_texts, "a list of texts"),
    "grade": (
        lambda value: value is None or value in GRADES,
        f"null or one of {'; '.join(GRADES)}",
    ),
    "evidence": (_are_counts, "counts by name"),
    "proofs": (_are_texts, "a list of texts"),
    "notes": (_are_texts, "a list of texts"),
    "outline": (_is_outline, "a list of cases in outline"),
    "script": _TEXT_OR_NONE,
    "again": _TEXT_OR_NONE,
    "counterexample": (_is_witness, "an object or null"),
    "seconds": (_is_number, "a finite number"),
    "spared": (_or_none(_is_count), "a count or null"),
    "corrects": _TEXT_OR_NONE,
    "corrected": _TEXT_OR_NONE,
    "sharpens": _TEXT_OR_NONE,
    "cite": (_are_texts, "a list of texts"),
    "flaw": _TEXT_OR_NONE,
    "severity": (_or_none(_is_severity), f"null or one of {', '.join(MEANINGS)}"),
    "survives": _TEXT_OR_NONE,
    "readings": (_are_named_texts, "texts by name"),
    "best": (_are_constants, "a list of constants"),
    "error": _TEXT_OR_NONE,
    "control_reason": _TEXT_OR_NONE,
}
_OPTIONAL = frozenset((
    "spared", "corrects", "corrected", "flaw", "error", "control_reason", "severity", "survives",
    "readings", "sharpens", "cite", "grade", "evidence", "proofs", "conventions", "outline",
    "script", "again", "best",
))  # fmt: skip
