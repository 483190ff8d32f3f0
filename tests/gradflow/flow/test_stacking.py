"""Many flows as one, and what is known of a problem for as long as it lives."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow._util.remembered import _FOUND
from gradflow.coordinates import base
from gradflow.factorizations.balance import measured_unbalancedness, relative_unbalancedness
from gradflow.flow import readings
from gradflow.flow.stacking import apart, stack_alike


def test_what_differs_is_stacked_and_comes_apart_again():
    shared = np.arange(3.0)
    trees = [{"data": shared, "own": jnp.full(2, float(k)), "word": "a"} for k in range(4)]
    arrays, rest = stack_alike(trees)
    assert arrays["data"].shape == (4, 3) and arrays["own"].shape == (4, 2)
    assert arrays["word"] is None and rest == {"data": None, "own": None, "word": "a"}
    for k, tree in enumerate(apart(arrays | {"word": "a"}, 4)):
        np.testing.assert_array_equal(tree["own"], [k, k])
        np.testing.assert_array_equal(tree["data"], shared)
        assert tree["word"] == "a"


def test_keys_of_random_numbers_are_stacked():
    keys = [jax.random.key(k) for k in range(3)]
    arrays, _ = stack_alike(keys)
    assert arrays.shape == (3,) and jax.random.key_data(arrays)[2].tolist() == [0, 2]


@pytest.mark.parametrize("other", [(np.ones(3), "a"), (np.ones(2), "b"), (1.0, "a"), [np.ones(2)]])
def test_what_is_not_alike_is_refused_by_its_number(other):
    with pytest.raises(ValueError, match=r"Flow 7 of the batch is not like the first.*solve_flow"):
        stack_alike([(np.ones(2), "a"), other], places=[3, 7])


def norms_of(count):
    problems = [gf.MatrixCompletion((2, 2), [[0, 1], [1, 0]], [3.0, 4.0 * k]) for k in range(count)]
    return problems, [np.hypot(3.0, 4.0 * k) for k in range(count)]


def test_a_norm_is_known_as_long_as_its_problem_lives():
    (problem,), (norm,) = norms_of(1)
    assert base.known_norm(problem) == pytest.approx(norm)
    key = id(problem)
    assert key in _FOUND
    del problem
    gc.collect()
    assert key not in _FOUND


def test_norms_that_are_known_are_not_computed_again(monkeypatch):
    problems, norms = norms_of(3)
    asked, right = [], readings._expected_norms

    def noted(arrays, *rest):
        asked.append(len(arrays.values))
        return right(arrays, *rest)

    monkeypatch.setattr(readings, "_expected_norms", noted)
    base.known_norm(problems[0])
    for _ in range(2):
        readings.learn_norms([*problems, problems[1]])
    assert asked == [2]
    assert [base.known_norm(p) for p in problems] == pytest.approx(norms)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e100])
def test_unbalancedness_on_the_host_is_that_on_the_device(scale):
    rng = np.random.default_rng(0)
    factors = tuple(scale * rng.standard_normal(s) for s in ((3, 2), (4, 3), (2, 4)))
    wanted = float(relative_unbalancedness(factors))
    assert measured_unbalancedness(factors) == pytest.approx(wanted, rel=1e-13)
    assert measured_unbalancedness((np.zeros((2, 2)), np.zeros((2, 2)))) == 0.0
    assert measured_unbalancedness((np.ones((2, 2)),)) == 0.0
