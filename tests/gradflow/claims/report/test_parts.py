"""What a claim's page is made of: formulas with what differs, pictures, numbers, words to find."""

import re
from xml.etree import ElementTree

import pytest

from gradflow.claims.report.charts import charts, labels
from gradflow.claims.report.entry import entry
from gradflow.claims.report.formula import compared, formula
from gradflow.claims.report.numbers import above, margin_in_words, number
from gradflow.claims.report.words import words
from tests.gradflow.claims.report.test_page import ROW


def marked(drawn):
    """The signs that are marked in a formula."""
    return re.findall(r'class="differs">([^<]*)<', drawn)


@pytest.mark.parametrize(
    ("printed", "other", "ours", "theirs"),
    [
        (r"a^{-N} = b", r"a^{N-2} = b", ["−"], ["−", "2"]),
        (r"x \le 2 y", r"x \le 3 y", ["2"], ["3"]),
        (r"\frac{a}{b} + c", r"\frac{a}{b+c}", ["+", "c"], ["+", "c"]),  # not in the same place
        (r"a = u \otimes v", r"a = v \otimes u", ["u", "⊗"], ["⊗", "u"]),
        ("a = b", "a = b", [], []),
        ("a + b", r"\sqrt{x} \det y", [], []),  # two statements
        (r"\left(", "a", [], []),
    ],
)
def test_what_differs_between_two_formulas_is_marked(printed, other, ours, theirs):
    first, second = compared(printed, other)
    assert (marked(first), marked(second)) == (ours, theirs)


def test_a_formula_may_end_its_lines_before_relations():
    drawn = formula(r"a \le \sum_j (b = c)_j \Rightarrow d = 2")
    assert drawn.count("<math") == 4 and drawn.count('form="infix"') == 3
    assert formula("a").count("<math") == 1
    assert formula("a = b c d e + f - g").count("<math") == 3


CASES = [
    {"name": "flow", "what": "slack", "counts": True, "violation": 0.0, "floor": 1e-13,
     "slack": [0.0, 0.5, 1.0], "along": "time", "at": [0.1, 1.0, 1000.0],
     "course": [1.0, 0.5, 0.0]},
    {"name": "broken", "what": "slack", "counts": True, "violation": 0.5, "floor": 1e-13,
     "slack": [-0.5, -0.5, -0.5]},
    {"name": "gap", "what": "residual", "counts": True, "violation": 1e-12, "floor": 1e-10},
    {"name": "aside", "what": "residual", "counts": False, "violation": None, "floor": None},
    {"name": "proof", "what": "proof", "counts": True, "violation": 0.0, "floor": 0.0,
     "outcome": "proved"},
]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_pictures_are_svg_with_axes_and_what_they_show(count):
    drawn = charts({**ROW, "outline": CASES[5 - count :] if count else []})
    figures = re.findall(r"<svg.*?</svg>", drawn, re.DOTALL)
    assert len(figures) == {0: 0, 1: 1, 2: 1, 5: 3}[count]
    for figure in figures:
        svg = ElementTree.fromstring(figure)
        assert svg.find("title").text and svg.find("text") is not None
        for part in svg.iter():
            for name in ("x", "y", "cx", "cy"):
                assert -1 <= float(part.get(name, 0)) <= 720
    assert ("no unit" in drawn) is (count > 1)
    if count == 5:
        assert 'class="over"' in drawn and "time, of the flow (logarithmic)" in drawn


def test_a_picture_of_many_cases_says_what_it_leaves_out():
    many = [CASES[2] | {"name": f"{k}", "violation": 10.0**-k} for k in range(40)]
    drawn = charts({**ROW, "outline": many})
    assert drawn.count("<circle") == 24 and "The 16 that say less are left out." in drawn
    assert ">0<" in drawn and ">39<" not in drawn


def test_numbers_are_in_powers_of_ten_and_large_ratios_in_words():
    assert (number(0.123456), number(3e40), number(-2e-5)) == ("0.123", "3.0 × 10⁴⁰", "-2.0 × 10⁻⁵")
    assert number(float("inf")) == "infinite"
    assert above(3e40, 1.0) == above(1.0, 0.0) == "far above the numerical floor"
    assert above(300.0, 1.0) == "300 times the numerical floor"
    assert above(1234.5, 1.0) == "1234 times the numerical floor"
    assert "within the numerical floor of 1.0 × 10⁻¹⁰" in margin_in_words(ROW)
    assert "up to 0.1" in margin_in_words({**ROW, "kind": "approximation", "floor": 0.1})
    assert "smallest slack" in margin_in_words({**ROW, "slack": 1.0, "residual": 0.0})


def test_words_name_what_a_statement_is_about():
    found = words({**ROW, "statement": r"\mathrm{erank}(W) \le \|W\|_* / \|W\|_F",
                   "where": "Equations (8)-(10)"})  # fmt: skip
    for wanted in ("effective rank", "nuclear norm", "frobenius norm", "equation (9)", "arora"):
        assert wanted in found


def test_both_pages_of_a_correction_show_both_statements():
    printed = {**ROW, "verdict": "fails", "corrected": "arora2019.c", "statement": "x = 1"}
    other = {**ROW, "id": "arora2019.c", "corrects": ROW["id"], "statement": "x = 2"}
    rows = {row["id"]: row for row in (printed, other)}
    for row in rows.values():
        drawn = entry(row, rows, {}, None, None)
        assert drawn.index("As printed") < drawn.index(">1<") < drawn.index(">2<")
        assert marked(drawn) == ["1", "2"]
    alone = entry(printed, {printed["id"]: printed}, {}, None, None)
    assert "What is true instead" in alone and 'class="pair"' not in alone


def test_labels_of_long_names_stay_apart():
    long = "depth 2, W(0) = diag(1, {}), at the ends of all steps, det W"
    names = [*(long.format(n) for n in range(3)), "short", "x" * 50, "x" * 50]
    short = labels(names)
    assert len(set(short[:4])) == 4 and max(map(len, short)) <= 38
    assert short[1] == "depth 2, W(0) = diag(1, 1)" and short[3] == "short"
    assert short[4] == short[5]  # they are the same


@pytest.mark.parametrize(
    ("outcome", "at", "room"), [("refuted", 1.0, True), ("proved", 0.0, False)]
)
def test_the_outcome_of_a_proof_has_room_beside_its_mark(outcome, at, room):
    proof = {**CASES[4], "outcome": outcome, "violation": at}
    drawn = charts({**ROW, "outline": [proof, CASES[2]]})
    (text,) = [
        one for one in ElementTree.fromstring(re.findall(r"<svg.*?</svg>", drawn, re.DOTALL)[0])
        if one.text == outcome and one.tag == "text"
    ]  # fmt: skip
    place, wide = float(text.get("x")), 8 * len(outcome)
    assert (text.get("text-anchor") == "end") is room
    assert place - wide > 0 and place + wide * (not room) < 720


def test_a_formula_goes_on_in_a_new_line_after_a_comma_or_a_semicolon_outside_brackets():
    assert formula("a; b").count("<math") == 2
    assert formula("a, b").count("<math") == 2
    assert formula("(a; b)").count("<math") == 1
    assert formula("a b").count("<math") == 1
