"""Logarithms of the parameters of a diagonal network against closed forms and SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import gradflow as gf

RTOL = 1e-8
LATE = gf.Objective(gf.LeastSquares(np.eye(3), [1.0, 0.0, 0.5]), gf.DiagonalNetwork(3, 2))
"""The last entry rises when the first has long done so; the middle one never does."""


def rises(objective, alpha):
    """Times about those at which each entry rises from alpha."""
    rates = 4 * objective.problem.weight * np.array([1.0, 0.5])
    return np.unique(np.log(1 / alpha) / rates * np.array([[0.9], [1.0], [1.05], [1.2]]))


def wrong_by(flow, truth):
    """The largest relative error of beta at a record, in units of rtol."""
    pairs = zip(flow["product"][1:], truth, strict=True)
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs) / RTOL


@pytest.mark.filterwarnings("ignore:In this flow the loss")  # it ends in round-off
@pytest.mark.parametrize("alpha", [1e-3, 1e-30, 1e-100])
def test_late_rises_out_of_tiny_starts_are_right(alpha):
    start, times = LATE.factorization.identity(alpha), rises(LATE, alpha)
    truth = gf.exact.diagonal_flow(LATE, start, times, observe=["product"])["product"][1:]
    flow = gf.solve_flow(LATE, start, record=times, observe=["product"])
    assert flow.stats["coordinates"] == "logparameters"
    assert not any("hidden unit" in warning for warning in flow.warnings)
    assert wrong_by(flow, truth) < 10


@pytest.mark.filterwarnings("ignore:In this flow")
def test_in_factors_the_rise_is_lost_and_told():
    start, times = LATE.factorization.identity(1e-30), rises(LATE, 1e-30)
    truth = gf.exact.diagonal_flow(LATE, start, times, observe=["product"])["product"][1:]
    flow = gf.solve_flow(LATE, start, record=times, observe=["product"], coordinates="factors")
    assert wrong_by(flow, truth) > 1e6
    assert "hidden unit" in flow.warnings[0]


def test_entries_that_hang_on_each_other_and_one_that_comes_back():
    x, y = np.array([[1.0, 0.6, 0.3], [0.2, 1.0, -0.7]]), np.array([1.0, -0.4])
    problem = gf.LeastSquares(x, y)
    objective = gf.Objective(problem, gf.DiagonalNetwork(3, 2))
    plus, minus = np.array([1e-3, -2e-3, 1e-3]), np.array([1e-3, 1e-3, 0.0])  # signs, and a zero

    def field(t, logs):
        del t
        w = np.array([1, -1, 1.0]) * np.exp(logs[:3]), np.array([1, 1, 0.0]) * np.exp(logs[3:])
        slope = 2 * 2 * problem.weight * x.T @ (x @ (w[0] ** 2 - w[1] ** 2) - y)
        return np.concatenate([-slope, slope])

    times = np.array([2.0, 5.0, 20.0])
    first = np.log(np.abs([*plus, *minus[:2], 1.0]))
    found = scipy.integrate.solve_ivp(
        field, (0, 20), first, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12
    ).y
    truth = np.exp(2 * found[:3]) - np.array([[1], [1], [0]]) * np.exp(2 * found[3:])
    flow = gf.solve_flow(
        objective, (jnp.asarray(plus), jnp.asarray(minus)), record=times, observe=["product"]
    )
    assert flow.stats["coordinates"] == "logparameters"
    assert wrong_by(flow, truth.T) < 10
    assert flow.final["plus_sign"].tolist() == [1, -1, 1] and flow.final["minus_sign"][2] == 0


def test_it_goes_on_from_where_it_ended():
    start = LATE.factorization.identity(1e-30)
    asked = {"observe": ["product"]}
    first = gf.solve_flow(LATE, start, horizon=30.0, **asked)
    second, whole = (gf.solve_flow(LATE, at, horizon=250.0, **asked) for at in (first, start))
    assert second.stats["coordinates"] == "logparameters"
    np.testing.assert_allclose(second["product"][-1], whole["product"][-1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "penalty", "said"),
    [
        (gf.DiagonalNetwork(3, 3), None, "of depth 2, not DiagonalNetwork"),
        (gf.DiagonalNetwork(3, 2), gf.WeightDecay(1e-3), "without a penalty"),
    ],
)
def test_what_they_cannot_hold_they_refuse(model, penalty, said):
    objective = gf.Objective(LATE.problem, model, penalty)
    with pytest.raises(ValueError, match=said):
        gf.solve_flow(objective, model.identity(1e-3), horizon=1.0, coordinates="logparameters")


def test_a_start_that_is_not_tiny_is_followed_in_factors():
    flow = gf.solve_flow(LATE, LATE.factorization.identity(0.1), horizon=1.0)
    assert flow.stats["coordinates"] == "factors" and "not tiny" in flow.stats["coordinates_reason"]
