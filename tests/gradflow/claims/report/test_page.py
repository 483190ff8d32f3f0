import re
import shutil
import subprocess

import pytest

from gradflow._util.files import replace_between
from gradflow.claims.report import page, summary

ROW = {
    "id": "arora2019.a", "verdict": "holds", "kind": "identity", "statement": r"a^{1/2} = b",
    "where": "Theorem 1", "cases": 2, "points": 5, "residual": 1e-12, "floor": 1e-10,
    "slack": None, "reason": "within the floor everywhere", "hypotheses": ["balanced start"],
    "notes": ["2x2: fine"], "counterexample": None, "control": "fails",
    "control_text": "a <sign>", "corrects": None, "corrected": None, "flaw": "", "seconds": 1.0,
    "cite": ["We 2026."],
}  # fmt: skip
ROWS = [
    {**ROW, "grade": "proved", "evidence": {"proved": 1, "enclosed": 2}},
    {
        **ROW, "id": "arora2019.b", "verdict": "fails", "corrected": "arora2019.b.corrected",
        "flaw": "A factor is lost.", "severity": "constant", "survives": "The order.",
        "readings": {"any x": "fails"}, "residual": 0.5,
        "counterexample": {"W": "[[1, 0], [0, 2]]", "violation": 0.5, "floor": 1e-16},
        "script": "print(1 / 3)", "statement": r"a^{1/2} = c", "where": "Lemma 5",
    },
    {**ROW, "id": "arora2019.d", "verdict": "fails"},
    {**ROW, "id": "arora2019.b.corrected", "corrects": "arora2019.b"},
    {**ROW, "id": "razin2020.c", "verdict": "unreachable", "residual": None, "floor": None},
]  # fmt: skip
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000a49444154789c6360000002000154a24f5d0000000049454e44ae426082"
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "page.html"
    page.write_page(ROWS, path, {"arora2019.a": PIXEL})
    return path


def test_the_page_has_everything_and_needs_no_network(file):
    text = file.read_text()
    for wanted in ("<math", "A factor is lost.", "What stands:</b> The order.",
                   "<li>any x: fails</li>", "Severity:</b> constant", "Severity:</b> unclassified",
                   "[[1, 0], [0, 2]]", "a &lt;sign&gt;", "Control: refuted.", "far above",
                   'href="#arora2019.b.corrected"', "gradflow check razin2020.c --seed 0",
                   "data:image/png", "1.0 × 10⁻¹²", "balanced start", "gradflow cite arora2019.a",
                   "As JSON", "print(1 / 3)"):  # fmt: skip
        assert wanted in text
    assert "://" not in text.replace("http://www.w3.org", "")


def drawn(file, query=""):
    """The page's document after its script has run, in a browser without a network."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
         "--host-resolver-rules=MAP * 127.0.0.1", f"--user-data-dir={file.parent / 'profile'}",
         "--dump-dom", f"{file.as_uri()}{query}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 5),
        ("?paper=arora2019", 4),
        ("?verdict=fails", 2),
        ("?severity=constant", 1),
        ("?paper=razin2020&words=nowhere", 0),
        ("?evidence=proved", 1),
        ("?evidence=some+enclosed", 1),
        ("?verdict=nowhere&evidence=enclosed", 5),  # no choices of this page
    ],
)
def test_the_filters_work_in_a_browser(file, query, count):
    assert f">{count} claim{'s' * (count != 1)}</output>" in drawn(file, query)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_table_of_verdicts_makes_way_for_what_was_looked_for(file):
    closed = '<details id="counts">'
    assert closed in drawn(file, "?verdict=fails") and closed not in drawn(file, "?verdict=none")
    assert '<details id="counts" open' in file.read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_claim_that_the_address_names(file):
    text = drawn(file, "#arora2019.b")
    assert "<title>arora2019.b: fails: constant</title>" in text
    assert '<main id="index" hidden' in text
    assert (
        len(re.findall(r'<article class="claim" id="[^"]*" data-title="[^"]*" hidden', text)) == 4
    )


def test_the_summary_counts_printed_claims(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{summary.BEGIN}\nprevious\n{summary.END}\nafter\n")
    summary.write_summary(ROWS, readme)
    text = readme.read_text()
    heads = "holds | fails: constant | fails: unclassified | unreachable"
    assert f"| paper | claims | {heads} | corrected |" in text
    assert "| Arora, Cohen, Hu and Luo 2019 | 3 | 1 | 1 | 1 | 0 | 1 |" in text
    assert text.startswith("before") and text.endswith("after\n") and "previous" not in text


def test_a_page_without_marks_is_refused(tmp_path):
    (tmp_path / "a.md").write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines"):
        replace_between(tmp_path / "a.md", "<a>", "</a>", "text")
