"""Pages from ledgers that others wrote: every text stays a text, and what is no ledger is named."""

import json
from html.parser import HTMLParser

import pytest

from gradflow.claims.report import page, stored, summary
from gradflow.claims.report.formula import formula
from gradflow.claims.report.stored import read_ledger
from gradflow.sweeps.experiment import Finding
from gradflow.sweeps.tables import findings_markdown
from tests.gradflow.claims.report.test_page import PIXEL, ROW

EVIL = "</script><script>bad()</script>\"'><img src=x onerror=bad()>"
TEXTS = (
    "id",
    "kind",
    "where",
    "reason",
    "control_text",
    "corrects",
    "corrected",
    "flaw",
    "error",
    "survives",
    "script",
    "again",
)
HOSTILE = {name: f"{name}{EVIL}" for name in (*TEXTS, "control_reason")} | {
    "verdict": "fails",
    "statement": rf"\text{{{EVIL}}} \href{{javascript:bad()}}{{x}}",
    "hypotheses": [EVIL],
    "notes": [EVIL],
    "counterexample": {EVIL: EVIL, "deep": [[EVIL]]},
    "readings": {EVIL: EVIL},
    "best": [{"printed": EVIL, "best": rf"\href{{{EVIL}}}{{x}}", "known": "found", "why": EVIL}],
    "spared": 1,
    "cite": [EVIL],
    "outline": [
        {"name": EVIL, "what": "residual", "counts": True, "violation": 1.0, "floor": 1e-9},
        {
            "name": EVIL,
            "what": "slack",
            "counts": False,
            "violation": 1.0,
            "floor": 0.0,
            "slack": [-1.0, 0.0, 1e299],
            "along": EVIL,
            "at": [1, 2, 3],
            "course": [1.0, 0.5, -1e299],
        },
        {
            "name": EVIL,
            "what": "proof",
            "counts": True,
            "violation": 0.0,
            "floor": 0.0,
            "outcome": "proved",
        },
    ],
}


