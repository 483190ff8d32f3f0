"""Conjectures whose limits take flows of matrices: two that fail, two theorems."""

import numpy as np
import pytest

from gradflow.conjectures import (
    CommutingSensing,
    Conjecture,
    GivenStart,
    ProductCompletions,
    SmallStarts,
    SymmetricCompletions,
    Undetermined,
    VanishingStart,
    determinant_sign_kept,
    find_counterexample,
    least_trace,
)


def conjecture(family, limit, margin):
    return Conjecture("guess", family, limit, margin)


@pytest.fixture(scope="module")
def nuclear():
    return conjecture(SymmetricCompletions(), VanishingStart(), least_trace)


@pytest.mark.slow
def test_the_nuclear_norm_conjecture_falls_by_itself(nuclear):
    result = find_counterexample(nuclear, trials=200)
    found = result.counterexample
    assert found.trial.integers == (((0, 0, 1), (0, 1, 1), (1, 2, 2)), ())
    assert found.judged.margin == pytest.approx(-0.2, abs=1e-6)
    assert found.confirmed.margin == pytest.approx(-0.2, abs=1e-3)
    assert "has trace 5, not 6" in found.judged.witness
    v = np.array([1.0, 1.0, 2.0])
    assert found.judged.reached.product == pytest.approx(np.outer(v, v))


@pytest.mark.slow
def test_a_large_violation_of_it_is_shrunk(nuclear):
    class Large(SymmetricCompletions):
        def simplest_first(self):
            return iter(())

    found = find_counterexample(
        conjecture(Large(sizes=(3,), largest_start=2), nuclear.limit, nuclear.margin), trials=200
    ).counterexample
    assert found.found != found.trial.text
    entries, start = found.trial.integers
    assert len(entries) <= 4 and start == ()


@pytest.mark.slow
def test_the_counterexample_of_li2021_is_one(nuclear):
    """R = 2: the limit has trace 2 R^2 + 2, where 4 R is possible."""
    trial = nuclear.family.build((((0, 2, 1), (0, 3, 2), (1, 2, 2)), ()))
    for judged in (nuclear.judge(trial), nuclear.confirm(trial)):
        assert judged.violated
        assert judged.margin == pytest.approx(-(10 - 8) / 8, abs=1e-3)


@pytest.mark.slow
def test_planted_the_sign_of_the_determinant_without_balance():
    guess = conjecture(ProductCompletions(balanced=False), GivenStart(), determinant_sign_kept)
    found = find_counterexample(guess, trials=60).counterexample
    w1, w2 = (np.array(rows) for rows in found.trial.integers[1])
    assert np.any(w2.T @ w2 != w1 @ w1.T)  # not balanced: where it is, the sign is kept
    assert found.confirmed.margin < -0.1


@pytest.mark.slow
def test_true_the_sign_of_the_determinant_with_balance():
    guess = conjecture(ProductCompletions(), GivenStart(), determinant_sign_kept)
    result = find_counterexample(guess, trials=60)
    assert result.counterexample is None and result.unconfirmed == ()
    assert result.spoken_of > 30


@pytest.mark.slow
def test_what_roundings_decide_is_no_counterexample():
    """From a balanced start the exact flow ends at a saddle; one in factors leaves it."""
    turn = ((0, 1), (-1, 0))
    guess = conjecture(ProductCompletions(balanced=False), GivenStart(), determinant_sign_kept)
    trial = guess.family.build((((1, 1, 1),), (turn, turn)))
    with pytest.raises(Undetermined, match="roundings"):
        guess.judge(trial)


@pytest.mark.slow
def test_true_commuting_measurements_end_at_the_least_trace():
    guess = conjecture(CommutingSensing(sizes=(2, 3)), SmallStarts(), least_trace)
    result = find_counterexample(guess, trials=40)
    assert result.counterexample is None and result.unconfirmed == ()
    assert result.spoken_of > 30
    assert result.least_margin > -result.least_error
