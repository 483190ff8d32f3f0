"""One claim as a page of its own: both statements, the verdict with its numbers, how to redo it."""

import base64
import html
import json
from collections.abc import Mapping
from typing import Any

from gradflow.claims.constants import MEANINGS as KNOWN
from gradflow.claims.definition import Verdict
from gradflow.claims.evidence import MEANINGS as GRADE_MEANINGS
from gradflow.claims.report.charts import charts
from gradflow.claims.report.counterexample import counterexample, heading
from gradflow.claims.report.formula import compared, formula
from gradflow.claims.report.numbers import Row, in_powers, margin_in_words
from gradflow.claims.report.summary import authors, paper_of, title
from gradflow.claims.severity import MEANINGS, severity_of

Rows = Mapping[str, Row]
"""The ledger by id."""


def entry(
    row: Row, rows: Rows, pictures: Mapping[str, bytes], before: Row | None, after: Row | None
) -> str:
    """The page of a claim.

    Args:
      row: the claim's.
      rows: of the whole ledger.
      pictures: PNG images by the id of the claim that they stand beside.
      before: the row before it in the ledger.
      after: the one after it.

    Returns:
      HTML, an article.
    """
    verdict = _e(row["verdict"])
    paper = paper_of(row)
    parts = [
        f'<article class="claim" id="{_e(row["id"])}" '
        f'data-title="{_e(row["id"])}: {_e(verdict_of(row))}">',
        _navigation(before, after),
        f'<h2>{_e(row["id"])} <span class="{verdict}">{_e(verdict_of(row))}</span></h2>',
        f'<p class="place">{_e(authors(paper))}{_cited_title(paper)}. <strong>{_e(row["where"])}'
        "</strong></p>",
        _statements(row, rows),
        *_constants(row),
        *_failure(row),
        *_counterexample(row),
        *_found(row),
        charts(row),
        *_evidence(row),
        *_conditions(row),
    ]
    if row["id"] in pictures:
        data = base64.b64encode(pictures[row["id"]]).decode()
        parts.append(f'<img alt="picture of {_e(row["id"])}" src="data:image/png;base64,{data}">')
    parts += [*_again(row), "</article>"]
    return "\n".join(part for part in parts if part)


def verdict_of(row: Row) -> str:
    """The verdict with its severity."""
    severity = severity_of(row)
    return f"{row['verdict']}: {severity}" if severity else str(row["verdict"])


def link(id: str, text: str = "") -> str:
    """A link to a claim's page."""
    return f'<a href="#{_e(id)}">{_e(text or id)}</a>'


def _navigation(before: Row | None, after: Row | None) -> str:
    links = [link(before["id"], f"← {before['id']}")] if before else []
    links += [link(after["id"], f"{after['id']} →")] if after else []
    return f'<nav><a href="#">All claims</a> {" ".join(links)}</nav>'


def _cited_title(paper: str) -> str:
    return f", <cite>{_e(title(paper))}</cite>" if title(paper) else ""


def _statements(row: Row, rows: Rows) -> str:
    """The statement; beside another form of it with what differs marked."""
    for kind, heads in (
        ("corrected", ("As printed", "What is true instead")),
        ("corrects", ("As printed", "Corrected, this page")),
        ("sharpens", ("As printed", "With better constants, this page")),
    ):
        other = rows.get(row.get(kind) or "")
        if other is None or other is row:
            continue
        pair = (row, other) if kind == "corrected" else (other, row)
        shown = compared(*(one["statement"] for one in pair))
        columns = "".join(
            f"<div><h3>{_e(head)}</h3>{drawn}"
            + (f"<p>{_e(other['where'])}: {link(other['id'])}</p>" if one is other else "")
            + "</div>"
            for head, drawn, one in zip(heads, shown, pair, strict=True)
        )
        marks = "<p class=note>Marked: what differs.</p>" if 'class="differs"' in shown[0] else ""
        return f'<div class="pair">{columns}</div>{marks}'
    text = formula(row["statement"])
    for kind, said in (
        ("corrected", "What is true instead"), ("corrects", "Corrects"), ("sharpens", "Sharpens")
    ):  # fmt: skip
        if row.get(kind):
            text += f"<p>{said}: {link(row[kind])}.</p>"
    return text


def _constants(row: Row) -> list[str]:
    """Which constants of an inequality are the best, and how that is known."""
    items = [
        f"<tr><td>{formula(one['printed'])}</td>"
        f"<td>{formula(one['best'])}</td>"
        f"<td>{_e(KNOWN[one['known']])}</td><td>{_e(one['why'])}</td></tr>"
        for one in row.get("best") or ()
    ]
    if not items:
        return []
    return [
        "<h3>Are its constants the best?</h3><table class=constants><thead><tr><th>as stated</th>"
        f"<th>best</th><th>how known</th><th>where</th></tr></thead><tbody>{''.join(items)}"
        "</tbody></table>"
    ]


