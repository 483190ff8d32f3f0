"""How a flow stops, and that it does so in time."""

import diffrax
import numpy as np
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.trajectory import Outcome
from tests.gradflow.flow.oracles import TIMES, by_scipy


def test_it_stops_at_the_loss_exactly_and_at_the_right_time(reference):
    objective, oracle, start, _ = reference
    target = 1e-2
    flow = gf.solve_flow(
        objective, start, record=[*TIMES, 50.0], stop_loss=target, observe=["product"], rtol=1e-10
    )
    assert flow.outcome is Outcome.REACHED_LOSS
    assert abs(flow["loss"][-1] / target - 1) < 1e-8

    def crossing(w):
        return 0.5 * np.sum(oracle[0](w) ** 2) - target

    wanted = by_scipy(*oracle, start, np.array([50.0]), crossing)
    np.testing.assert_allclose(flow.times[-1], wanted, rtol=1e-7)
    assert flow.stats["end"] == flow.times[-1]


@pytest.mark.parametrize("coordinates", ["factors", "logdet"])
@pytest.mark.parametrize("times", [[1.0, 2.0], [1.0, 1e6]], ids=["before", "behind"])
def test_times_to_record_do_not_keep_it_from_its_loss(coordinates, times):
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    start, asked = objective.factorization.identity(0.1), {"coordinates": coordinates}
    alone = gf.solve_flow(objective, start, stop_loss=0.1, **asked)
    assert 2 < alone.times[-1] < 1e6
    flow = gf.solve_flow(objective, start, stop_loss=0.1, record=times, **asked)
    assert flow.outcome is Outcome.REACHED_LOSS
    np.testing.assert_allclose(flow.times[-1], alone.times[-1], rtol=1e-6)
    assert flow.times[:-1].tolist() == [0.0, *(t for t in times if t < flow.times[-1])]


def test_times_to_record_end_it_where_nothing_else_does_and_the_horizon_before_its_loss():
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    start = objective.factorization.identity(0.1)
    flow = gf.solve_flow(objective, start, record=[1.0, 2.0])
    assert (flow.outcome, flow.times.tolist()) == (Outcome.REACHED_HORIZON, [0.0, 1.0, 2.0])
    flow = gf.solve_flow(objective, start, record=[1.0, 2.0], stop_loss=0.1, horizon=3.0)
    assert (flow.outcome, flow.times.tolist()) == (Outcome.REACHED_HORIZON, [0.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("record", [[1, 2], [1, 900]], ids=["before", "behind"])
def test_iterations_to_record_do_not_keep_a_descent_from_its_loss(record):
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    start, rule = objective.factorization.identity(0.1), gf.optimizers.gd(0.1)
    alone = gf.run_descent(objective, start, rule, max_steps=1000, stop_loss=0.2)
    run = gf.run_descent(objective, start, rule, max_steps=1000, stop_loss=0.2, record=record)
    assert run.outcome is alone.outcome is Outcome.REACHED_LOSS
    assert 2 < run.times[-1] == alone.times[-1] < 900
    assert run.times[:-1].tolist() == [0, *(n for n in record if n < run.times[-1])]


def test_it_stops_at_once_where_the_start_is_below_the_loss(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(
        objective, start, record=[*TIMES, 50.0], stop_loss=1e3, observe=["product"]
    )
    assert flow.outcome is Outcome.REACHED_LOSS
    assert len(flow) == 1
    assert flow.stats["steps"] == 0
    np.testing.assert_array_equal(flow.final["W_1"], start[0])


def test_it_stops_at_the_gradient_norm(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, stop_gradient=1e-2, observe=["gradient_norm"])
    assert flow.outcome is Outcome.REACHED_GRADIENT_NORM
    assert flow["gradient_norm"][-1] <= 1e-2
    assert np.all(flow["gradient_norm"][:-1] > 1e-2)


def test_it_stops_at_the_horizon_exactly(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, horizon=1.7, observe=["gradient_norm"])
    assert flow.outcome is Outcome.REACHED_HORIZON
    assert flow.times[0] == 0
    assert flow.times[-1] == 1.7


def test_it_runs_out_of_steps(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, horizon=1.7, observe=["gradient_norm"], max_steps=7)
    assert flow.outcome is Outcome.OUT_OF_STEPS
    assert flow.stats["steps"] + flow.stats["rejected"] == 7
    assert 0 < flow.times[-1] < 1.7


def test_a_loss_that_overflows_is_divergence():
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(objective, (1e100 * np.eye(2),) * 2, horizon=1.0, observe=["loss"])
    assert flow.outcome is Outcome.DIVERGED
    assert not np.isfinite(flow["loss"][-1])


def test_steps_below_the_resolution_of_time_are_reported():
    """Rates of 2 and 2e40: a stable explicit step is 1e-40, against times of order 1."""
    problem = gf.LeastSquares(np.diag([1.0, 1e20]), np.ones((2, 1)))
    objective = gf.Objective(problem, gf.MatrixProduct((1, 2)))
    start, asked = (np.array([[3.0], [1.0]]),), {"record": [2.0], "observe": ["product"]}
    explicit, implicit = (
        gf.solve_flow(objective, start, solver=solver, **asked)
        for solver in (diffrax.Tsit5(), "auto")
    )
    assert explicit.outcome is Outcome.STEP_TOO_SMALL
    np.testing.assert_array_equal(explicit.final["W_1"], start[0])
    assert implicit.outcome is Outcome.REACHED_HORIZON
    ends = [[1 + 2 * np.exp(-4 * problem.weight)], [1e-20]]
    np.testing.assert_allclose(implicit["product"][-1], ends, rtol=1e-8)


def test_a_start_at_a_stationary_point_stays():
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(objective, (np.zeros((2, 2)),) * 2, horizon=3.0, observe=["loss"])
    assert flow.outcome is Outcome.REACHED_HORIZON
    np.testing.assert_array_equal(flow["loss"], 1.0)
