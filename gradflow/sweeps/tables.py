"""What came out, as tables: what the paper says beside ours, and what is also seen."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from gradflow._util.tables import in_a_cell
from gradflow.sweeps.experiment import Finding

_STATED = ("the paper", "printed", "ours", "ratio", "seen here", "evidence")
_WITHOUT_NUMBERS = ("the paper", "seen here", "evidence")
_ALSO = ("also seen", "seen here", "evidence")


def findings_tables(findings: Iterable[Finding], quick: bool = False) -> list[Table]:
    """One table of what the paper says, and one of what it does not, as far as there are such.

    Args:
      findings: what came out.
      quick: of a smaller instance, which says nothing against the paper's own.
    """
    tables = []
    for columns, rows in _parts(findings, quick):
        table = Table(show_lines=True)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        tables.append(table)
    return tables


def findings_markdown(findings: Iterable[Finding], quick: bool = False) -> str:
    """The same in Markdown."""
    parts = []
    for columns, rows in _parts(findings, quick):
        lines = [columns, ("---",) * len(columns), *rows]
        parts.append("".join(f"| {' | '.join(map(in_a_cell, line))} |\n" for line in lines))
    return "\n".join(parts)


def _parts(
    findings: Iterable[Finding], quick: bool
) -> list[tuple[Sequence[str], list[Sequence[str]]]]:
    """Titles and rows of the two tables; an empty one is left out."""
    found = list(findings)
    stated: list[Sequence[str]] = [_row(one, quick) for one in found if one.stated]
    columns: Sequence[str] = _STATED
    if not any(one.printed is not None or one.ours is not None for one in found if one.stated):
        columns, stated = _WITHOUT_NUMBERS, [(row[0], *row[4:]) for row in stated]
    others = [_row(one, quick) for one in found if not one.stated]
    also: list[Sequence[str]] = [(row[0], *row[4:]) for row in others]
    parts: list[tuple[Sequence[str], list[Sequence[str]]]] = [(columns, stated), (_ALSO, also)]
    return [(columns, rows) for columns, rows in parts if rows]


def _row(one: Finding, quick: bool) -> Sequence[str]:
    ratio = f"{one.ours / one.printed:.3g}" if one.printed and one.ours is not None else ""
    return (
        one.statement,
        "" if one.printed is None else f"{one.printed:g}",
        "" if one.ours is None else f"{one.ours:.4g}",
        ratio,
        {True: "yes", False: "not at this size" if quick else "no", None: "not decided"}[one.holds],
        one.evidence,
    )
