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
