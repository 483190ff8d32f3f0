"""The norm blow-up in every kind of coordinates."""

import functools

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.gradflow.flow.oracles import EVERYTHING, GENERIC, SCALED, blowup_objective


@functools.cache
def blowup(depth, scaled):
    return gf.solve_flow(
        blowup_objective(depth, values=(1.0, 1.0, 0.0)),
        SCALED if scaled else GENERIC,
        coordinates="logdet",
        times=np.geomspace(0.1, 1e9, 240),  # 24 a decade
        stop_loss=1e-6,
        observe=EVERYTHING,
    )


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("scaled", [True, False], ids=["from alpha I", "generic"])
def test_fitting_drives_the_free_entry_to_infinity(depth, scaled):
    flow = blowup(depth, scaled)
    assert flow.outcome is Outcome.REACHED_LOSS
    assert abs(flow["loss"][-1] / 1e-6 - 1) < 1e-8
    assert np.all(flow["det_sign"] == 1)
    assert np.all(np.diff(flow["loss"]) < 0)
    # det > 0 with errors of at most e in what is observed: w_11 e >= w_11 w_22 > (1 - e)^2.
    error = np.sqrt(2 * flow["loss"][-1])
    assert flow["unobserved_entries"][-1, 0] > (1 - error) ** 2 / error
    np.testing.assert_allclose(
        np.sum(flow["singular_values"] ** 2, axis=1),
        np.sum(flow["product"] ** 2, axis=(1, 2)),
        rtol=1e-12,
    )
    assert flow.stats["steps"] + flow.stats["rejected"] < 400  # no stiffness, no cancellation


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_loss_falls_at_the_squared_gradient_norm(depth):
    """The integral of |gradient|^2 over time is what the loss has lost."""
    flow = blowup(depth, True)
    first = np.argmax(flow["loss"] < 1e-2)  # before, the escape from the start is sudden
    last = first + (len(flow.times) - first - 2) // 2 * 2  # an even number of equal intervals
    part = slice(first, last + 1)
    t = flow.times[part]
    fallen = scipy.integrate.simpson(flow["gradient_norm"][part] ** 2 * t, x=np.log(t))
    # Simpson's rule with intervals of h = 0.1 in log t: h^4/180 = 6e-7 of a fourth derivative.
    np.testing.assert_allclose(fallen, flow["loss"][first] - flow["loss"][last], rtol=2e-5)


def test_depth_two_from_a_multiple_of_the_identity_has_its_asymptotics():
    """w_11 ~ (6t)^(1/3), loss ~ (6t)^(-2/3)/2 and log det ~ -1/(4 loss)."""
    flow = blowup(2, True)
    t = flow.times[-1]
    assert abs(flow["unobserved_entries"][-1, 0] / (6 * t) ** (1 / 3) - 1) < 0.01
    assert abs(flow["loss"][-1] / ((6 * t) ** (-2 / 3) / 2) - 1) < 0.01
    assert abs(flow["log_abs_det"][-1] * -4e-6 - 1) < 0.01


@pytest.mark.parametrize(
    "w", [((0.0014, 0.0023), (-0.0040, -0.0022)), ((0.0048, 0.0008), (0.0057, -0.0051))]
)
def test_another_pivot_takes_over_where_one_becomes_small(w):
    # On the way from these starts, of either determinant, the pivot entry crosses zero.
    w = np.array(w)
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    flow = gf.solve_flow(objective, w, coordinates="logdet", stop_loss=0.2, rtol=1e-9)
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    assert flow.stats["charts"] > 1
    assert np.all(np.diff(flow.times) > 0)
    end = flow.times[-1]
    plain = gf.solve_flow(objective, w, horizon=end, rtol=1e-11, times=flow.times[1:-1])
    # 1e-6 is far above either tolerance times the growth of errors in the rise (about 1e2).
    np.testing.assert_allclose(flow["loss"], plain["loss"], rtol=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("start", ["generic", "identity"])
def test_a_loss_of_1e_8_takes_at_most_200_steps(depth, start):
    w = np.array({"generic": [[1e-3, 3e-4], [-2e-4, 8e-4]], "identity": 1e-2 * np.eye(2)}[start])
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct.of((2, 2), depth))
    loose, tight = (
        gf.solve_flow(objective, w, coordinates="logdet", stop_loss=1e-8, rtol=rtol)
        for rtol in (1e-6, 1e-9)
    )
    assert loose.outcome is gf.Outcome.REACHED_LOSS
    assert loose.stats["steps"] <= 200
    # The tolerance itself; the entry is in fact right to 1e-9.
    assert loose["unobserved_entries"][-1, 0] == pytest.approx(
        tight["unobserved_entries"][-1, 0], rel=1e-6
    )
