"""A state is named by its coordinates, and is a start again; looking does not change a run."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf

PROBLEM = gf.synthetic.norm_blowup()
MODEL = gf.MatrixProduct((2, 2, 2))
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
START = MODEL.balanced(np.array([[0.3, 0.1], [-0.05, 0.2]]))
NAMES = {
    "factors": {"W_1", "W_2"},
    "product": {"W"},
    "singular": {"log_singular_values", "U", "V"},
    "logdet": {
        "log_abs_pivot", "neighbour_in_row", "neighbour_in_column", "log_abs_det",
        "det_sign", "pivot_sign", "pivot",
    },
}  # fmt: skip


@pytest.mark.parametrize("coordinates", NAMES)
def test_a_run_goes_on_from_where_another_ended(coordinates):
    asked = {"rtol": 1e-10, "observe": ["product"]}
    first = gf.solve_flow(OBJECTIVE, START, coordinates=coordinates, horizon=3.0, **asked)
    assert set(first.final) == NAMES[coordinates]
    second = gf.solve_flow(OBJECTIVE, first.final, horizon=4.0, **asked)
    assert second.stats["coordinates"] == coordinates
    whole = gf.solve_flow(OBJECTIVE, START, coordinates=coordinates, horizon=7.0, **asked)
    for name, array in whole.final.items():
        np.testing.assert_allclose(second.final[name], array, rtol=1e-7, atol=1e-9, err_msg=name)


def test_a_determinant_that_the_product_has_lost_is_not_lost_on_the_way():
    first = gf.solve_flow(OBJECTIVE, MODEL.identity(1e-2), stop_loss=1e-3)
    assert first.final["log_abs_det"] < -200
    asked = {"horizon": 1.0, "observe": ["log_abs_det"]}
    second = gf.solve_flow(OBJECTIVE, first.final, **asked)
    assert second["log_abs_det"][0] == first.final["log_abs_det"]
    (loaded,) = gf.solve_flows(OBJECTIVE, [first.final], **asked)
    np.testing.assert_array_equal(loaded["log_abs_det"], second["log_abs_det"])


def test_a_descent_goes_on_from_a_flow_and_back():
    flow = gf.solve_flow(OBJECTIVE, START, coordinates="factors", horizon=1.0)
    asked = {"learning_rate": 0.1, "max_steps": 5}
    run = gf.run_descent(OBJECTIVE, flow.final, gf.optimizers.gd, **asked)
    np.testing.assert_array_equal(run.initial["W_2"], flow.final["W_2"])
    assert gf.solve_flow(OBJECTIVE, run.final, horizon=1.0)["loss"][0] == run["loss"][-1]
    matrix = gf.run_descent(OBJECTIVE, 0.1 * np.eye(2), gf.optimizers.gd, **asked)
    np.testing.assert_allclose(matrix.initial["W_1"], np.sqrt(0.1) * np.eye(2))


def test_momentum_goes_on_with_its_velocities():
    asked = {"dynamics": gf.MomentumFlow(0.5), "rtol": 1e-10}
    first = gf.solve_flow(OBJECTIVE, START, horizon=2.0, **asked)
    assert set(first.final) == {"W_1", "W_2", "V_1", "V_2"}
    second = gf.solve_flow(OBJECTIVE, first.final, horizon=2.0, **asked)
    whole = gf.solve_flow(OBJECTIVE, START, horizon=4.0, **asked)
    np.testing.assert_allclose(second.final["V_1"], whole.final["V_1"], rtol=1e-7)


@cache
def final():
    return gf.solve_flow(OBJECTIVE, START, coordinates="product", horizon=1.0).final


REFUSED = {
    "other coordinates": (final, {"coordinates": "factors"}, "'product'", "leave these away"),
    "a descent": (None, {}, "The start has W,", "start from factors"),
    "other names": ({"W_1": np.eye(2), "X": np.eye(2)}, {}, "no W_2", "it has W_1, X"),
    "momentum": (
        {"W_1": np.eye(2), "W_2": np.eye(2)}, {"dynamics": gf.MomentumFlow(1.0)},
        "The start has W_1, W_2", "starts from W_1, W_2, V_1, V_2"),
    "not finite": ({"W": np.full((2, 2), np.nan)}, {}, "W[0, 0] is nan", "replace"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_states_that_do_not_fit_are_refused_by_value_and_remedy(case):
    start, asked, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        if start is None:
            gf.run_descent(OBJECTIVE, final(), gf.optimizers.gd, learning_rate=1.0, max_steps=1)
        else:
            state = start() if callable(start) else start
            gf.solve_flow(OBJECTIVE, state, horizon=1.0, **asked)
    assert value in str(refused.value)
    assert remedy in str(refused.value)


def test_what_is_observed_has_no_say_in_the_coordinates():
    """The flow of W3: with the factors recorded, "auto" once took other coordinates, and erred."""
    asked = {"stop_loss": 1e-6}
    flow = gf.solve_flow(OBJECTIVE, MODEL.identity(0.1), observe=["product"], **asked)
    np.testing.assert_allclose(flow["product"][-1, 0, 0], 707.105, rtol=1e-5)
    more = gf.solve_flow(OBJECTIVE, MODEL.identity(0.1), observe=["product", "unbalancedness"],
                         **asked)  # fmt: skip
    np.testing.assert_array_equal(more["product"], flow["product"])
    with pytest.raises(ValueError, match="'factors' cannot be recorded in coordinates 'logdet'"):
        gf.solve_flow(OBJECTIVE, MODEL.identity(0.1), observe=["product", "factors"], **asked)


def test_times_to_record_do_not_stop_a_flow_that_has_a_stop():
    flow = gf.solve_flow(OBJECTIVE, START, record=[1.0, 2.0], stop_loss=0.05)
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    np.testing.assert_allclose(flow["loss"][-1], 0.05, rtol=1e-6)
    assert flow.times[:3].tolist() == [0.0, 1.0, 2.0]
    assert len(flow) == 4
    alone = gf.solve_flow(OBJECTIVE, START, record=[1.0, 2.0])
    assert alone.outcome is gf.Outcome.REACHED_HORIZON
    assert alone.times.tolist() == [0.0, 1.0, 2.0]


def test_both_engines_give_results_of_one_shape():
    flow = gf.solve_flow(OBJECTIVE, START, horizon=1.0, coordinates="factors")
    run = gf.run_descent(OBJECTIVE, START, gf.optimizers.gd, learning_rate=0.1, max_steps=9)
    common = {"steps", "rejected", "end", "seconds"}
    for one in (flow, run):
        assert common <= set(one.stats)
        assert one.stats["end"] == one.times[-1]
        assert set(one.initial) == set(one.final) == {"W_1", "W_2"}
    assert run.stats["steps"] == 9
    stop = np.sqrt(sum(np.sum(g**2) for g in OBJECTIVE.gradient(START))) / 2
    for end in (
        gf.solve_flow(OBJECTIVE, START, stop_gradient=stop),
        gf.run_descent(OBJECTIVE, START, gf.optimizers.gd, learning_rate=0.01, max_steps=10**5,
                       stop_gradient=stop, observe=["gradient_norm"]),
    ):  # fmt: skip
        assert end.outcome is gf.Outcome.REACHED_GRADIENT_NORM
        assert end["gradient_norm"][-1] <= stop * (1 + 1e-9)


def test_progress_may_be_a_function_of_step_and_loss():
    told = []
    gf.solve_flow(OBJECTIVE, START, horizon=1.0, progress=lambda step, loss: told.append(loss))
    assert len(told) > 3
    assert told[-1] < told[0]
    jnp.zeros(())  # the device is still there
