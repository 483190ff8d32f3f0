"""The ledger as a table on the terminal and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradflow.files import whole_file
from theory_checks.claims import Claim
from theory_checks.ledger import Entry
from theory_checks.page import margin

COLOURS = {
    "holds": "green",
    "approximates": "cyan",
    "fails": "red",
    "unreachable": "magenta",
    "inconclusive": "yellow",
    "crashed": "bold red",
}


def table(entries: Sequence[Entry]) -> Table:
    """One row a claim: verdict, margin, cases, control, time."""
    result = Table(
        title="Verdicts",
        caption="margin: relative residual against its numerical floor, or smallest relative slack",
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("claim", "verdict", "margin", "cases", "control", "time"):
        justify = "right" if name in ("cases", "time") else "left"
        result.add_column(name, justify=justify, no_wrap=True)
    for entry in entries:
        found = entry.finding
        result.add_row(
            entry.claim.id,
            Text(entry.verdict, style=COLOURS[entry.verdict]),
            margin(entry.as_json()),
            f"{found.cases}" if found else "-",
            Text(entry.control_verdict, style="default" if entry.sound else "bold red"),
            f"{entry.seconds:.0f} s",
        )
    return result


def details(entries: Sequence[Entry], console: Console) -> None:
    """Below the table: counterexamples, crashes, controls that did not fail, open verdicts."""
    for entry in entries:
        found = entry.finding
        if entry.error:
            console.print(f"\n[bold red]{entry.claim.id} crashed[/]", highlight=False)
            console.print(Text(entry.error))
        if found and found.counterexample:
            console.print(f"\n[bold]{entry.claim.id}: counterexample[/]")
            for name, value in found.counterexample.items():
                console.print(Text(f"  {name}: {value}"))
        if found and found.verdict == "inconclusive":
            console.print(Text(f"\n{entry.claim.id} is inconclusive: {found.reason}"))
        if entry.control is not None and entry.control_verdict != "fails":
            console.print(
                Text(
                    f"\n{entry.claim.id}: the negative control ({entry.claim.control_text}) came "
                    f"out as {entry.control_verdict}, so the verdict is not to be trusted: "
                    f"{entry.control.reason}"
                )
            )


def listing(claims: Sequence[Claim]) -> Table:
    """All claims: id, kind, place."""
    result = Table(title="Claims", title_justify="left")
    for name in ("id", "kind", "where", "negative control"):
        result.add_column(name)
    for made in claims:
        result.add_row(made.id, made.kind, made.where, made.control_text)
    return result


def write_json(entries: Sequence[Entry], path: Path) -> None:
    """The ledger as a list of objects."""
    rows = [entry.as_json() for entry in entries]
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=2, allow_nan=False) + "\n", encoding="utf-8")
