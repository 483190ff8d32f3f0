"""The ledger as a table on the terminal and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradflow._util.files import whole_file
from gradflow.claims.report.counterexample import counterexample, heading
from gradflow.claims.report.numbers import Row, margin
from gradflow.claims.severity import severity_of, unclassified

UNCLASSIFIED_MEANS = (
    "but its claim does not say how grave that is, nor what of the conclusion stands, so it is not "
    "counted; give it a flaw, a severity (misprint, missing hypothesis, constant, substance) and "
    "what survives."
)
COLOURS = {
    "holds": "green",
    "approximates": "cyan",
    "fails": "red",
    "unreachable": "magenta",
    "inconclusive": "yellow",
    "crashed": "bold red",
}


def table(rows: Sequence[Row], width: int) -> Table:
    """One row a claim: verdict with its severity, evidence, control, time, margin.

    Args:
      rows: the ledger's.
      width: of the terminal. Nothing is cut: where margins have no room they are left out.
    """
    cells = [_cells(row) for row in rows]
    names = ("claim", "verdict", "evidence", "control", "time", "margin")
    columns = zip(names, *cells, strict=True)
    widths = [max(len(str(cell)) for cell in column) + 1 for column in columns]
    shown = len(names) if sum(widths) < width else len(names) - 1
    what = "margin: relative residual against its numerical floor, or smallest relative slack; "
    result = Table(
        title="Verdicts",
        caption=what * (shown == len(names)) + "float64*: with a floor by convention",
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    for name in names[:shown]:
        justify = "right" if name == "time" else "left"
        result.add_column(name, justify=justify, no_wrap=name != "claim", overflow="fold")
    for row in cells:
        result.add_row(*row[:shown])
    return result


def _cells(row: Row) -> list[str | Text]:
    severity = severity_of(row).removeprefix("missing ")
    verdict = row["verdict"] + (f", {severity}" if severity else "")
    return [
        row["id"],
        Text(verdict, style=COLOURS[row["verdict"]]),
        _short(row.get("grade")),
        Text(row["control"], style="default" if row["control"] == "fails" else "bold red"),
        f"{row['seconds']:.0f} s",
        margin(row),
    ]


def _short(grade: str | None) -> str:
    """A grade in one word."""
    if not grade:
        return ""
    return grade.partition(" with")[0] + ("*" if grade.endswith("by convention") else "")


def details(rows: Sequence[Row], console: Console) -> None:
    """Below the table: counterexamples, crashes, controls that did not fail, open verdicts."""
    for row in rows:
        id = row["id"]
        if row["error"]:
            console.print(Text(f"\n{id} crashed", style="bold red"))
            console.print(Text(row["error"]))
        if row["verdict"] == "fails" and not unclassified(row):
            console.print(Text(f"\n{id} fails ({severity_of(row)})", style="bold"))
            console.print(Text(f"  what stands: {row['survives']}"))
            for reading, outcome in (row.get("readings") or {}).items():
                console.print(Text(f"  read as {reading}: {outcome}"))
        if unclassified(row):
            console.print(Text(f"\n{id} fails: {UNCLASSIFIED_MEANS}", style="bold red"))
        if row["counterexample"]:
            console.print(Text(f"\n{id}: {heading(row).lower()}", style="bold"))
            for name, value in counterexample(row).items():
                console.print(Text(f"  {name}: {value}"))
        if row["verdict"] == "inconclusive":
            console.print(Text(f"\n{id} is inconclusive: {row['reason']}"))
        if row["control"] not in ("fails", "crashed"):
            console.print(
                Text(
                    f"\n{id}: the negative control ({row['control_text']}) came out as "
                    f"{row['control']}, so the verdict is not to be trusted: "
                    f"{row['control_reason']}"
                )
            )


def sound(row: Row) -> bool:
    """Whether the check ran, its control failed, as it must, and a failure says how grave it is."""
    return row["verdict"] != "crashed" and row["control"] == "fails" and not unclassified(row)


def write_json(rows: Sequence[Row], path: Path) -> None:
    """The ledger as a list of objects."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=2, allow_nan=False) + "\n", encoding="utf-8")
