"""The flow against SciPy and closed forms."""

import diffrax
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.gradflow.flow.oracles import CASES, TIMES, by_scipy, regression_case


@pytest.mark.parametrize("name", CASES)
def test_flow_agrees_with_scipy_at_several_times(name):
    objective, oracle, start = CASES[name]()
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=1e-10
    )
    wanted = by_scipy(*oracle, start, TIMES)
    assert flow.outcome is Outcome.REACHED_HORIZON
    np.testing.assert_array_equal(flow.times, [0, *TIMES])
    np.testing.assert_allclose(flow["product"][0], oracle[1](start), rtol=1e-14)
    # Some hundred steps of local error 1e-10.
    np.testing.assert_allclose(flow["product"][1:], wanted, atol=2e-8)
    for k, factor in enumerate(start, 1):
        np.testing.assert_array_equal(flow.initial[f"W_{k}"], factor)
    np.testing.assert_allclose(
        oracle[1]([flow.final[f"W_{k + 1}"] for k in range(len(start))]), flow["product"][-1]
    )


def test_depth_one_regression_has_a_closed_form():
    """W(t) = W* + exp(-2 X^T X t) (W(0) - W*) for loss "sum"."""
    objective, _, start = regression_case((2, 3))
    x, y = np.asarray(objective.problem.inputs), np.asarray(objective.problem.targets)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=1e-10
    )
    for t, w in zip(flow.times, flow["product"], strict=True):
        wanted = best + scipy.linalg.expm(-2 * x.T @ x * t) @ (start[0] - best)
        np.testing.assert_allclose(w, wanted, atol=1e-9)


@pytest.mark.parametrize("coordinates", ["factors", "product", "singular"])
def test_a_scalar_of_depth_two_is_logistic(coordinates):
    """dw/dt = 2 w (y - w), so w(t) = y / (1 + (y/w_0 - 1) exp(-2 y t))."""
    objective = gf.Objective(
        gf.MatrixCompletion((1, 1), [[0, 0]], [2.0]), gf.MatrixProduct((1, 1, 1))
    )
    flow = gf.solve_flow(
        objective, np.array([[1e-3]]), coordinates=coordinates,
        times=TIMES, horizon=6.0, observe=["product"], rtol=1e-10,
    )  # fmt: skip
    wanted = 2 / (1 + (2 / 1e-3 - 1) * np.exp(-4 * flow.times))
    # Errors of the start are amplified 2000 times on the way up.
    np.testing.assert_allclose(flow["product"][:, 0, 0], wanted, rtol=1e-6)


def test_the_error_falls_with_the_tolerance(reference):
    objective, _, start, wanted = reference
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    errors = []
    for rtol in tolerances:
        flow = gf.solve_flow(
            objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=float(rtol)
        )
        errors.append(np.max(np.abs(flow["product"][1:] - wanted)))
    assert np.all(np.diff(errors) < 0)
    # A fifth-order method with a local error of rtol a step: about in proportion.
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.7 < slope < 1.3
    assert errors[-1] < 1e-8


def test_an_implicit_solver_of_diffrax_works(reference):
    objective, _, start, wanted = reference
    flow = gf.solve_flow(
        objective, start, times=TIMES, horizon=6.0, observe=["product"], rtol=1e-8,
        solver=diffrax.Kvaerno5(),
    )  # fmt: skip
    np.testing.assert_allclose(flow["product"][1:], wanted, atol=1e-6)
    assert flow.config["solver"] == "Kvaerno5"
