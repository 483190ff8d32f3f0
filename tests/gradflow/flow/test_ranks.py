"""A flow keeps the rank of a balanced product; where round-off raises it, the flow says so."""

import numpy as np
import pytest

import gradflow as gf

pytestmark = pytest.mark.filterwarnings("ignore:In this flow")
CELLS = [(i, j) for i in range(2) for j in range(2)]
PROBLEM = gf.MatrixCompletion((2, 2), CELLS, [2.0, 0.5, 0.3, 1.0])
OBJECTIVE = gf.Objective(PROBLEM, gf.MatrixProduct((2, 2, 2)))
LEFT, RIGHT, HIDDEN = np.array([3.0, 4]) / 8, np.array([4.0, -3]) / 8, np.array([1.0, 3])
START = (np.outer(HIDDEN, RIGHT), np.outer(LEFT, HIDDEN))
SADDLE = np.linalg.svd([[2.0, 0.5], [0.3, 1.0]], compute_uv=False)[1] ** 2 / 2
"""The loss of the best matrix of rank 1 (Eckart and Young)."""


def flow_from(start, horizon, objective=OBJECTIVE, **asked):
    return gf.solve_flow(objective, start, horizon=horizon, observe=["loss"], **asked)


def test_a_rank_that_round_off_raises_is_told():
    narrow = gf.Objective(PROBLEM, gf.MatrixProduct((2, 1, 2)))
    size = np.linalg.norm(HIDDEN)  # turning the hidden units changes nothing
    kept = flow_from((size * RIGHT[None], size * LEFT[:, None]), 60.0, narrow)
    assert kept["loss"][-1] == pytest.approx(SADDLE, rel=1e-12) and not kept.warnings
    raised = flow_from(START, 60.0)
    assert raised["loss"][-1] < 1e-20  # wrong by all of it
    (warning,) = raised.warnings
    assert "a rank of 1" in warning and raised.stats["rank"] == 1


def test_before_it_is_raised_there_is_nothing_to_tell_and_it_is_remembered():
    first = flow_from(START, 15.0)
    assert first["loss"][-1] == pytest.approx(SADDLE, rel=1e-6) and not first.warnings
    second = flow_from(first, 60.0)
    assert second.stats["rank"] == 1 and "a rank of 1" in second.warnings[0]


@pytest.mark.parametrize(
    ("case", "horizon"),
    [("product", 60.0), ("momentum", 90.0), ("decay", 60.0), ("unbalanced", 60.0)],
)
def test_whatever_keeps_a_rank_is_watched(case, horizon):
    objective, start, asked = OBJECTIVE, START, {}
    if case == "product":
        asked = {"coordinates": "product"}
    if case == "momentum":
        asked = {"dynamics": gf.MomentumFlow(1.0)}
    if case == "decay":
        objective = gf.Objective(PROBLEM, OBJECTIVE.factorization, gf.WeightDecay(1e-2))
    if case == "unbalanced":
        start = (2 * START[0], START[1])
    flow = flow_from(start, horizon, objective, **asked)
    assert any("a rank of 1" in warning for warning in flow.warnings)


def test_symmetric_products_too():
    model = gf.SymmetricProduct(2, 2)
    problem = gf.MatrixCompletion((2, 2), CELLS, [2.0, 0.5, 0.5, 1.0])
    flow = flow_from((np.outer(LEFT, HIDDEN),), 60.0, gf.Objective(problem, model))
    assert "a rank of 1" in flow.warnings[0]


def test_what_may_gain_rank_is_not_watched():
    # Adam moves entries, to which turned hidden units are not the same.
    adam = flow_from(START, 1.0, dynamics=gf.AdamFlow(smoothing=1e-2))
    turned = (np.array([[1.0, 0], [0, 0]]), np.array([[0.0, 0], [0, 1]]))  # W = 0, hidden rank 2
    assert "rank" not in adam.stats and "rank" not in flow_from(turned, 1.0).stats
    assert "rank" not in flow_from(0.1 * np.eye(2), 1.0).stats
