"""Many flows at once."""

from functools import cache

import diffrax
import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow.flow import drive, readings
from gradflow.trajectory import Outcome

TRACED = []


def traced_product(state):
    """The product; Python comes by only where a program is traced."""
    TRACED.append(None)
    return state.product


def small(seed, std=1e-2, shape=(8, 6), depth=2, seen=30):
    problem = gf.synthetic.matrix_completion(jax.random.key(seed), shape, 1, seen, norm=5.0)
    model = gf.MatrixProduct.of(shape, depth)
    return gf.Objective(problem, model), model.random_balanced(jax.random.key(50 + seed), std)


@cache
def batch():
    return [small(0), small(1), small(2, std=0.3), small(3, std=1e-6)]


ASKED = {
    "horizon": 6.0, "stop_loss": 1e-3, "record": np.linspace(0.5, 6, 12), "rtol": 1e-6,
    "observe": {"product": traced_product}, "solver": gf.ode.StiffnessSwitch(),
}  # fmt: skip


@pytest.mark.slow  # test_records.py has a smaller one
def test_each_flow_of_a_batch_is_what_it_is_alone():
    objectives, starts = zip(*batch(), strict=True)
    flows = gf.solve_flows(list(objectives), list(starts), **ASKED)
    alone = [gf.solve_flow(objective, start, **ASKED) for objective, start in batch()]
    ends = {flow.outcome for flow in flows}
    assert ends == {Outcome.REACHED_LOSS, Outcome.REACHED_HORIZON}
    for flow, one in zip(flows, alone, strict=True):
        assert flow.outcome is one.outcome
        assert len(flow) == len(one)
        for name in ("steps", "rejected", "gradients", "hessian_products", "solver_reason"):
            assert flow.stats[name] == one.stats[name]
        # Round-off in another order, amplified by the rise.
        np.testing.assert_allclose(flow.times, one.times, rtol=1e-10)
        np.testing.assert_allclose(flow["product"], one["product"], atol=1e-10)
        for name in one.final:
            np.testing.assert_allclose(flow.final[name], one.final[name], atol=1e-10)
        assert flow.config["objective"] == one.config["objective"]
    lengths = [flow.stats["steps"] for flow in flows]
    assert len(set(lengths)) > 1


def test_a_batch_is_traced_once():
    objectives, starts = zip(*batch(), strict=True)
    gf.solve_flows(list(objectives), list(starts), **ASKED)
    count = len(TRACED)
    assert count > 0
    others, more = zip(*[small(k) for k in range(10, 14)], strict=True)
    again = ASKED | {"rtol": 1e-5, "horizon": 5.0, "record": np.linspace(0.1, 5, 12)}
    gf.solve_flows(list(others), list(more), **again)
    assert len(TRACED) == count


