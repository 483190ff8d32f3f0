"""What woodworth2020's checks rest on, against other computations."""

import numpy as np
import pytest

from theory_checks.woodworth2020._diagonal import follow, height, inverse_height, outside, problem
from theory_checks.woodworth2020.limits import CONSTANT, dual, excess, small_start, sparse, worst


def test_the_flow_of_one_entry_by_hand():
    # beta = w_+^2 - w_-^2 with w_+ w_- = 1: arcsinh(beta / 2) grows by 16 (y - beta) cosh of it.
    run = follow(np.array([[1.0]]), np.array([1.0]), 1.0, 2)
    eta = np.arcsinh(run.beta[:, 0] / 2)
    rate = 8 * (1 - run.beta[:, 0])
    steps = np.diff(eta) / np.diff(run.times)
    assert np.all(steps < rate[:-1]) and np.all(steps > rate[1:])
    assert run.beta[-1, 0] == pytest.approx(1.0, abs=1e-8) and run.misfit < 1e-8


@pytest.mark.parametrize("power", [3.0, 2.0, 5 / 3])
def test_heights_are_inverted(power):
    z = np.array([-1e30, -2.0, -1e-9, 0.0, 0.3, 1e9])
    assert np.allclose(height(inverse_height(z[1:5], power), power), z[1:5], rtol=1e-7, atol=1e-15)
    # Far out 1 - u = z^(-1/power).
    assert 1 - inverse_height(z, power)[5] == pytest.approx(1e9 ** (-1 / power), rel=1e-5)
    assert inverse_height(z, power)[0] == pytest.approx(-1.0)


def test_outside_is_what_the_rows_do_not_reach():
    x, _ = problem(np.random.default_rng(0), 2, 4)
    inside = np.array([[1.0, -2.0]]) @ x
    assert np.allclose(outside(x, inside), 0.0, atol=1e-14)
    assert np.allclose(x @ outside(x, np.eye(4)).T, 0.0, atol=1e-14)


@pytest.mark.parametrize("depth", [2, 3])
def test_least_potentials_from_small_starts_agree_with_the_library(depth):
    import gradflow as gf

    given, alpha = sparse(0, 0), 1e-3
    objective = gf.Objective(gf.LeastSquares(given.x, given.y), gf.DiagonalNetwork(5, depth))
    found = gf.exact.minimum_potential(objective, objective.factorization.identity(alpha))
    beta = small_start(given, alpha, depth)
    assert np.allclose(found.beta, beta, atol=1e-9)
    assert np.allclose(outside(given.x, dual(beta, alpha, depth)), 0.0, atol=1e-10)


def test_the_worst_case_grows_towards_lamberts_constant():
    found = worst()
    assert np.all(np.diff(np.abs(found - CONSTANT)) < 0)
    assert abs(2 * found[-1] - found[-2] - CONSTANT) < 1e-4
    # The constant is the largest c / (1 + e^(2c)).
    c = np.linspace(0.5, 0.8, 3001)
    assert pytest.approx(np.max(c / (1 + np.exp(2 * c))), abs=1e-8) == CONSTANT


def test_an_excess_by_hand():
    # kappa = 0: both entries alike, so beta = (1/2, 1/2) and there is no excess.
    assert excess(1e-3, 0.0) == 0.0
    assert 0 < excess(1e-3, 0.1) < 0.1
