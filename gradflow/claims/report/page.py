"""The ledger as one HTML file that works offline: an index, and a page of its own for each claim.

One file can be sent to anybody, and no link in it breaks. Its script shows the index, or the one
claim that the address names after `#`; without scripts all stands below each other. Everything is
made from the ledger's JSON rows, so that a stored ledger gives the same page.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradflow._util.files import whole_file
from gradflow.claims.evidence import GRADES
from gradflow.claims.report.entry import entry, link
from gradflow.claims.report.numbers import Row
from gradflow.claims.report.summary import VERDICTS, authors, paper_of, summary_html
from gradflow.claims.report.words import words
from gradflow.claims.severity import MEANINGS, UNCLASSIFIED, severity_of

_HERE = Path(__file__).parent


def write_page(rows: Sequence[Row], path: Path, pictures: Mapping[str, bytes]) -> None:
    """One self-contained file: the ledger's index with filters, then each claim's own page.

    Args:
      rows: the ledger.
      path: the file to write.
      pictures: PNG images by the id of the claim that they stand beside.
    """
    known = {row["id"]: row for row in rows}
    claims = "\n".join(
        entry(row, known, pictures, before, after)
        for before, row, after in zip([None, *rows], rows, [*rows[1:], None], strict=False)
    )
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in _FILES)
    text = "\n".join((_HEAD, f"<style>\n{style}</style></head><body>", _index(rows), claims,
                      f"<script>\n{script}</script>\n</body></html>\n"))  # fmt: skip
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _index(rows: Sequence[Row]) -> str:
    """What the page begins with: what it is, the verdicts by paper, filters, a line a claim."""
    papers = {paper: authors(paper) for paper in dict.fromkeys(paper_of(row) for row in rows)}
    verdicts = {v: v for v in VERDICTS if any(row["verdict"] == v for row in rows)}
    severities = {s: s for s in (*MEANINGS, UNCLASSIFIED)}
    grades = {g: g for g in GRADES if any(row.get("grade") == g for row in rows)}
    if any(map(_partly_enclosed, rows)):
        grades[_ENCLOSED] = _ENCLOSED
    choices = "".join((
        _choice("paper", "all papers", papers), _choice("verdict", "all verdicts", verdicts),
        _choice("severity", "all severities", severities),
        _choice("evidence", "all evidence", grades),
    ))  # fmt: skip
    lines = "\n".join(_line(row) for row in rows)
    return (
        f'<main id="index">{_INTRODUCTION}<details id="counts" open>'
        f"<summary>Verdicts by paper</summary>{summary_html(rows)}</details><form>"
        '<input id="words" type="search" placeholder="effective rank, Lemma 5, Equation (8) ..." '
        f'aria-label="find">{choices}<output id="count"></output></form>'
        '<table class="claims"><thead><tr><th>claim</th><th>place</th><th>verdict</th>'
        f"<th>evidence</th></tr></thead><tbody>\n{lines}\n</tbody></table>"
        '<p><button id="more" type="button" hidden></button></p></main>'
    )


def _choice(id: str, everything: str, options: Mapping[str, str]) -> str:
    shown = "".join(f'<option value="{_e(k)}">{_e(v)}</option>' for k, v in options.items())
    none = f'<option value="">{everything}</option>'
    return f'<select id="{id}" aria-label="{id}">{none}{shown}</select>'


def _line(row: Row) -> str:
    """A claim in the index."""
    verdict, severity = _e(row["verdict"]), _e(severity_of(row))
    kind = ' class="further"' if row.get("corrects") or row.get("sharpens") else ""
    told = f"{verdict}<span>: {severity}</span>" if severity else verdict
    return (
        f'<tr{kind} data-id="{_e(row["id"])}" data-paper="{_e(paper_of(row))}" '
        f'data-verdict="{verdict}" data-severity="{severity}" '
        f'data-evidence="{_e(_kinds_of_evidence(row))}" data-words="{_e(words(row))}">'
        f"<td>{link(row['id'])}</td><td>{_e(row['where'])}</td>"
        f'<td class="{verdict}">{told}</td><td>{_e(_shortened(row.get("grade")))}</td></tr>'
    )


def _kinds_of_evidence(row: Row) -> str:
    """What the filter finds a claim by, with bars between: its grade, and enclosures beside it."""
    return "|".join(filter(None, (row.get("grade"), _ENCLOSED * _partly_enclosed(row))))


def _partly_enclosed(row: Row) -> bool:
    """Whether some cases are enclosures, whatever decides."""
    return bool((row.get("evidence") or {}).get("enclosed"))


def _shortened(grade: str | None) -> str:
    """A grade in two words."""
    arithmetic, _, floor = (grade or "").partition(" with a ")
    kinds = {"measured floor": ", measured", "floor by convention": ", convention"}
    return arithmetic + kinds.get(floor, "")


def _e(text: Any) -> str:
    """As text in HTML, or in a quoted attribute."""
    return html.escape(str(text))


_ENCLOSED = "some enclosed"
_FILES = ("page.css", "page.js")
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>Theorems against simulation</title>"""
_INTRODUCTION = """<h1>Theorems against simulation</h1>
<p>Each claim is checked on cases that meet its printed hypotheses, against exact flows with error
control and in exact arithmetic. The negative control is the same claim broken on purpose; the same
check must refute it. Severity: of a statement that fails, by what the paper does with it.</p>
"""