def _failure(row: Row) -> list[str]:
    """Of a statement that fails: how grave that is, what stands, and why."""
    severity = severity_of(row)
    if not severity:
        return []
    meaning = MEANINGS.get(severity, "the claim says neither how grave this is nor what stands")
    parts = [f"<p><b>Severity:</b> {_e(severity)}, {_e(meaning)}.</p>"]
    if row.get("survives"):
        parts.append(f"<p><b>What stands:</b> {_e(row['survives'])}</p>")
    if row.get("readings"):
        items = "".join(f"<li>{_e(k)}: {_e(v)}</li>" for k, v in row["readings"].items())
        parts.append(f"<p><b>The verdict hangs on the reading:</b></p><ul>{items}</ul>")
    if row.get("flaw"):
        parts.append(f"<p><b>Where the argument breaks:</b> {_e(row['flaw'])}</p>")
    return parts


def _counterexample(row: Row) -> list[str]:
    """The smallest one that was found, in plain numbers, and a script that redoes one."""
    if not row["counterexample"]:
        return []
    told = counterexample(row)
    items = "".join(f"<dt>{_e(k)}</dt><dd>{_e(in_powers(v))}</dd>" for k, v in told.items())
    parts = [f"<h3>{_e(heading(row))}</h3><dl>{items}</dl>"]
    if row.get("script"):
        parts.append(
            "<p>One as a script. It needs NumPy and the standard library alone:</p>"
            f'<pre class="copy script">{_e(row["script"].strip())}</pre>'
        )
    return parts


def _found(row: Row) -> list[str]:
    """What the check found, and how the claim that was broken on purpose came out."""
    control = "refuted" if row["control"] == Verdict.FAILS else f"not refuted ({row['control']})"
    return [
        f"<h3>What was found</h3><p>{_e(_sentence(row['reason']))} {_e(margin_in_words(row))}</p>",
        f"<p><b>Control: {_e(control)}.</b> The same check of the claim broken on purpose: "
        f"{_e(row['control_text'])}{_e(_judged_on(row))}.</p>",
    ]


def _judged_on(row: Row) -> str:
    """What the control of a statement that fails was judged on."""
    if row.get("spared") is None:
        return ""
    if row["spared"]:
        return f", on the {row['spared']} cases where the printed statement is kept"
    return " (the printed statement is violated on every case, so this adds nothing)"


def _evidence(row: Row) -> list[str]:
    """What the verdict rests on."""
    if not row.get("grade"):
        return []
    counts = ", ".join(f"{n} {grade}" for grade, n in (row.get("evidence") or {}).items())
    parts = [
        f"<p><b>Evidence:</b> {_e(row['grade'])}, {_e(GRADE_MEANINGS[row['grade']])}. "
        f"Cases by evidence: {_e(counts)}.</p>"
    ]
    if row.get("proofs"):
        items = "".join(f"<li>{_e(text)}</li>" for text in row["proofs"])
        parts.append(f"<details><summary>What was proved</summary><ul>{items}</ul></details>")
    return parts


def _conditions(row: Row) -> list[str]:
    """Hypotheses with what was measured of them, floors by convention, and the cases' notes."""
    parts = []
    if row["hypotheses"]:
        items = "".join(f"<li>{_e(in_powers(text))}</li>" for text in row["hypotheses"])
        unmet = row["verdict"] == Verdict.UNREACHABLE
        head = "Hypotheses" if unmet else "Hypotheses, met on every case"
        parts.append(f"<h3>{head}</h3><ul>{items}</ul>")
    if row.get("conventions"):
        items = "".join(f"<li>{_e(text)}</li>" for text in row["conventions"])
        parts.append(f"<p>Floors by convention, not measured:</p><ul>{items}</ul>")
    if row["notes"]:
        items = "".join(f"<li>{_e(in_powers(note))}</li>" for note in row["notes"])
        parts.append(
            f"<details><summary>{_e(row['cases'])} cases, {_e(row['points'])} numbers: notes"
            f"</summary><ul>{items}</ul></details>"
        )
    return parts


def _again(row: Row) -> list[str]:
    """How to redo and to cite it, and the entry as it is stored."""
    again = row.get("again") or f"gradflow check {row['id']} --seed 0"
    parts = [
        f'<h3>Again</h3><pre class="copy">{_e(again)}</pre>'
        f"<p>{_e(row['cases'])} cases, {_e(row['points'])} numbers, {row['seconds']:.1f} s. "
        f"Kind of statement: {_e(row['kind'])}.</p>"
    ]
    if row.get("cite"):
        parts.append(
            f"<p>To cite (<code>gradflow cite {_e(row['id'])}</code>): "
            f"{_e(' '.join(row['cite']))}</p>"
        )
    stored = json.dumps(
        {key: value for key, value in row.items() if key not in ("outline", "script")},
        indent=1,
        ensure_ascii=False,
    )
    parts.append(
        f'<details><summary>As JSON</summary><pre class="copy">{_e(stored)}</pre></details>'
    )
    return parts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _e(text: Any) -> str:
    """As text in HTML, or in a quoted attribute."""
    return html.escape(str(text))