class Reader(HTMLParser):
    """What a browser would find: tags, attributes, and what is inside scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts.append(data)


def written(rows, tmp_path, pictures=None):
    page.write_page(rows, tmp_path / "a.html", pictures or {})
    return (tmp_path / "a.html").read_text(encoding="utf-8")


def harmless(text):
    found = Reader(text)
    assert found.tags.count("script") == 1 and "bad()" not in found.scripts[0]
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value for name, value in found.attributes if name in ("href", "src")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert all(tag != "img" for tag in found.tags[:-1])
    return found


def test_no_text_of_a_ledger_becomes_a_script(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([ROW, {**ROW, **HOSTILE}]))
    rows = read_ledger(tmp_path / "a.json")
    found = harmless(written(rows, tmp_path))
    policy = next(v for n, v in found.attributes if n == "content" and v and "default-src" in v)
    assert "default-src 'none'" in policy and "img-src data:" in policy


@pytest.mark.parametrize("name", HOSTILE)
def test_no_field_of_a_ledger_becomes_a_script(name, tmp_path):
    text = written([{**ROW, "verdict": "fails", name: HOSTILE[name]}], tmp_path)
    hidden = name in ("verdict", "spared", "script")
    assert ("bad()" in text) is not hidden
    harmless(text)


def test_a_picture_of_a_hostile_id_is_harmless(tmp_path):
    text = written([{**ROW, "id": EVIL}], tmp_path, {EVIL: PIXEL})
    assert Reader(text).tags.count("script") == 1 and Reader(text).tags.count("img") == 1


def test_a_summary_keeps_its_cells_and_its_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{summary.BEGIN}\n{summary.END}\nafter\n")
    ids = (f"a|b\n{summary.END}{EVIL}", f"{summary.BEGIN}x")
    for _ in range(2):
        summary.write_summary([{**ROW, "id": id} for id in ids], readme)
    text = readme.read_text()
    assert text.count(summary.BEGIN) == text.count(summary.END) == 1 and text.endswith("after\n")
    assert "<script>" not in text and "<img" not in text and r"a\|b" in text


def test_findings_in_markdown_keep_their_cells():
    text = findings_markdown([Finding(f"a | b\nc {EVIL}", True, "loss < 1")])
    assert len(text.splitlines()) == 3 and "<script>" not in text and "<img" not in text
    assert r"a \| b c" in text and "loss < 1" in text


@pytest.mark.parametrize(
    "statement", [r"\left(", r"\begin{matrix}", r"}", r"\frac", "{" * 5000, "", "a" * 30_000, EVIL]
)
def test_bad_latex_is_shown_as_text(statement, tmp_path):
    text = written([{**ROW, "statement": statement}], tmp_path)
    harmless(text)
    if statement == r"\left(":
        assert r'<pre class="formula">\left(</pre>' in text


def test_links_and_styles_of_a_formula_are_left_out():
    for statement in (r"\href{javascript:bad()}{x}", r"\style{position:fixed}{x}", r"\class{a}{x}"):
        assert "<mi>x</mi>" in formula(statement)
        assert not set(dict(Reader(formula(statement)).attributes)) & {"href", "style"}


SHOWN = {"name": "x", "what": "residual", "counts": True, "violation": 1.0, "floor": None}
WRONG = {
    "id": ["", 1, None, "x" * 201],
    "verdict": ["won", None, ["holds"]],
    "control": ["lost", 1],
    "kind": [1, None],
    "statement": [None, ["x"]],
    "cases": ["2", -1, 1.5, True, None],
    "residual": ["0", True, 10**400],
    "seconds": [None, "1", 10**400],
    "hypotheses": ["text", [1], None],
    "notes": [{"a": 1}],
    "counterexample": [[1], "x", 3],
    "spared": [-1, "all"],
    "corrects": [1],
    "flaw": [["x"]],
    "severity": ["grave", 1],
    "survives": [["x"]],
    "readings": [["x"], {"x": 1}],
    "best": [["x"], {"printed": "x"}, [{"printed": "x"}]],
    "script": [1, ["x"]],
    "outline": [
        {},
        [1],
        [SHOWN | {"what": "flow"}],
        [SHOWN | {"floor": "1"}],
        [SHOWN] * 100,
        [SHOWN | {"counts": 1}],
        [SHOWN | {"what": "slack"}],
        [SHOWN | {"what": "proof"}],
        [SHOWN | {"course": [1.0], "at": [], "along": "time"}],
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_of_another_kind_is_refused_by_name(name, tmp_path):
    for value in WRONG[name]:
        (tmp_path / "a.json").write_text(json.dumps([ROW, {**ROW, "id": "b.c", name: value}]))
        with pytest.raises(ValueError, match=rf"no ledger .*: row 2 has {name} = .{{1,60}}, whic"):
            read_ledger(tmp_path / "a.json")


@pytest.mark.parametrize("name", sorted(set(ROW) - {"corrects", "corrected", "flaw", "cite"}))
def test_a_field_that_is_missing_is_named(name, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{k: v for k, v in ROW.items() if k != name}]))
    with pytest.raises(ValueError, match=f"row 1 has no {name}"):
        read_ledger(tmp_path / "a.json")


def test_two_rows_of_one_id_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([ROW, ROW]))
    with pytest.raises(ValueError, match="row 2 has the id of another one"):
        read_ledger(tmp_path / "a.json")


def test_a_ledger_without_end_or_bottom_is_refused(tmp_path, monkeypatch):
    deep = '[{"counterexample": ' + '{"a": ' * 50_000 + "1" + "}" * 50_000 + "}]"
    (tmp_path / "a.json").write_text(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_ledger(tmp_path / "a.json")
    monkeypatch.setattr(stored, "_LARGEST", 1 << 20)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)  # a file with a hole, which takes no room
    with pytest.raises(ValueError, match="it has more than 1 MB"):
        read_ledger(tmp_path / "a.json")
