"""Least squares in closed form."""

import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from tests.gradflow.exact.flows import SEEN, TIMES, agree, integrated


def test_least_squares_is_the_flow():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 2)) @ rng.normal(size=(2, 4))  # rank 2
    y, truth = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    problem = gf.LeastSquares(x, y, loss="mean", truth=truth)
    start = rng.normal(size=(4, 3))
    objective = gf.Objective(problem, gf.MatrixProduct.of((4, 3), 1))
    flow = integrated(objective, (start,), TIMES, SEEN)
    run = exact.least_squares_flow(problem, start, TIMES, observe=SEEN)
    agree(run, flow)
    np.testing.assert_allclose(run.final["W_1"], flow.final["W_1"], atol=1e-11)
    assert run.stats["rank"] == 2


@pytest.mark.parametrize(("rows", "loss", "rate"), [(3, "half_sum", 1.0), (7, "sum", 2.0)])
def test_least_squares_of_a_vector_and_its_limit(rows, loss, rate):
    rng = np.random.default_rng(2)
    x, y, start = rng.normal(size=(rows, 5)), rng.normal(size=rows), rng.normal(size=5)
    problem = gf.LeastSquares(x, y, loss=loss, truth=start + 1)
    run = exact.least_squares_flow(problem, start, [0.1, 1.0, np.inf])
    inverse = np.linalg.pinv(x)
    np.testing.assert_allclose(
        run.final["W_1"], start + inverse @ (y - x @ start), atol=1e-13
    )  # nearest to the start
    gram = x.T @ x
    values, q = np.linalg.eigh(gram)
    for k, t in ((1, 0.1), (2, 1.0)):
        best = inverse @ y + start - inverse @ x @ start
        w = best + q @ (np.exp(-rate * values * t) * (q.T @ (start - best)))
        assert run["loss"][k] == pytest.approx(float(problem.loss(w)), rel=1e-12)
        norm = np.linalg.norm(problem.gradient(w))
        assert run["gradient_norm"][k] == pytest.approx(norm, rel=1e-12)
    assert run["gradient_norm"][-1] == 0 and len(run["test_error"]) == 4


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_inputs_whose_squares_are_none(size):
    """Rates of 0 and infinity had made NaN of the limit."""
    problem = gf.LeastSquares(size * np.eye(2), [1.0, 2.0])
    run = exact.least_squares_flow(problem, np.zeros(2), [1.0, np.inf])
    np.testing.assert_allclose(run.final["W_1"] * size, [1.0, 2.0], rtol=1e-13)
    np.testing.assert_allclose(run["loss"], [2.5, 2.5 if size < 1 else 0.0, 0.0], atol=1e-15)
    assert np.all(np.isfinite(run["gradient_norm"][1:]))


@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_inputs_that_are_zero_move_nothing(shape):
    problem = gf.LeastSquares(np.zeros((2, 2)), np.ones(shape))
    run = exact.least_squares_flow(problem, 3 * np.ones(shape), [1.0, np.inf])
    np.testing.assert_array_equal(run.final["W_1"], 3 * np.ones(shape))
    np.testing.assert_array_equal(run["loss"], [problem.loss(3 * np.ones(shape))] * 3)
    assert run.stats["rank"] == 0 and not np.any(run["gradient_norm"])
