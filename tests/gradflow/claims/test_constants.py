"""Which constants of an inequality are the best: said of every one, stored, and shown."""

import json

import pytest

from gradflow.claims import Best, Case, Corrected, check, registered
from gradflow.claims.definition import claim
from gradflow.claims.registry import load_papers
from gradflow.claims.report.constants import constants_table
from gradflow.claims.report.entry import entry
from gradflow.claims.report.formula import formula
from gradflow.claims.report.stored import read_ledger

ONE = Best("2", r"\frac{|z|}{2}", "proved", "Attained at | x = 1.")


def test_every_inequality_of_the_ledger_says_which_constants_are_the_best():
    load_papers()
    known = registered()
    asked = [
        made for id, made in known.items()
        if made.kind == "inequality" and not made.sharpens and not made.corrected
        and not id.startswith("mine.")
    ]  # fmt: skip
    assert len(asked) > 35
    assert [made.id for made in asked if not made.best] == []


def test_what_is_sharpened_says_so_and_names_the_claim():
    load_papers()
    known = registered()
    for id, made in known.items():
        if made.sharpens:
            printed = known[made.sharpens]
            told = printed.best or known[f"{printed.id}.corrected"].best
            assert any(one.improves and id in one.why for one in told), id
            assert made.id.endswith(".sharp") and not made.best
    for made in known.values():
        for one in made.best:
            named = [word.strip(".,;:()") for word in one.why.split() if ".sharp" in word]
            assert all(name in known for name in named), named


@pytest.mark.parametrize(
    "parts", [("2", "1", "proved", ""), ("2", "", "found", "x"), ("", "1", "open", "x")]
)
def test_an_answer_without_its_parts_is_refused(parts):
    with pytest.raises(ValueError, match="needs"):
        Best(*parts)


def test_whether_a_constant_stands_or_is_improved():
    assert ONE.improves and not ONE.stands
    same = Best("1", "1", "proved", "x")
    assert same.stands and not same.improves
    for nothing in (Best("1", "?", "open", "x"), Best("", "", "none", "x")):
        assert not nothing.stands and not nothing.improves


def made():
    @claim(
        "mine.constants", kind="inequality", statement="x", where="here", control={"sign": -1.0},
        flaw="f", severity="constant", survives="s", corrected=Corrected("y", best=(ONE,)),
    )  # fmt: skip
    def function(settings, corrected, sign=1.0):
        slack = [sign if corrected else -1.0]
        yield Case("one", slack=slack, floor=1e-15, hypotheses={"met": True})

    return registered()["mine.constants"], registered()["mine.constants.corrected"]


def test_of_a_statement_that_fails_the_corrected_form_is_asked():
    printed, corrected = made()
    assert printed.best == () and corrected.best == (ONE,)
    row = check(corrected).as_json()
    assert row["best"] == [vars(ONE)]
    page = entry(row, {row["id"]: row}, {}, None, None)
    assert "Are its constants the best?" in page and "Attained at | x = 1." in page
    assert "<math" in page
    row["best"] = []
    assert "constants the best" not in entry(row, {row["id"]: row}, {}, None, None)


def test_a_stored_answer_is_what_it_should_be(tmp_path):
    row = check(made()[1]).as_json()
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row]))
    assert read_ledger(path)[0]["best"] == [vars(ONE)]
    for wrong in ("x", [1], [{}], [vars(ONE) | {"known": "guessed"}], [vars(ONE) | {"why": 1}]):
        path.write_text(json.dumps([row | {"best": wrong}]))
        with pytest.raises(ValueError, match="row 1 has best"):
            read_ledger(path)


def test_a_formula_stays_in_its_cell():
    head, rule, line = constants_table([made()[1]]).splitlines()
    assert head.count("|") == rule.count("|") == line.replace(r"\|", "").count("|") == 6
    assert r"$\frac{\vert z\vert }{2}$" in line and r"Attained at \| x = 1." in line
    assert "the same" in constants_table(
        [c for c in registered().values() if c.id == "razin2020.lem2"]
    )


def test_every_constant_is_a_formula_that_can_be_drawn():
    load_papers()
    for known in registered().values():
        for one in known.best:
            for text in filter(None, (one.printed, one.best)):
                assert "<pre" not in formula(text) and "$" not in text, text
