"""Whatever the coordinates, it is the same flow."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.gradflow.flow.oracles import (
    CASES,
    EVERYTHING,
    blowup_objective,
    by_scipy,
    pull_back_matrices,
)
from tests.helpers import chain


def test_the_loss_never_rises_and_unbalancedness_is_kept():
    objective, _, start = CASES["sensing, wide hidden sizes"]()
    flow = gf.solve_flow(
        objective, start, horizon=6.0, observe=["factors", "unbalancedness"], rtol=1e-10
    )
    assert np.all(np.diff(flow["loss"]) < 0)
    assert flow["unbalancedness"][0] > 0.1
    # Conserved by the flow; the solver's own drift is some hundred local errors of 1e-10.
    np.testing.assert_allclose(flow["unbalancedness"], flow["unbalancedness"][0], atol=1e-8)
    for j in range(1, len(start)):
        low, high = flow[f"factors_{j}"], flow[f"factors_{j + 1}"]
        gap = high.transpose(0, 2, 1) @ high - low @ low.transpose(0, 2, 1)
        np.testing.assert_allclose(gap, np.broadcast_to(gap[0], gap.shape), atol=1e-8)


GRID = np.geomspace(1e-3, 3.0, 240)


@pytest.mark.parametrize(
    ("depth", "cell", "charts"),
    [
        (2, (0, 0), ("factors", "product", "singular", "logdet")),
        (3, (0, 0), ("factors", "product", "singular", "logdet")),
        (2, (0, 1), ("logdet",)),
        (2, (1, 0), ("logdet",)),
        (2, (1, 1), ("logdet",)),
    ],
)
def test_all_charts_compute_the_same_flow(depth, cell, charts):
    objective = blowup_objective(depth, cell)
    mask, target = np.asarray(objective.problem.mask), np.asarray(objective.problem.target)
    for sign in (1, -1):
        # The hidden entry is the largest, and so the pivot.
        w = np.array([[0.3, 0.1], [-0.1, 0.25 * sign]])
        w = np.roll(w, cell, axis=(0, 1))
        factors = gf.balanced_factors(w, objective.factorization.sizes)
        wanted = by_scipy(
            lambda x: mask * (x - target), chain, pull_back_matrices,
            [np.asarray(f) for f in factors], GRID,
        )  # fmt: skip
        for name in charts:
            flow = gf.solve_flow(
                objective,
                w,
                coordinates=name,
                times=GRID,
                horizon=3.0,
                observe=EVERYTHING,
                rtol=1e-9,
            )
            assert flow.config["coordinates"] == name
            # The logarithmic clock goes through the logarithm and back.
            np.testing.assert_allclose(flow.times[1:], GRID, rtol=1e-14 if name == "logdet" else 0)
            np.testing.assert_allclose(flow["product"][1:], wanted, atol=1e-6)
            np.testing.assert_allclose(
                flow["singular_values"][1:], np.linalg.svd(wanted, compute_uv=False), atol=1e-6
            )
            # The logarithm magnifies errors by 1/det, at most 100 here.
            np.testing.assert_allclose(
                flow["log_abs_det"][1:], np.linalg.slogdet(wanted)[1], atol=1e-4
            )
            np.testing.assert_array_equal(flow["det_sign"], np.sign(np.linalg.det(w)))
            assert np.all(np.diff(flow["loss"]) < 0)


def test_unbalanced_factors_flow_in_factor_coordinates_only():
    objective = blowup_objective(2)
    start = (np.eye(2), 0.5 * np.eye(2))
    asked = {"times": GRID, "horizon": 3.0, "observe": EVERYTHING}
    assert gf.solve_flow(objective, start, **asked).outcome is Outcome.REACHED_HORIZON
    for name in ("product", "singular", "logdet"):
        with pytest.raises(ValueError, match=r"not balanced.*use coordinates='factors'"):
            gf.solve_flow(objective, start, coordinates=name, **asked)
