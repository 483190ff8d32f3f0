"""Identities and products of matrices: what holds is proved, its broken twin refuted."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy

from gradflow.claims.proofs import (
    Words,
    chain,
    counterexample,
    not_negative,
    prove_identity,
    settle,
    words,
)
from gradflow.claims.proofs.interval import interval

A, B, X, Y, G = Words.named(*"ABXYG")
x, y = sympy.symbols("x y")


@pytest.mark.parametrize(
    ("left", "right", "outcome"),
    [
        ((x + y) ** 2, x**2 + 2 * x * y + y**2, "proved"),
        ((x + y) ** 2, x**2 + y**2, "refuted"),
        (1 / x - 1 / y, (y - x) / (x * y), "proved"),
        (1 / x - 1 / y, (x - y) / (x * y), "refuted"),
        (sympy.Matrix([[x, y]]) * sympy.Matrix([x, y]), sympy.Matrix([[x**2 + y**2]]), "proved"),
        ((X @ Y).T, Y.T @ X.T, "proved"),
        ((X @ Y).T, X.T @ Y.T, "refuted"),
        (X @ Y, Y @ X, "refuted"),
        ((X + Y).power(2), X.power(2) + X @ Y + Y @ X + Y.power(2), "proved"),
        ((X + Y).power(2), X.power(2) + 2 * X @ Y + Y.power(2), "refuted"),
    ],
)  # fmt: skip
def test_an_identity_is_proved_and_a_broken_one_refuted_by_numbers(left, right, outcome):
    found = prove_identity("an identity", left, right)
    assert found.outcome == outcome
    assert bool(found.witness) == (outcome == "refuted")


def test_the_witness_of_a_refutation_is_one():
    found = prove_identity("a commutator", X @ Y - Y @ X)
    w = {name: np.array(sympy.sympify(found.witness[name])).astype(float) for name in "XY"}
    gap = np.array(sympy.sympify(found.witness["left - right"])).astype(float)
    assert np.array_equal(w["X"] @ w["Y"] - w["Y"] @ w["X"], gap) and gap.any()


def test_what_is_no_number_at_the_points_tried_is_open():
    assert prove_identity("a power", sympy.sqrt(2) * x**y - x**y).outcome == "open"


def test_derivatives_and_rewriting_agree_with_matrices():
    rng = np.random.default_rng(0)
    x, y, dx, dy = rng.normal(size=(4, 3, 3))
    dX, dY = Words.named("dX", "dY")
    moved = (X.T @ Y @ X).derivative({"X": dX, "Y": dY})
    at = {"X": x, "Y": y, "dX": dx, "dY": dy}
    total = sum(
        float(c) * np.linalg.multi_dot([at[n].T if flip else at[n] for n, flip in word])
        for word, c in moved.terms.items()
    )
    h = 1e-6
    f = lambda t: (x + t * dx).T @ (y + t * dy) @ (x + t * dx)  # noqa: E731
    assert np.allclose(total, (f(h) - f(-h)) / (2 * h), rtol=1e-8)
    assert (X @ Y @ Y).rewrite([(X @ Y, Y @ X)]).terms == (Y @ Y @ X).terms
    half = Fraction(1, 2) * (X @ Y)
    assert half.rewrite([(X @ Y, Y @ X)]).terms == (Fraction(1, 2) * (Y @ X)).terms


def test_sides_that_differ_under_rules_are_open_for_no_matrices_are_seen_to_meet_the_rules():
    rule = [(X.T @ X, Words.identity())]
    assert prove_identity("orthonormal", Y @ X.T @ X, Y, rules=rule).outcome == "proved"
    assert prove_identity("another side", X @ X.T, Words.identity(), rules=rule).outcome == "open"


def test_one_point_refutes_only_what_is_certainly_exceeded_there():
    assert counterexample("x <= 1", interval(0, 2) - 1, {"x": "0 to 2"}) is None
    assert counterexample("x <= 1", 1 - 1, {"x": "1"}) is None
    found = counterexample("x <= 1", interval(2) - 1, {"x": "2"})
    assert found.outcome == "refuted" and found.witness["x"] == "2"


def test_one_number_decides_a_step_only_if_it_is_certain():
    assert not_negative("a step", Fraction(0)).proved
    for spare in (Fraction(-1, 10**9), interval(-1, 1), sympy.Rational(-1, 3)):
        assert not_negative("a step", spare).outcome == "open"


def test_a_refutation_goes_first_and_a_proof_stays_within_what_it_covers():
    proved, opened = not_negative("a bound", 1), not_negative("a bound", -1)
    broken = counterexample("a bound", 1, {"x": "2"})
    assert settle(proved, None) is proved and settle(opened, None) is opened
    assert settle(proved, None, covered=False).outcome == "open"
    assert settle(opened, broken) is broken and settle(proved, broken, covered=False) is broken


def test_what_is_proved_and_refuted_at_once_is_an_error():
    broken = counterexample("a bound", 1, {"x": "2"})
    with pytest.raises(ValueError, match="is proved, and refuted by"):
        settle(not_negative("a bound", 1), broken)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (0.1 * x, x / 10),  # 0.1 is above 1/10
        ((1 + sympy.Float(10) ** -20) * x, x),
        (x, x + 1e-300),
        (sympy.Matrix([[x, 0.5]]), sympy.Matrix([[x, sympy.Rational(1, 2)]])),
    ],
)
def test_no_identity_is_proved_with_rounded_numbers(left, right):
    with pytest.raises(TypeError, match="is rounded"):
        prove_identity("rounded", left, right)


def test_where_an_identity_of_fractions_holds_is_said():
    found = prove_identity("a fraction", (x**2 - y**2) / (x - y), x + y)
    assert found.steps == ("expanded in x, y, for all that are not zeros of x - y",)
    found = prove_identity("two", 1 / x - 1 / (y * x), (y - 1) / (x * y))
    assert found.steps == ("expanded in x, y, for all that are not zeros of x, y",)
    r = sympy.Symbol("r", positive=True)
    assert prove_identity("none", r / (1 + r) + 1 / (1 + r), 1).steps == ("expanded in r",)


def test_no_point_refutes_where_a_side_has_no_value_or_an_assumption_fails():
    at_two = prove_identity("undefined at 2", (x**2 - 4) / (x - 2), 2 * x)
    assert at_two.outcome == "refuted" and at_two.witness["x"] == "-3"
    less = sympy.Symbol("n", negative=True)
    found = prove_identity("of a negative number", abs(less), less)
    assert found.witness == {"n": "-2", "left - right": "4"}
    odd = sympy.Symbol("o", odd=True)
    assert prove_identity("odd", odd, 3 * odd).witness["o"] == "-3"


def test_sides_are_of_one_kind():
    with pytest.raises(TypeError, match="no sum of words"):
        prove_identity("a number", X - X, 5)
    with pytest.raises(TypeError, match="shapes"):
        prove_identity("a matrix", sympy.Matrix([[x, y]]), x)
    assert prove_identity("zero", X - X).proved and prove_identity("zero", 0, X - X).proved
    assert prove_identity("zero", sympy.Matrix([[x - x, 0]])).proved


def test_words_have_exact_coefficients_and_whole_powers():
    with pytest.raises(TypeError, match="as Fraction"):
        words._exact(0.1)
    assert type(words._exact(np.int64(3)).numerator) is int  # numpy's integers would wrap
    with pytest.raises(ValueError, match="No power -1"):
        X.power(-1)


@pytest.mark.parametrize("number", [0.0, np.float32(1), sympy.Float(1), mpmath.mpf(1)])
def test_a_rounded_number_decides_nothing(number):
    with pytest.raises(TypeError, match="may be rounded"):
        not_negative("a step", number)
    with pytest.raises(TypeError, match="may be rounded"):
        counterexample("x <= 1", number, {"x": "2"})


@pytest.mark.parametrize("answer", [3 <= 2, 2 <= 3])
def test_true_and_false_are_no_numbers(answer):
    with pytest.raises(TypeError, match="give the difference"):
        not_negative("a step", answer)
    with pytest.raises(TypeError, match="give the difference"):
        counterexample("x <= 1", answer, {"x": "2"})


def test_nothing_proves_nothing():
    with pytest.raises(ValueError, match="give its steps"):
        chain("a statement")
    with pytest.raises(ValueError, match="nothing to prove"):
        prove_identity("a statement", sympy.zeros(0, 2))
