"""What a flow records, and what it says of itself."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import factorizations, synthetic
from gradflow.flow import recording
from gradflow.ode import StiffnessSwitch
from tests.gradflow.flow.oracles import TIMES


@pytest.mark.parametrize(
    ("times", "horizon", "wanted"),
    [
        ([0.5, 1.0, 2.0], 2.0, [0, 0.5, 1.0, 2.0]),
        ([0.5, 1.0], 2.0, [0, 0.5, 1.0, 2.0]),
        ([0.0, 0.5, 1.0], 2.0, [0, 0.5, 1.0, 2.0]),
        ([0.1, 1 / 3, 7.0], 2.0, [0, 0.1, 1 / 3, 2.0]),
    ],
)
def test_times_are_hit_and_ends_are_recorded(times, horizon, wanted):
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(
        objective, 0.5 * np.eye(2), record=times, horizon=horizon, observe=["product"]
    )
    np.testing.assert_array_equal(flow.times, wanted)
    assert flow["product"].shape == (4, 2, 2)


def test_default_times_are_24_a_decade(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(objective, start, stop_gradient=1e-2, observe=["gradient_norm"])
    np.testing.assert_allclose(flow.times[2:-1] / flow.times[1:-2], 10 ** (1 / 24), rtol=1e-12)


def test_observables_of_a_dictionary_and_of_factors(reference):
    objective, _, start, _ = reference
    flow = gf.solve_flow(
        objective, start, record=TIMES, horizon=6.0,
        observe={"trace": lambda s: jnp.trace(s.product[:, :3]), "parts": lambda s: s.factors},
    )  # fmt: skip
    assert set(flow.observables) == {"loss", "trace", "parts_1", "parts_2"}
    np.testing.assert_allclose(
        flow["trace"], np.trace(flow["parts_2"] @ flow["parts_1"], axis1=1, axis2=2), atol=1e-13
    )


def test_a_matrix_as_the_start_stands_for_its_balanced_factors():
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    w = np.array([[0.5, 0.1], [-0.2, 0.4]])
    flow = gf.solve_flow(objective, w, record=[0.5, 1.0, 2.0], horizon=2.0, observe=["product"])
    for k, factor in enumerate(factorizations.balanced_factors(w, (2, 2, 2)), 1):
        np.testing.assert_array_equal(flow.initial[f"W_{k}"], factor)
    np.testing.assert_allclose(flow["product"][0], w, atol=1e-15)


def test_whole_numbers_are_taken_as_a_start():
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    times = {"times": [0.5, 1.0, 2.0], "horizon": 2.0, "observe": ["product"]}
    whole = gf.solve_flow(objective, (np.eye(2, dtype=int),) * 2, **times)
    np.testing.assert_array_equal(
        whole["product"], gf.solve_flow(objective, (np.eye(2),) * 2, **times)["product"]
    )


def test_the_configuration_says_what_was_asked(reference):
    objective, _, start, _ = reference
    asked = {"times": TIMES, "horizon": 6.0, "observe": ["product"]}
    config = gf.solve_flow(objective, start, rtol=1e-6, **asked).config
    assert (config["kind"], config["coordinates"], config["solver"]) == (
        "flow",
        "factors",
        "LinearlyImplicitExtrapolation",
    )
    assert (config["rtol"], config["horizon"], config["stop_loss"]) == (1e-6, 6.0, None)
    assert config["atol"] > 0
    assert config["objective"]["shape"] == [3, 4]
    assert config["objective"]["factor_shapes"] == [[3, 4], [3, 3]]
    assert json.loads(json.dumps(dict(config))) == dict(config)
    other = gf.Objective(
        gf.MatrixCompletion((3, 4), objective.problem.indices, objective.problem.values + 1e-9),
        objective.factorization,
    )
    changed = gf.solve_flow(other, start, rtol=1e-6, **asked).config
    assert changed["objective"]["data_sha256"] != config["objective"]["data_sha256"]


def test_progress_is_shown(reference, capsys):
    objective, _, start, _ = reference
    gf.solve_flow(objective, start, record=TIMES, horizon=6.0, observe=["loss"], progress=True)
    assert "loss =" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "asked"),
    [
        ((0.5, 0.5), {"coordinates": "factors", "stop_loss": 0.3}),
        ((0.5, 0.5), {"coordinates": "logdet", "stop_loss": 0.3}),
        ((0.5, 0.3), {"coordinates": "singular", "stop_loss": 0.3}),
        ((0.5, 0.3), {"coordinates": "product", "stop_gradient": 0.3}),
        ((0.0, 0.0), {"coordinates": "factors", "horizon": 1.0, "observe": ["loss"]}),
    ],
)
def test_no_nan_is_made_on_the_way(start, asked):
    """Not even in place of records behind the end: people look for their own with debug_nans."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    with jax.debug_nans(True):
        flow = gf.solve_flow(objective, np.diag(start), **asked)
    assert flow.outcome.name.startswith("REACHED")
    assert all(np.all(np.isfinite(values)) for values in flow.observables.values())


@pytest.mark.parametrize("solver", ["auto", StiffnessSwitch()])
def test_points_that_do_not_fit_into_memory_are_observed_in_portions(
    monkeypatch, reference, solver
):
    """The same run and the same records, alone and in a batch, also where steps pass the times."""
    objective, _, start, _ = reference
    starts = [start, tuple(1.1 * factor for factor in start)]
    asked = {"stop_loss": 1e-6, "observe": ["loss", "product"], "solver": solver}
    whole = gf.solve_flows(objective, starts, **asked, coordinates="factors")
    monkeypatch.setattr(recording, "_BYTES", 20 * sum(w.nbytes for w in start))
    alone = [gf.solve_flow(objective, each, **asked, coordinates="factors") for each in starts]
    parts = gf.solve_flows(objective, starts, **asked, coordinates="factors")
    for flow, *others in zip(whole, alone, parts, strict=True):
        assert len(flow.times) > 60
        for other in others:
            assert other.outcome is flow.outcome
            assert other.stats["steps"] == flow.stats["steps"]
            np.testing.assert_allclose(other.times, flow.times, rtol=1e-9)
            np.testing.assert_allclose(other["product"], flow["product"], rtol=1e-9, atol=1e-12)


def test_times_that_take_two_portions_are_observed_like_few():
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    times = np.arange(1, 401) / 200
    assert times.size > recording._MARKS
    asked = {"horizon": 2.0, "observe": ["product"], "rtol": 1e-10}
    few, many = (
        gf.solve_flow(objective, 0.5 * np.eye(2), record=record, **asked)
        for record in (times[19::20], times)
    )
    np.testing.assert_array_equal(many.times[::20], few.times)
    np.testing.assert_allclose(many["product"][::20], few["product"], atol=1e-9)