UNLIKE = {
    "shape": ({"shape": (6, 6)}, "not like the first"),
    "observations": ({"seen": 29}, "numbers of observations"),
    "depth": ({"depth": 3}, "not like the first"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_flows_that_are_not_alike_are_refused(name):
    other, message = UNLIKE[name]
    objectives, starts = zip(batch()[0], small(4, **other), strict=True)
    with pytest.raises(ValueError, match=f"Flow 1 of the batch.*{message}.*solve_flow"):
        gf.solve_flows(list(objectives), list(starts), **ASKED)


def test_a_batch_needs_starts_and_as_many_objectives():
    objective, start = batch()[0]
    with pytest.raises(ValueError, match="no start at all"):
        gf.solve_flows(objective, [], **ASKED)
    with pytest.raises(ValueError, match="2 starts but 1 objectives"):
        gf.solve_flows([objective], [start, start], **ASKED)


def test_horizons_and_tolerances_are_one_a_flow():
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    starts = [objective.factorization.identity(scale) for scale in (0.3, 0.3, 0.2)]
    asked = {"horizon": [1.0, 2.0, 3.0], "rtol": [1e-4, 1e-10, 1e-6], "atol": [1e-7, 1e-12, 1e-9]}
    flows = gf.solve_flows(objective, starts, coordinates="factors", **asked)
    for k, flow in enumerate(flows):
        own = {name: values[k] for name, values in asked.items()}
        alone = gf.solve_flow(objective, starts[k], coordinates="factors", **own)
        assert {name: flow.config[name] for name in own} == own
        assert flow.times[-1] == own["horizon"]
        assert flow.stats["steps"] == alone.stats["steps"]
        np.testing.assert_allclose(flow["loss"], alone["loss"], rtol=1e-12)
    with pytest.raises(ValueError, match="There are 3 starts but 2 values of rtol"):
        gf.solve_flows(objective, starts, horizon=1.0, rtol=[1e-6, 1e-8])
    with pytest.raises(ValueError, match=r"rtol must be .*\[1e-06, 1e-08\]"):
        gf.solve_flow(objective, starts[0], horizon=1.0, rtol=[1e-6, 1e-8])


def test_flows_side_by_side_take_the_steps_that_they_take_in_turn(monkeypatch):
    """As on an accelerator: each to its own recording times, wherever others are."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    starts = [objective.factorization.identity(scale) for scale in (0.3, 0.1, 1e-2)]
    asked = {
        "horizon": [1.0, 40.0, 6.0], "rtol": [1e-4, 1e-6, 1e-8], "stop_loss": 0.3,
        "coordinates": "factors", "solver": diffrax.Tsit5(), "observe": ("loss", "product"),
    }  # fmt: skip
    in_turn = gf.solve_flows(objective, starts, **asked)
    monkeypatch.setattr(drive, "in_turn", lambda: False)
    monkeypatch.setattr(readings, "in_turn", lambda: False)
    for one, other in zip(in_turn, gf.solve_flows(objective, starts, **asked), strict=True):
        assert one.outcome is other.outcome and len(one) == len(other)
        for name in ("steps", "rejected"):
            assert one.stats[name] == other.stats[name]
        for name in ("loss", "product"):
            np.testing.assert_allclose(other[name], one[name], rtol=1e-9, atol=1e-12)
    assert {flow.outcome for flow in in_turn} == {Outcome.REACHED_LOSS, Outcome.REACHED_HORIZON}


def test_starts_with_and_without_columns_of_zeros_go_in_one_batch():
    target = np.array([[1.0, 0.2, 0.0], [0.2, 0.5, 0.1], [0.0, 0.1, 0.3]])
    problem = gf.MatrixCompletion.from_array(target)
    objective = gf.Objective(problem, gf.SymmetricProduct(3, 3))
    columns = np.random.default_rng(0).normal(size=(3, 3))
    starts = [(columns * [1.0, 1e-12, 1e-20],), (columns * [1.0, 1e-14, 0.0],)]
    asked = {"horizon": 5.0, "observe": ["loss"]}
    for flow, start in zip(gf.solve_flows(objective, starts, **asked), starts, strict=True):
        assert flow.stats["coordinates"] == "logcolumns"
        np.testing.assert_array_equal(
            flow["loss"], gf.solve_flow(objective, start, **asked)["loss"]
        )
    with pytest.raises(ValueError, match=r"Flow 1 of the batch: start\[0\]\[0, 0\] is nan"):
        gf.solve_flows(objective, [(columns,), (columns * np.nan,)], **asked)


SIDE_BY_SIDE = pytest.param(True, marks=pytest.mark.slow)


@pytest.mark.parametrize("accelerator", [False, SIDE_BY_SIDE])
def test_flows_that_change_coordinates_go_on_together(accelerator, monkeypatch):
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    rng, model = np.random.default_rng(0), objective.factorization
    sizes = [10.0 ** -rng.integers(0, 6) * rng.normal(size=(2, 2)) for _ in range(12)]
    starts, asked = [model.balanced(w) for w in sizes], {"stop_loss": 1e-2, "horizon": 1e3}
    alone = [gf.solve_flow(objective, start, **asked) for start in starts]
    joined, together = [], drive._as_a_batch
    monkeypatch.setattr(drive, "_as_a_batch", lambda flows: joined.append(flows) or together(flows))
    monkeypatch.setattr(drive, "_MANY", 2)
    if accelerator:
        monkeypatch.setattr(drive, "in_turn", lambda: False)
        monkeypatch.setattr(readings, "in_turn", lambda: False)
    for flow, one in zip(gf.solve_flows(objective, starts, **asked), alone, strict=True):
        assert flow.outcome is one.outcome and flow.stats["coordinates"] == one.stats["coordinates"]
        assert flow.stats["charts"] == one.stats["charts"]
        # Side by side products are summed in another order, which blow-ups amplify.
        apart = 0.02 * one.stats["steps"] if accelerator else 0
        assert abs(flow.stats["steps"] - one.stats["steps"]) <= apart
        np.testing.assert_allclose(flow.times, one.times, rtol=1e-8)
        np.testing.assert_allclose(flow["loss"], one["loss"], rtol=1e-6, atol=1e-12)
    assert max(map(len, joined)) > 1 and max(flow.stats["charts"] for flow in alone) > 2


def test_lanes_are_of_few_numbers():
    assert [drive._lanes(count) for count in (2, 4, 5, 64, 65)] == [4, 4, 16, 64, 256]


def test_horizons_may_be_before_some_recording_times():
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    starts = [objective.factorization.identity(scale) for scale in (0.3, 0.1)]
    asked = {"record": [0.5, 1.0, 2.0, 4.0], "coordinates": "factors"}
    flows = gf.solve_flows(objective, starts, horizon=[1.0, 5.0], **asked)
    for flow, start, horizon in zip(flows, starts, (1.0, 5.0), strict=True):
        alone = gf.solve_flow(objective, start, horizon=horizon, **asked)
        np.testing.assert_array_equal(flow.times, alone.times)
        np.testing.assert_allclose(flow["loss"], alone["loss"], rtol=1e-12)
