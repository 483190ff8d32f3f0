"""Hypotheses with the numbers that decide them, and what a picture shows of cases."""

import numpy as np
import pytest

from gradflow.claims import ByConstruction, Case, Measured
from gradflow.claims.hypotheses import summed_up
from gradflow.claims.outline import LONGEST, outline

MET = {"real": True}


def test_measured_hypotheses_show_the_number_that_is_closest_to_its_limit():
    cases = [
        {
            "balanced": Measured(value, below=1e-12),
            "det > 0": Measured(value, above=0),
            "real": True,
        }
        for value in (3e-16, 2e-15)
    ]
    assert summed_up([*cases, {"depth 1": ByConstruction("one factor")}]) == (
        "balanced; measured 2e-15 at most, must be below 1e-12",
        "det > 0; measured 3e-16 at least, must be above 0",
        "real",
        "depth 1 (by construction: one factor)",
    )


def test_a_measured_hypothesis_that_is_not_met_is_found():
    case = Case("x", residual=[0.0], hypotheses={"balanced": Measured(1.0, below=1e-12)})
    assert case.conditions == {"balanced": False}
    assert not Measured(float("nan"), below=1) and not Measured(float("nan"), above=1)


@pytest.mark.parametrize("limits", [{}, {"below": 1.0, "above": 0.0}])
def test_a_measured_hypothesis_has_one_limit(limits):
    with pytest.raises(ValueError, match="give one"):
        Measured(1.0, **limits)


def test_an_outline_has_the_numbers_of_a_picture():
    times = np.arange(100.0)
    cases = [
        Case("gap", residual=[1e-3, np.nan], floor=1e-9, hypotheses=MET),
        Case("flow", slack=times - 1, along=("time", times), hypotheses=MET),
        Case("wide", slack=times + 5, along=("time", times), hypotheses=MET),
    ]
    gap, flow, wide = outline(cases)
    assert (gap["what"], gap["violation"], gap["floor"]) == ("residual", 1e-3, 1e-9)
    assert flow["slack"] == [-1.0, 48.5, 98.0] and flow["along"] == "time"
    assert flow["at"][0] == 0 and flow["course"][0] == -1 and len(flow["at"]) <= LONGEST
    assert "course" not in wide


def test_an_outline_keeps_the_cases_that_say_most():
    cases = [Case(f"{k}", residual=[k], hypotheses=MET) for k in range(100)]
    assert [shown["name"] for shown in outline(cases)] == [f"{k}" for k in range(60, 100)]
    assert outline([Case("far", unreachable="too small", hypotheses={"x": False})]) == ()


def test_what_numbers_are_listed_along_has_one_value_each():
    with pytest.raises(ValueError, match="3 numbers along 2 values"):
        Case("x", slack=[1.0, 2.0, 3.0], along=("time", [0, 1]), hypotheses=MET)
