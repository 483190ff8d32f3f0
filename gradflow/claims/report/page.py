"""The ledger as one HTML page that works offline, and its summary as a Markdown table.

Both are made from the ledger's JSON rows, so that a stored ledger gives the same page.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradflow._util.files import around, replace_between, whole_file
from gradflow._util.tables import in_a_cell
from gradflow.claims.definition import Verdict
from gradflow.claims.evidence import MEANINGS as GRADE_MEANINGS
from gradflow.claims.registry import load_papers
from gradflow.claims.report.formula import formula
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

Row = Mapping[str, Any]
"""A claim's entry, as `Entry.as_json` gives it."""


def write_page(rows: Sequence[Row], path: Path, pictures: Mapping[str, bytes]) -> None:
    """One self-contained page: the ledger with filters, then each claim with all its evidence.

    Args:
      rows: the ledger.
      path: the file to write.
      pictures: PNG images by the id of the claim that they stand beside.
    """
    papers = list(dict.fromkeys(paper_of(row) for row in rows))
    verdicts = [v for v in VERDICTS if any(row["verdict"] == v for row in rows)]
    text = _PAGE.format(
        summary=_summary_html(rows),
        papers="".join(f'<option value="{_e(p)}">{_e(authors(p))}</option>' for p in papers),
        severities="".join(f"<option>{_e(s)}</option>" for s in (*MEANINGS, UNCLASSIFIED)),
        verdicts="".join(f"<option>{_e(v)}</option>" for v in verdicts),
        rows="\n".join(_row(row) for row in rows),
        sections="\n".join(_section(row, pictures) for row in rows),
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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


def margin(row: Row) -> str:
    """Relative residual against its floor; for an inequality that is kept, its smallest slack."""
    residual, floor, slack = row["residual"], row["floor"], row["slack"]
    if residual is None or floor is None:
        return "-"
    if slack is not None and residual == 0:
        return f"slack {slack:.1e}"
    return f"{residual:.1e} {'≤' if residual <= floor else '>'} {floor:.1e}"


def paper_of(row: Row) -> str:
    """The part of the id before the first dot."""
    return str(row["id"]).split(".")[0]


def authors(paper: str) -> str:
    """Who wrote a paper and when; its key, if it is not one of ours."""
    known = load_papers()
    return known[paper].authors if paper in known else paper


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


def _e(text: Any) -> str:
    """As text in HTML, or in a quoted attribute."""
    return html.escape(str(text))


def _summary_html(rows: Sequence[Row]) -> str:
    head, *body = _counts(rows)
    cells = "".join(f"<th>{_e(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{_e(cell)}</td>' for cell in line)}</tr>" for line in body)
    return f'<table class="summary"><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>'


def _row(row: Row) -> str:
    return (
        f'<tr data-paper="{_e(paper_of(row))}" data-verdict="{_e(row["verdict"])}" '
        f'data-severity="{_e(severity_of(row))}">'
        f"<td>{_link(row['id'])}</td>"
        f'<td class="{_e(row["verdict"])}">{_e(row["verdict"])}</td><td>{_e(severity_of(row))}</td>'
        f"<td>{_e(row.get('grade') or '')}</td>"
        f"<td>{_e(margin(row))}</td><td>{_e(row['cases'])}</td>"
        f"<td>{_e(row['control'])}</td><td>{row['seconds']:.1f} s</td></tr>"
    )


def _section(row: Row, pictures: Mapping[str, bytes]) -> str:
    id, verdict = _e(row["id"]), _e(row["verdict"])
    parts = [
        f'<section id="{id}" data-paper="{_e(paper_of(row))}" data-verdict="{verdict}" '
        f'data-severity="{_e(severity_of(row))}">'
        f'<h2>{id} <span class="{verdict}">{verdict}</span></h2>'
        f"<p>{_e(row['where'])}. Kind: {_e(row['kind'])}.</p>",
        formula(row["statement"]),
    ]
    if row.get("sharpens"):
        parts.append(f"<p>Sharpens {_link(row['sharpens'])}.</p>")
    if row.get("corrects"):
        parts.append(f"<p>Corrects {_link(row['corrects'])}.</p>")
    parts += _failure(row)
    if row.get("corrected"):
        parts.append(f"<p>What is true instead: {_link(row['corrected'])}.</p>")
    parts.append(f"<p>{_e(_sentence(row['reason']))}</p>")
    if row["counterexample"]:
        lines = "\n".join(f"{k}: {v}" for k, v in row["counterexample"].items())
        parts.append(f"<p>Counterexample</p><pre>{_e(lines)}</pre>")
    parts.append(
        f"<p>Margin: {_e(margin(row))}. Negative control "
        f"({_e(row['control_text'])}): {_e(row['control'])}{_e(_judged_on(row))}.</p>"
    )
    parts += _evidence(row)
    if row["hypotheses"]:
        items = "".join(f"<li>{_e(text)}</li>" for text in row["hypotheses"])
        unmet = row["verdict"] == Verdict.UNREACHABLE
        head = "Hypotheses" if unmet else "Hypotheses, met on every case"
        parts.append(f"<p>{head}:</p><ul>{items}</ul>")
    if row.get("conventions"):
        items = "".join(f"<li>{html.escape(text)}</li>" for text in row["conventions"])
        parts.append(f"<p>Floors by convention, not measured:</p><ul>{items}</ul>")
    if row["notes"]:
        items = "".join(f"<li>{_e(note)}</li>" for note in row["notes"])
        parts.append(
            f"<details><summary>{_e(row['cases'])} cases, {_e(row['points'])} numbers</summary>"
            f"<ul>{items}</ul></details>"
        )
    if row["id"] in pictures:
        data = base64.b64encode(pictures[row["id"]]).decode()
        parts.append(f'<img alt="picture of {id}" src="data:image/png;base64,{data}">')
    if row.get("cite"):
        parts.append(f"<p>To cite: {_e(' '.join(row['cite']))}</p>")
    parts.append(f"<p>Run again: <code>gradflow check {id}</code></p></section>")
    return "\n".join(parts)


def _failure(row: Row) -> list[str]:
    """Of a statement that fails: how grave that is, what stands, and why."""
    severity = severity_of(row)
    if not severity:
        return []
    meaning = MEANINGS.get(severity, "the claim says neither how grave this is nor what stands")
    parts = [f"<p>Severity: <strong>{_e(severity)}</strong> ({_e(meaning)}).</p>"]
    if row.get("survives"):
        parts.append(f"<p>What stands: {_e(row['survives'])}</p>")
    if row.get("readings"):
        items = "".join(f"<li>{_e(k)}: {_e(v)}</li>" for k, v in row["readings"].items())
        parts.append(f"<p>The verdict hangs on the reading:</p><ul>{items}</ul>")
    if row.get("flaw"):
        parts.append(f"<p>Where the argument breaks: {_e(row['flaw'])}</p>")
    return parts


def _evidence(row: Row) -> list[str]:
    """What the verdict rests on."""
    if not row.get("grade"):
        return []
    counts = ", ".join(f"{n} {grade}" for grade, n in (row.get("evidence") or {}).items())
    parts = [
        f"<p>Evidence: <strong>{_e(row['grade'])}</strong> ({_e(GRADE_MEANINGS[row['grade']])}). "
        f"Cases by evidence: {_e(counts)}.</p>"
    ]
    if row.get("proofs"):
        items = "".join(f"<li>{_e(text)}</li>" for text in row["proofs"])
        parts.append(f"<details><summary>What was proved</summary><ul>{items}</ul></details>")
    return parts


def _judged_on(row: Row) -> str:
    """What the control of a statement that fails was judged on."""
    if row.get("spared") is None:
        return ""
    if row["spared"]:
        return f", on the {row['spared']} cases where the printed statement is kept"
    return " (the printed statement is violated on every case, so this adds nothing)"


def _link(id: str) -> str:
    return f'<a href="#{_e(id)}">{_e(id)}</a>'


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>Theorems against simulation</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }}
table {{ border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; }}
td {{ font-variant-numeric: tabular-nums; }} .summary td + td, .summary th + th
{{ text-align: right; }}
.holds {{ color: #00664d; }} .fails, .crashed {{ color: #a33c00; }}
.approximates {{ color: #0059a3; }} .unreachable, .inconclusive {{ color: #7a5c00; }}
section {{ border-top: 1px solid #ccc; margin-top: 2rem; }} h2 {{ overflow-wrap: anywhere; }}
img {{ max-width: 100%; }} .formula {{ overflow-x: auto; padding: .4rem 0; }}
pre {{ overflow-x: auto; background: #f6f6f6; padding: .6rem; white-space: pre-wrap;
overflow-wrap: anywhere; }}
form {{ display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }}
select, input {{ font: inherit; padding: .3rem; max-width: 100%; }} [hidden] {{ display: none; }}
li {{ overflow-wrap: anywhere; }} td:nth-child(5):not(.summary *) {{ white-space: nowrap; }}
</style></head><body>
<h1>Theorems against simulation</h1>
<p>Each claim is checked on cases that meet its printed hypotheses, against exact flows with error
control and in exact arithmetic. The negative control is the same claim broken on purpose; the same
check must refute it. Margin: the largest relative residual against its numerical floor, or the
smallest relative slack. Severity: of a statement that fails, by what the paper does with it.</p>
{summary}
<form>
<select id="paper" aria-label="paper"><option value="">all papers</option>{papers}</select>
<select id="verdict" aria-label="verdict"><option value="">all verdicts</option>{verdicts}</select>
<select id="severity" aria-label="severity"><option value="">all severities</option>{severities}
</select>
<input id="words" type="search" placeholder="find" aria-label="find">
<output id="count"></output>
</form>
<table><thead><tr><th>claim</th><th>verdict</th><th>severity</th><th>evidence</th><th>margin</th>
<th>cases</th><th>control</th><th>time</th></tr></thead><tbody>
{rows}
</tbody></table>
{sections}
<script>
const choice = id => document.getElementById(id);
const all = [...document.querySelectorAll("[data-paper]")];
function filter() {{
  const words = choice("words").value.toLowerCase();
  let count = 0;
  for (const item of all) {{
    const text = (item.id || item.cells[0].textContent).toLowerCase();
    item.hidden = (choice("paper").value && item.dataset.paper !== choice("paper").value)
      || (choice("severity").value && item.dataset.severity !== choice("severity").value)
      || (choice("verdict").value && item.dataset.verdict !== choice("verdict").value)
      || !text.includes(words);
    count += !item.hidden && item.tagName === "TR";
  }}
  choice("count").textContent = count + " claims";
}}
for (const [name, value] of new URLSearchParams(location.search))
  if (choice(name)) choice(name).value = value;
for (const id of ["paper", "verdict", "severity", "words"])
  choice(id).addEventListener("input", filter);
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
addEventListener("hashchange", () => {{
  const aim = document.getElementById(location.hash.slice(1));
  if (aim && aim.hidden) {{
    for (const id of ["paper", "verdict", "severity", "words"]) choice(id).value = "";
    filter(); aim.scrollIntoView(); }}
}});
filter();
</script>
</body></html>
"""
