from fractions import Fraction

import jax.numpy as jnp
import mpmath
import numpy as np
import pandas as pd
import pytest
import sympy

from gradflow.claims import FIFTY_DIGITS, Case, Confirmation, roundings
from gradflow.claims.evidence import arithmetic, floats, grade_of_refutation
from gradflow.claims.judging import judge
from gradflow.claims.proofs import Proof, chain

MET = {"a hypothesis": True}
PROVED = Proof("x = x", "proved", ("x - x = 0",), ("reflexivity",))


def found(*cases, kind="identity"):
    return judge(list(cases), kind, 1e-6, must_confirm=True)


@pytest.mark.parametrize(
    ("values", "grade"),
    [
        ([1, Fraction(1, 3), sympy.sqrt(2)], "exact"),
        (np.array([[Fraction(1, 2)], [3]], object), "exact"),
        ([Fraction(1), mpmath.mpf(2)], "50 digits"),
        (mpmath.matrix([1, 2]), "50 digits"),
        ([mpmath.iv.mpf(1) + 1, 2], "enclosed"),
        ([1, 2.0], "float64 with a measured floor"),
        (np.ones(3), "float64 with a measured floor"),
        (np.arange(3) > 1, "float64 with a measured floor"),
        (sympy.Float(2.0) * sympy.sqrt(2), "float64 with a measured floor"),
    ],
)
def test_arithmetic_is_read_off_the_types_of_numbers(values, grade):
    assert arithmetic(values) == grade


@pytest.mark.parametrize(
    ("case", "grade"),
    [
        ({"residual": [Fraction(0)]}, "exact"),
        ({"residual": [0.0], "floor": FIFTY_DIGITS}, "50 digits"),
        ({"slack": [mpmath.iv.mpf([1, 2])]}, "enclosed"),
        ({"residual": [0.0], "floor": 1e-12}, "float64 with a measured floor"),
        ({"residual": [0.0], "floor": roundings(1e-12)}, "float64 with a floor by convention"),
        ({"residual": [0.0]}, "float64 with a floor by convention"),
        ({"proof": PROVED, "whole": True}, "proved"),
    ],
)
def test_the_grade_is_that_of_the_weakest_case_unless_the_whole_is_proved(case, grade):
    case = Case("x", hypotheses=MET, **case)
    assert found(case).grade == grade
    weak = Case("weak", residual=[0.0], floor=roundings(1e-12), hypotheses=MET)
    both = found(case, weak)
    assert both.grade == ("proved" if grade == "proved" else "float64 with a floor by convention")
    assert sum(both.evidence.values()) == 2


def test_a_proof_of_a_part_proves_not_the_whole():
    part = Case("x", proof=PROVED, whole=False, hypotheses=MET)
    sampled = Case("y", residual=[0.0], floor=1e-12, hypotheses=MET)
    assert found(part, sampled).grade == "float64 with a measured floor"
    assert found(part).proofs == ("x: x = x (proved)", "checked: x - x = 0", "cited: reflexivity")


def test_a_proof_says_whether_it_is_of_the_whole():
    with pytest.raises(ValueError, match=r"'x' has a proof; say whole=True .* whole=False"):
        Case("x", proof=PROVED, hypotheses=MET)
    with pytest.raises(ValueError, match="'x' has whole=True, but no proof"):
        Case("x", residual=[0.0], whole=True, hypotheses=MET)


@pytest.mark.parametrize(
    ("compared", "kind", "grade"),
    [
        ((Fraction(1), 2), "identity", "proved"),
        ((mpmath.iv.mpf([1, 2]),), "inequality", "proved"),
        ((Fraction(1), 2), "approximation", "exact"),
        ((mpmath.mpf(1),), "identity", "50 digits"),
        ((), "identity", "50 digits"),
    ],
)
def test_one_exact_point_refutes_what_is_claimed_of_all(compared, kind, grade):
    assert grade_of_refutation(Confirmation(True, "t", compared), kind) == grade
    case = Case(
        "x", residual=[1.0], floor=1e-9, hypotheses=MET,
        confirm=lambda k: Confirmation(True, "t", compared),
    )  # fmt: skip
    failing = found(case, kind=kind)
    assert (failing.verdict, failing.grade) == ("fails", grade)


def test_a_refutation_by_a_prover_needs_no_other_confirmation_and_what_is_open_is_no_verdict():
    refuted = Case(
        "x", proof=Proof("x < 0", "refuted", witness={"x": 1}), whole=True, hypotheses=MET
    )
    judged = found(refuted)
    assert (judged.verdict, judged.grade, judged.counterexample["x"]) == ("fails", "proved", 1)
    still_open = found(Case("x", proof=Proof("x < 0", "open"), whole=True, hypotheses=MET))
    assert (still_open.verdict, still_open.grade) == ("inconclusive", None)


def test_the_lower_end_of_an_interval_keeps_its_sign():
    tiny = mpmath.iv.mpf([-(mpmath.mpf(10) ** -400), 1])
    assert floats([tiny, mpmath.iv.mpf([2, 3]), Fraction(1, 2)]).tolist() == [-5e-324, 2.0, 0.5]


def test_a_chain_is_as_good_as_its_parts():
    refuted = Proof("y", "refuted", witness={"y": 1})
    assert chain("both", PROVED, PROVED).outcome == "proved"
    assert chain("both", PROVED, refuted).witness == {"y": 1}
    assert chain("both", PROVED, Proof("z", "open")).outcome == "open"
    assert chain("both", PROVED, cites=("a lemma",)).cites == ("a lemma", "reflexivity")


@pytest.mark.parametrize("made", [np.asarray, jnp.asarray, pd.Series, list, tuple])
def test_residuals_may_be_any_array_of_floats(made):
    numbers = made([0.0, 1e-3])
    case = Case("a case", residual=numbers, floor=1e-2, hypotheses={"made": True})
    np.testing.assert_array_equal(floats(case.residual), [0.0, 1e-3])
    assert arithmetic(case.residual) == "float64 with a measured floor"
    assert judge([case], "identity", 1e-2, must_confirm=False).verdict == "holds"
