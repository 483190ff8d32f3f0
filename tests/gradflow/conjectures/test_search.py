"""The search itself, on limits without a flow; and on what is known of diagonal networks."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.conjectures import (
    AbstractFamily,
    AbstractLimit,
    Conjecture,
    Margin,
    Reached,
    Regressions,
    Trial,
    Undetermined,
    VanishingStart,
    find_counterexample,
    least_l1_norm,
)

OBJECTIVE = gf.Objective(gf.LeastSquares([[1.0, 1.0]], [1.0]), gf.DiagonalNetwork(2, 2))


class Numbers(AbstractFamily):
    """Three whole numbers; `few` of them are enumerated."""

    few: int = 0

    def build(self, integers):
        if len(integers) != 3:
            return None
        return Trial(OBJECTIVE, (jnp.ones(2), jnp.ones(2)), integers, str(integers))

    def draw(self, rng):
        return tuple(rng.integers(-9, 10, 3).tolist())

    def simplest_first(self):
        return iter([(0, 0, k) for k in range(self.few)])


class Written(AbstractLimit):
    """The numbers are the limit; the computation that confirms adds `off`."""

    off: float = 0.0

    def reach(self, trial):
        if trial.integers[0] < -5:
            raise Undetermined("is not known")
        return (Reached(trial, np.array(trial.integers, float), 0.0, "written", None),)

    def confirm(self, trial):
        product = np.array(trial.integers, float) + self.off
        return (Reached(trial, product, 0.0, "written again", None),)


def below_20(reached):
    return None if reached.product[0] == 0 else 20 - reached.product.sum()


def searched(margin=below_20, few=0, off=0.0, **options):
    conjecture = Conjecture("guess", Numbers(few), Written(off), margin)
    return find_counterexample(conjecture, **options)


def test_a_violation_is_shrunk_while_it_stays_one():
    result = searched(trials=2000)
    found = result.counterexample
    assert sum(found.trial.integers) == 21
    assert found.judged.margin == found.confirmed.margin == -1
    assert "fails at" in str(result) and "written again" in str(result)


def test_one_that_is_not_confirmed_is_none_and_is_told():
    result = searched(off=-5.0, trials=100)
    assert result.counterexample is None
    assert result.unconfirmed and "not confirmed" in str(result)


def test_what_was_looked_at_is_counted():
    result = searched(lambda reached: below_20(reached) and 30.0, few=6, trials=40, seed=3)
    assert result.counterexample is None
    assert result.looked_at == 40 and result.enumerated == 6 and result.exhausted
    assert sum(result.left_out.values()) + result.spoken_of == 40
    assert result.left_out["not spoken of"] >= 6
    assert result.least_margin == 30
    assert "6 by size (all that are enumerated), 34 random" in str(result)
    again = searched(lambda reached: below_20(reached) and 30.0, few=6, trials=40, seed=3)
    assert str(again) == str(result)


def test_half_of_a_budget_is_for_what_is_enumerated():
    result = searched(lambda reached: 1.0, few=100, trials=40)
    assert result.enumerated == 20 and not result.exhausted
    assert result.looked_at == 40


def test_time_ends_a_search_and_progress_is_told():
    told = []
    result = searched(
        lambda reached: 1.0,
        seconds=0.2,
        progress=lambda count, margin: told.append((count, margin)),
    )
    assert told[-1] == (result.looked_at, 1.0)
    assert result.seconds >= 0.2


def test_a_family_that_is_used_up_ends_a_search():
    class Few(Numbers):
        def draw(self, rng):
            return (0, 0, 1)

    conjecture = Conjecture("guess", Few(3), Written(), lambda reached: 1.0)
    assert find_counterexample(conjecture, trials=50).looked_at == 3


def test_a_margin_within_its_error_is_no_violation():
    assert searched(lambda reached: Margin(-1e-3, 1e-2), trials=20).counterexample is None
    assert searched(lambda reached: Margin(-1e-3, 1e-4), trials=20).counterexample is not None


def least_l2_norm(reached):
    problem = reached.trial.objective.problem
    least = np.linalg.pinv(np.asarray(problem.inputs)) @ np.asarray(problem.targets)
    return float(np.linalg.norm(least) / np.linalg.norm(reached.product) - 1)


def first_stays(reached):
    """The entry that comes first is a hundredth of the largest at the end, at least."""
    problem, beta = reached.trial.objective.problem, np.abs(reached.product)
    slopes = np.abs(np.asarray(problem.inputs).T @ np.asarray(problem.targets))
    if not reached.fits or np.sum(slopes == np.max(slopes)) > 1:
        return None
    return float(beta[np.argmax(slopes)] / np.max(beta) - 0.01)


@pytest.fixture(scope="module")
def diagonal():
    def search(margin, trials, **family):
        conjecture = Conjecture("planted", Regressions(**family), VanishingStart(), margin)
        return find_counterexample(conjecture, trials=trials)

    return search


def test_planted_diagonal_networks_end_at_the_least_l2_norm(diagonal):
    found = diagonal(least_l2_norm, 20, sizes=((1, 2),)).counterexample
    assert found.trial.integers == (((1, 2, 1),), ())
    assert found.confirmed.reached.how == "least potential of alpha = 1e-16"


def test_planted_depth_3_ends_at_the_least_l1_norm_from_any_start(diagonal):
    found = diagonal(least_l1_norm, 400, sizes=((1, 2),), depth=3, largest_start=3).counterexample
    assert found.trial.integers == (((1, 2, 1),), (3, 1))
    assert found.judged.margin == pytest.approx(-1)


@pytest.mark.slow
def test_planted_what_comes_first_stays(diagonal):
    found = diagonal(first_stays, 600, sizes=((2, 3),)).counterexample
    path, confirmed = found.judged.reached.run, found.confirmed.reached.product
    first = np.argmax(np.abs(path.directions[0]))
    assert path.products[1][first] != 0 == path.products[-1][first]
    assert abs(confirmed[first]) < 1e-2 * np.max(np.abs(confirmed))


@pytest.mark.parametrize("family", [{}, {"largest_start": 3}, {"depth": 3}])
def test_true_the_least_l1_norm(diagonal, family):
    result = diagonal(least_l1_norm, 40, sizes=((1, 2), (2, 3)), **family)
    assert result.counterexample is None and result.unconfirmed == ()
    assert result.spoken_of > 10 and result.least_margin > -1e-9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "seconds or trials"),
        ({"trials": 0}, "trials"),
        ({"seconds": -1.0}, "seconds"),
        ({"trials": 1, "seed": -1}, "seed"),
    ],
)
def test_refusals(options, said):
    with pytest.raises(ValueError, match=said):
        searched(**options)


def test_refusals_of_conjectures():
    with pytest.raises(ValueError, match="must be a Conjecture"):
        find_counterexample("guess", trials=1)
    with pytest.raises(ValueError, match="AbstractLimit"):
        Conjecture("guess", Numbers(), Numbers(), below_20)
    with pytest.raises(ValueError, match="margin"):
        Conjecture("guess", Numbers(), Written(), 1.0)
    for wrong in (float("nan"), "x", True, np.ones(3)):
        with pytest.raises(ValueError, match="not a number"):
            searched(lambda reached, wrong=wrong: wrong, trials=1)
