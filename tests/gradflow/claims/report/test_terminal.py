"""The ledger's table on terminals of any width."""

import io

import pytest
from rich.console import Console

from gradflow.claims.report import terminal

LONG = "arora2019.eq11.asymptote.corrected"
ROWS = [
    {
        "id": id, "verdict": verdict, "severity": severity, "survives": "all", "grade": grade,
        "control": "fails", "seconds": 245.0, "residual": 1e-12, "floor": 3e-10, "slack": None,
    }
    for id, verdict, severity, grade in [
        (LONG, "fails", "missing hypothesis", "50 digits"),
        ("limit.dual", "holds", None, "float64 with a floor by convention"),
    ]
]  # fmt: skip


def shown(width):
    file = io.StringIO()
    Console(width=width, file=file).print(terminal.table(ROWS, width))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut(width):
    first, second = (line for line in shown(width).splitlines() if "245 s" in line)
    for words in (LONG, "fails, hypothesis", "50 digits"):
        assert words in first
    assert "float64*" in second and "\u2026" not in shown(width)


def test_margins_are_left_out_where_they_have_no_room():
    assert "1.0e-12 \u2264 3.0e-10" in shown(120) and "margin:" in shown(120)
    assert "1.0e-12" not in shown(80) and "margin" not in shown(80)


def test_a_counterexample_is_told_in_words():
    file = io.StringIO()
    found = {"W": [[1, 0], ["a/b"]], "violation": 0.5, "floor": 1e-16, "confirmed": True,
             "case": "2x2", "confirmation": "det W = 1"}  # fmt: skip
    row = ROWS[0] | {"error": "", "readings": None, "counterexample": found, "kind": "identity"}
    terminal.details([row], Console(width=120, file=file))
    told = file.getvalue()
    assert f"{LONG}: counterexample, confirmed outside floating point\n  Case: 2x2\n" in told
    assert "  By hand: det W = 1\n" in told and "  W: [[1, 0], [a/b]]\n" in told
    assert "  Relative violation: 0.5, far above the numerical floor\n" in told
