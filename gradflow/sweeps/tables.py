"""What came out, as tables."""

from collections.abc import Iterable

from rich.table import Table

from gradflow._util.tables import in_a_cell
from gradflow.sweeps.experiment import Finding


def findings_table(findings: Iterable[Finding]) -> Table:
    """The paper's statements and numbers beside ours."""
    table = Table(show_lines=True)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for one in findings:
        table.add_row(*_cells(one))
    return table


def findings_markdown(findings: Iterable[Finding]) -> str:
    """The same as a table in Markdown."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, findings)]
    return "".join(f"| {' | '.join(map(in_a_cell, row))} |\n" for row in rows)


_COLUMNS = ("the paper", "printed", "ours", "ratio", "seen here", "evidence")


def _cells(one: Finding) -> tuple[str, ...]:
    ratio = f"{one.ours / one.printed:.3g}" if one.printed and one.ours is not None else ""
    return (
        one.statement,
        "" if one.printed is None else f"{one.printed:g}",
        "" if one.ours is None else f"{one.ours:.4g}",
        ratio,
        {True: "yes", False: "no", None: "not decided"}[one.holds],
        one.evidence,
    )
