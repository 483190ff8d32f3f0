"""What would make a verdict out of nothing is refused, or is no verdict."""

from fractions import Fraction

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy

from gradflow.claims import (
    FIFTY_DIGITS,
    ByConstruction,
    Case,
    Claim,
    Convention,
    Measured,
    check,
    definition,
)
from gradflow.claims.definition import Verdict
from gradflow.claims.hypotheses import see_met
from gradflow.claims.judging import judge

MET = {"a hypothesis": True}


def found(kind="identity", resolution=1e-6, accuracy=0.1, **case):
    made = Case("x", **{"hypotheses": MET, **case})
    return judge([made], kind, resolution, must_confirm=True, accuracy=accuracy)


@pytest.mark.parametrize("number", [{"residual": 5.0}, {"residual": 0.0}, {"slack": 1.0}], ids=str)
@pytest.mark.parametrize("floor", [-1e-9, np.nan, [np.nan], Convention(-1.0, "none")])
def test_a_floor_is_a_number_from_zero_on(number, floor):
    with pytest.raises(ValueError, match="has the floor"):
        found(**number, floor=floor)
    assert found(residual=0.0, floor=1e-12).verdict is Verdict.HOLDS


@pytest.mark.parametrize("numbers", [[], np.zeros((0, 3))], ids=str)
def test_a_case_without_numbers_says_so(numbers):
    with pytest.raises(ValueError, match="'x' has no numbers"):
        found(residual=numbers)


@pytest.mark.parametrize("numbers", [np.array([1j]), jnp.array([1e-3j]), [1j]], ids=str)
def test_complex_numbers_are_not_judged_by_their_real_parts(numbers):
    with pytest.raises(TypeError, match=r"[cC]omplex"):
        found(residual=numbers, floor=1e-9)


def test_an_infinite_slack_decides_nothing():
    assert found("inequality", slack=[np.inf, 1.0], floor=1e-9).verdict is Verdict.INCONCLUSIVE
    assert found("inequality", slack=[1e300, 1.0], floor=1e-9).verdict is Verdict.HOLDS


@pytest.mark.parametrize("met", ["False", lambda: False, -3.0, np.nan, 1, [True], np.ones(2) > 0])
def test_a_hypothesis_is_met_or_not(met):  # here, for the tests check annotations before
    with pytest.raises(ValueError, match=r"x > 0: .* is neither True nor False"):
        see_met("x > 0", met)


@pytest.mark.parametrize(
    "met",
    [
        False, np.bool_(True), jnp.all(jnp.ones(2) > 0), sympy.true, ByConstruction("so"),
        Measured(1, 2), None,
    ],
)  # fmt: skip
def test_what_says_yes_or_no_is_a_hypothesis(met):
    see_met("x > 0", met)


def test_a_case_looks_at_its_hypotheses(monkeypatch):
    seen = []
    monkeypatch.setattr(definition, "see_met", lambda *at: seen.append(at))
    Case("x", residual=0.0, hypotheses={"x > 0": False})
    assert seen == [("Case 'x', hypothesis 'x > 0'", False)]


@pytest.mark.parametrize("value", [0.0, -1.0, 1.0, 1e9, np.nan])
@pytest.mark.parametrize("name", ["resolution", "accuracy"])
def test_numbers_are_relative_so_nothing_above_one_is_resolved(name, value):
    with pytest.raises(ValueError, match=f"{name} = "):
        found(residual=5.0, floor=10.0, **{name: value})


@pytest.mark.parametrize(
    "case",
    [
        {"residual": max(0, -0.3)},  # a whole number
        {"slack": [Fraction(1), 2]},
        {"residual": mpmath.mpf(0)},
        {"slack": mpmath.iv.mpf([1, 2])},
    ],
    ids=str,
)
def test_numbers_of_a_measured_floor_are_floats_whatever_their_type(case):
    strong = found(**case).grade
    assert strong in ("exact", "50 digits", "enclosed")
    assert found(**case, floor=1e-12).grade == "float64 with a measured floor"
    assert found(residual=mpmath.mpf(0), floor=FIFTY_DIGITS).grade == "50 digits"


def test_the_accuracy_of_an_approximation_is_no_floor_of_its_numbers():
    judged = found("approximation", residual=[Fraction(1, 20)])
    assert judged.verdict is Verdict.APPROXIMATES and judged.grade == "exact"


def claimed(function, **control):
    return check(Claim("my.own", "identity", "x = x", "here", function, control, "a factor"))


def test_a_control_that_is_the_claim_or_crashes_is_not_sound():
    def same(settings, factor=1.0):
        yield Case("x", residual=1.0 - factor, floor=1e-12, hypotheses=MET)

    def crashing(settings, factor=1.0):
        yield Case("x", residual=0.0 / (2 - factor), floor=1e-12, hypotheses=MET)

    assert claimed(same, factor=1.1).sound
    for entry in (claimed(same, factor=1.0), claimed(crashing, factor=2), claimed(same, other=1)):
        assert entry.verdict == "holds" and not entry.sound
