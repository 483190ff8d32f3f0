"""The table of verdicts by paper, as Markdown and as HTML.

It is made from the ledger's JSON rows, so that a stored ledger gives the same.
"""

import html
from collections.abc import Sequence
from pathlib import Path

from gradflow._util.files import around, replace_between
from gradflow._util.tables import in_a_cell
from gradflow.claims.definition import Verdict
from gradflow.claims.registry import load_papers
from gradflow.claims.report.numbers import Row
from gradflow.claims.severity import MEANINGS, UNCLASSIFIED, severity_of

VERDICTS = [*(str(verdict) for verdict in Verdict), "crashed"]
_COLUMNS = [
    column
    for verdict in VERDICTS
    for column in (
        [f"fails: {severity}" for severity in (*MEANINGS, UNCLASSIFIED)]
        if verdict == Verdict.FAILS
        else [verdict]
    )
]
BEGIN, END = "<!-- verdicts: begin -->", "<!-- verdicts: end -->"


def write_summary(rows: Sequence[Row], page: Path) -> None:
    """Replace what stands between the marks of a Markdown page by the table of verdicts.

    Raises:
      ValueError: if the page lacks a mark.
    """
    head, *body = _counts(rows)
    rule = [":--", *["--:"] * (len(head) - 1)]
    lines = [f"| {' | '.join(map(in_a_cell, cells))} |" for cells in (head, rule, *body)]
    replace_between(page, BEGIN, END, "\n".join(lines))


def see_summary(page: Path) -> None:
    """See that a Markdown page has the marks between which the table goes.

    Raises:
      ValueError: if it lacks one.
      OSError: if there is no such page.
    """
    try:
        around(page, BEGIN, END)
    except UnicodeDecodeError as error:
        raise ValueError(f"{page} is no text in UTF-8 ({error}).") from error


def summary_html(rows: Sequence[Row]) -> str:
    """The table of verdicts."""
    head, *body = _counts(rows)
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in body
    )
    return f'<table class="summary"><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>'


def paper_of(row: Row) -> str:
    """The part of the id before the first dot."""
    return str(row["id"]).split(".")[0]


def authors(paper: str) -> str:
    """Who wrote a paper and when; its key, if it is not one of ours."""
    known = load_papers()
    return known[paper].authors if paper in known else paper


def title(paper: str) -> str:
    """The title of a paper of ours."""
    known = load_papers()
    return known[paper].title if paper in known else ""


def _column(row: Row) -> str:
    """The column of the summary that counts a row."""
    return f"fails: {severity_of(row)}" if severity_of(row) else row["verdict"]


def _counts(rows: Sequence[Row]) -> list[list[str]]:
    """A head and a line a paper: how many printed claims have which verdict; corrected ones.

    Those that fail are counted by severity.
    """
    printed = [row for row in rows if not row.get("corrects") and not row.get("sharpens")]
    found = {_column(row) for row in printed}
    shown = [column for column in _COLUMNS if column in found]
    sharp = ["sharpened"] if any(row.get("sharpens") for row in rows) else []
    table = [["paper", "claims", *shown, "corrected", *sharp]]
    for paper in dict.fromkeys(paper_of(row) for row in rows):
        mine = [row for row in printed if paper_of(row) == paper]
        corrected = sum(paper_of(row) == paper and bool(row.get("corrects")) for row in rows)
        counts = [sum(_column(row) == column for row in mine) for column in shown]
        sharpened = sum(paper_of(row) == paper and bool(row.get("sharpens")) for row in rows)
        numbers = [str(n) for n in (len(mine), *counts, corrected, sharpened)]
        table.append([authors(paper), *numbers[: len(table[0]) - 1]])
    return table
