"""The ledger as a table on the terminal, as JSON, and as one HTML page that works offline."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

from latex2mathml.converter import convert
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradflow.files import whole_file
from theory_checks.claims import Claim
from theory_checks.ledger import Entry

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
            margin(entry),
            f"{found.cases}" if found else "-",
            Text(entry.control_verdict, style="default" if entry.sound else "bold red"),
            f"{entry.seconds:.0f} s",
        )
    return result


def margin(entry: Entry) -> str:
    """Relative residual against its floor; for an inequality that is kept, its smallest slack."""
    found = entry.finding
    if found is None:
        return "-"
    if found.slack is not None and found.residual == 0:
        return f"slack {found.slack:.1e}"
    sign = "<=" if found.residual <= found.floor else ">"
    return f"{found.residual:.1e} {sign} {found.floor:.1e}"


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
    write_text(path, json.dumps(rows, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_html(entries: Sequence[Entry], path: Path, pictures: dict[str, bytes]) -> None:
    """One self-contained page: the table, and for each claim statement, evidence and picture.

    Args:
      entries: the ledger.
      path: the file to write.
      pictures: SVG or PNG images by the id or prefix of the claim they belong to.
    """
    rows = "\n".join(_row(entry) for entry in entries)
    sections = "\n".join(_section(entry, pictures) for entry in entries)
    write_text(path, _PAGE.format(rows=rows, sections=sections))


def _row(entry: Entry) -> str:
    return (
        f'<tr><td><a href="#{entry.claim.id}">{entry.claim.id}</a></td>'
        f'<td class="{entry.verdict}">{entry.verdict}</td><td>{html.escape(margin(entry))}</td>'
        f"<td>{entry.finding.cases if entry.finding else 0}</td>"
        f"<td>{entry.control_verdict}</td><td>{entry.seconds:.1f} s</td></tr>"
    )


def _section(entry: Entry, pictures: dict[str, bytes]) -> str:
    made, found = entry.claim, entry.finding
    parts = [
        f'<section id="{made.id}"><h2>{made.id} <span class="{entry.verdict}">{entry.verdict}'
        f"</span></h2><p>{html.escape(made.where)}</p>",
        formula(made.statement),
        f"<p>Margin: {html.escape(margin(entry))}. Negative control "
        f"({html.escape(made.control_text)}): {entry.control_verdict}.</p>",
        f"<p>Run again: <code>gradflow check {made.id}</code></p>",
    ]
    if found:
        parts.append(f"<p>{html.escape(found.reason)}.</p>")
        items = "".join(f"<li>{html.escape(text)}</li>" for text in found.hypotheses)
        parts.append(f"<p>Hypotheses found met on every case:</p><ul>{items}</ul>")
        if found.counterexample:
            lines = "\n".join(f"{k}: {v}" for k, v in found.counterexample.items())
            parts.append(f"<p>Counterexample</p><pre>{html.escape(lines)}</pre>")
        if found.notes:
            items = "".join(f"<li>{html.escape(note)}</li>" for note in found.notes)
            parts.append(
                f"<details><summary>{found.cases} cases, {found.points} numbers</summary>"
                f"<ul>{items}</ul></details>"
            )
    if entry.error:
        parts.append(f"<pre>{html.escape(entry.error)}</pre>")
    if made.id in pictures:
        data = base64.b64encode(pictures[made.id]).decode()
        parts.append(f'<img alt="picture of {made.id}" src="data:image/png;base64,{data}">')
    return "\n".join([*parts, "</section>"])


def formula(statement: str) -> str:
    """A LaTeX formula as MathML, which browsers draw without any script or network."""
    return f'<div class="formula">{convert(statement, display="block")}</div>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Theorems against simulation</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }}
table {{ border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; }}
td {{ font-variant-numeric: tabular-nums; }}
.holds {{ color: #00664d; }} .fails, .crashed {{ color: #a33c00; }}
.approximates {{ color: #0059a3; }} .unreachable, .inconclusive {{ color: #7a5c00; }}
section {{ border-top: 1px solid #ccc; margin-top: 2rem; }}
img {{ max-width: 100%; }} .formula {{ overflow-x: auto; padding: .4rem 0; }}
pre {{ overflow-x: auto; background: #f6f6f6; padding: .6rem; white-space: pre-wrap; }}
</style></head><body>
<h1>Theorems against simulation</h1>
<p>Each claim is checked on cases that meet its printed hypotheses, against exact flows with error
control. The negative control is the same claim broken on purpose; the same check must refute
it.</p> <table><thead><tr><th>claim</th><th>verdict</th><th>margin</th>
<th>cases</th><th>control</th><th>time</th></tr></thead><tbody>
{rows}
</tbody></table>
{sections}
</body></html>
"""
