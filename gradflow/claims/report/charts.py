"""Small pictures of a claim as SVG within the page: what each of its cases gave.

Of identities the residual of each case beside its floor, of inequalities the range of its slack,
and of the tightest flow its slack along the way. Colours are the page's own, light and dark.
"""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gradflow.claims.report.numbers import Row, number, ten

_WIDTH, _NAMES, _LINE, _TOP = 720, 250, 18, 24
_LEFT, _RIGHT = _NAMES + 12, _WIDTH - 16
_MOST = 24
"""How many cases a picture shows."""
_LETTERS, _HEAD = 38, 14
_OUTCOME = 70
"""How much room a proof's outcome takes beside its mark."""

Shown = Mapping[str, Any]
"""A case in outline (`gradflow.claims.outline`)."""


def charts(row: Row) -> str:
    """The pictures of a row; nothing where no case has a number.

    Args:
      row: of the ledger; its `outline` has the numbers.

    Returns:
      HTML, a figure for each.
    """
    cases: Sequence[Shown] = row.get("outline") or ()
    proofs = [case for case in cases if case["what"] == "proof"]
    residuals = [case for case in cases if case["what"] == "residual"]
    slacks = [case for case in cases if case["what"] == "slack" and None not in case["slack"]]
    parts = []
    if residuals:
        parts.append(_residuals(row, [*proofs, *residuals]))
    if slacks:
        parts.append(_slacks(slacks if residuals else [*proofs, *slacks]))
    if proofs and not residuals and not slacks:
        marks = [_mark(case, _TOP + _LINE * (k + 0.5), _LEFT + 10) for k, case in enumerate(proofs)]
        parts.append(_figure(marks, len(proofs), "the statement as a whole, no numbers", ""))
    parts += [_course(case) for case in slacks if len(case.get("course") or ()) > 2]
    return "".join(parts)


def _residuals(row: Row, cases: Sequence[Shown]) -> str:
    """Residuals (dots) and floors (bars) on a logarithmic axis; zeros stand at its left end."""
    shown, caption = _chosen(cases, lambda case: -(case["violation"] or 0.0))
    values = [case[key] for case in shown for key in ("violation", "floor")]
    powers = [math.log10(v) for v in values if v is not None and 0 < v < math.inf]
    low = max(math.floor(min(powers, default=-16)) - 1, -60)
    high = min(max(math.ceil(max(powers, default=0)), low + 2), 60)

    def x(value: float | None) -> float:
        if not value:
            return _LEFT
        part = (math.log10(value) - low) / (high - low)
        return _LEFT + 26 + min(max(part, 0.0), 1.0) * (_RIGHT - _LEFT - 26)

    step = max(1, math.ceil((high - low) / 7))
    ticks = [(x(10.0**k), ten(k)) for k in range(low, high + 1, step)]
    body = [_axis([(_LEFT, "0"), *ticks], len(shown))]
    for k, case in enumerate(shown):
        y = _TOP + _LINE * k + _LINE / 2
        violation, floor = case["violation"], case["floor"]
        if case["what"] == "proof":
            body.append(_mark(case, y, x(violation)))
            continue
        over = violation is None or violation > (floor or 0.0)
        told = f"{case['name']}: {_said(violation)}, floor {_said(floor)}"
        body.append(_label(case, y, told))
        if floor:
            body.append(f'<path class="floor" d="M{x(floor):.1f} {y - 6:.1f}v12" />')
        kind = "over" if over and not _allowed(row, violation) else "kept"
        place = _RIGHT if violation is None else x(violation)
        body.append(f'<circle class="{kind}" cx="{place:.1f}" cy="{y:.1f}" r="4" />')
    what = "relative error" if row["kind"] == "approximation" else "relative difference"
    text = f"{what} of the two sides (dot) and its numerical floor (bar); no unit"
    return _figure(body, len(shown), text, caption)


def _allowed(row: Row, violation: float | None) -> bool:
    """Whether an approximation's error is one that its verdict allows."""
    return row["verdict"] == "approximates" and violation is not None


def _slacks(cases: Sequence[Shown]) -> str:
    """The range of each slack from its smallest to its largest number, with the middle one."""
    shown, caption = _chosen(cases, lambda case: case["slack"][0] if "slack" in case else 0.0)
    ranges = [case["slack"] for case in shown if "slack" in case]
    lowest = min(min(low for low, _, _ in ranges), 0.0)
    highest = max(max(high for _, _, high in ranges), 0.0)
    room = 0.04 * (highest - lowest) or 1.0
    low, high = lowest - room, highest + room

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT)

    body = [_axis([(x(v), number(v)) for v in _round_values(low, high)], len(shown))]
    bottom = _TOP + _LINE * len(shown)
    body.append(f'<path class="zero" d="M{x(0):.1f} {_TOP}V{bottom}" />')
    for k, case in enumerate(shown):
        y = _TOP + _LINE * k + _LINE / 2
        if case["what"] == "proof":
            body.append(_mark(case, y, x(0)))
            continue
        first, middle, last = case["slack"]
        kind = "over" if -first > (case["floor"] or 0.0) else "kept"
        told = f"{case['name']}: from {number(first)} to {number(last)}, median {number(middle)}"
        body.append(_label(case, y, told))
        body.append(f'<path class="range {kind}" d="M{x(first):.1f} {y:.1f}H{x(last):.1f}" />')
        body.append(f'<circle class="{kind}" cx="{x(first):.1f}" cy="{y:.1f}" r="4" />')
        if last > first:
            body.append(f'<path class="floor" d="M{x(middle):.1f} {y - 5:.1f}v10" />')
    text = (
        "slack, relative to the two sides: smallest (dot), median (bar), largest; below 0 is "
        "violated; no unit"
    )
    return _figure(body, len(shown), text, caption)


def _course(case: Shown) -> str:
    """The slack of one case along what its numbers are listed along."""
    points = [(a, v) for a, v in zip(case["at"], case["course"], strict=True) if None not in (a, v)]
    if len(points) < 3:
        return ""
    places, values = [p for p, _ in points], [v for _, v in points]
    positive = [p for p in places if p > 0]
    bent = len(positive) >= len(places) - 1 and max(positive) > 100 * min(positive)
    points = [p for p in points if p[0] > 0] if bent else points
    across = [math.log10(p) for p, _ in points] if bent else [p for p, _ in points]
    left, right = min(across), max(across)
    low, high = min(0.0, *values), max(0.0, *values)
    if right == left or high == low:
        return ""
    height = 150

    def x(value: float) -> float:
        return 70 + (value - left) / (right - left) * (_WIDTH - 90)

    def y(value: float) -> float:
        return 10 + (high - value) / (high - low) * height

    line = " ".join(f"{x(a):.1f},{y(v):.1f}" for a, (_, v) in zip(across, points, strict=True))
    body = [
        f'<path class="zero" d="M70 {y(0):.1f}H{_WIDTH - 20}" />',
        f'<polyline class="kept" points="{line}" />',
    ]
    for value in dict.fromkeys((low, 0.0, high)):
        body.append(f'<text x="64" y="{y(value) + 4:.1f}" text-anchor="end">{number(value)}</text>')
    ends = ((left, "start"), ((left + right) / 2, "middle"), (right, "end"))
    for value, anchor in ends:
        place = number(10**value if bent else value)
        body.append(
            f'<text x="{x(value):.1f}" y="{height + 28}" text-anchor="{anchor}">{place}</text>'
        )
    name = "loss, no unit" if case["along"] == "loss" else f"{case['along']}, of the flow"
    text = f"slack against {name}{' (logarithmic)' if bent else ''}: {case['name']}"
    return _svg(body, height + 36, text, "")


def _chosen(cases: Sequence[Shown], key: Any) -> tuple[list[Shown], str]:
    """The cases that say most, in their order, and how many are left out."""
    order = sorted(range(len(cases)), key=lambda k: (cases[k]["what"] != "proof", key(cases[k])))
    kept = sorted(order[:_MOST])
    left = len(cases) - len(kept)
    names = labels([str(cases[k]["name"]) for k in kept])
    shown: list[Shown] = [{**cases[k], "label": name} for k, name in zip(kept, names, strict=True)]
    return shown, f" The {left} that say less are left out." if left else ""


def _said(value: float | None) -> str:
    return "not finite" if value is None else number(value)


def _label(case: Shown, y: float, told: str) -> str:
    short = case.get("label") or _cut(str(case["name"]))
    kind = "" if case["counts"] else ' class="aside"'
    return (
        f'<text{kind} x="{_NAMES}" y="{y + 4:.1f}" text-anchor="end">{html.escape(short)}'
        f"<title>{html.escape(told)}</title></text>"
    )


def labels(names: Sequence[str]) -> list[str]:
    """Names that fit beside a picture; what the cut ones have in common at their ends is left out.

    Example:
      >>> labels([f"depth 2, W(0) = I/{n}, at the ends of all steps, det W" for n in (2, 4)])
      ['depth 2, W(0) = I/2', 'depth 2, W(0) = I/4']
    """
    short = [_cut(name) for name in names]
    for twice in [one for one, count in Counter(short).items() if count > 1]:
        same = [k for k, one in enumerate(short) if one == twice]
        backwards = zip(*(reversed(names[k]) for k in same), strict=False)
        alike = [len(set(letters)) == 1 for letters in backwards]
        ending = names[same[0]][len(names[same[0]]) - [*alike, False].index(False) :]
        ending = ending[ending.find(", ") :] if ", " in ending else ""
        for k in same:
            short[k] = _cut(names[k].removesuffix(ending) or names[k])
    return short


def _cut(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[:_HEAD]}…{name[_HEAD + 1 - _LETTERS :]}"


def _mark(case: Shown, y: float, x: float) -> str:
    """A proof: a diamond at 0 if it is one, at 1 if it refutes."""
    kind = "kept" if case["outcome"] == "proved" else "over"
    where = f"M{x:.1f} {y - 6:.1f}l6 6-6 6-6-6z"
    told = f"{case['name']}: {case['outcome']}"
    side = -1 if x > _RIGHT - _OUTCOME else 1  # where there is room for the word
    anchor = "end" if side < 0 else "start"
    note = (
        f'<text x="{x + 12 * side:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">'
        f"{html.escape(case['outcome'])}</text>"
    )
    return _label(case, y, told) + f'<path class="{kind}" d="{where}" />' + note


def _axis(ticks: Sequence[tuple[float, str]], lines: int) -> str:
    bottom = _TOP + _LINE * lines
    return "".join(
        f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}" />'
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{html.escape(label)}</text>'
        for x, label in ticks
    )


def _round_values(low: float, high: float) -> list[float]:
    """Some four round numbers in a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= 6)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


def _figure(body: Sequence[str], lines: int, text: str, caption: str) -> str:
    return _svg(body, _TOP + _LINE * lines + 24, text, caption)


def _svg(body: Sequence[str], height: float, text: str, caption: str) -> str:
    said = text[:1].upper() + text[1:]
    return (
        f'<figure class="chart"><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img">'
        f"<title>{html.escape(said)}</title>{''.join(body)}</svg>"
        f"<figcaption>{html.escape(said)}.{caption}</figcaption></figure>"
    )
