"""The tail of the 2x2 norm blow-up."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import exact


def blowing_up(problem, w):
    seen = ("loss", "gradient_norm", "singular_values", "unobserved_entries", "log_abs_det")
    return gf.solve_flow(
        gf.Objective(problem, gf.MatrixProduct((2, 2, 2))), jnp.asarray(w), coordinates="logdet",
        stop_loss=1e-7, rtol=1e-12, times=np.geomspace(1.0, 1e10, 121), observe=seen,
    )  # fmt: skip


@pytest.fixture(scope="module", name="blowups")
def blowup_flows():
    """Flows with different shifts: from 0.1 I, from a matrix of no symmetry, with entry below 0."""
    starts = {
        "identity": 0.1 * np.eye(2),
        "generic": np.array([[0.4, 0.3], [-0.1, 0.2]]),
        "negative": -0.1 * np.eye(2),
    }
    return {name: blowing_up(gf.norm_blowup(), w) for name, w in starts.items()}


@pytest.mark.parametrize("name", ["identity", "generic", "negative"])
def test_the_tail_of_the_blow_up_is_the_flow(blowups, name):
    flow, problem = blowups[name], gf.norm_blowup()
    size = np.abs(flow["unobserved_entries"][:, 0])
    record = int(np.argmax(size > 40))
    shifts = exact.norm_blowup_shifts(problem, flow, record=record)
    assert shifts.sign == (-1 if name == "negative" else 1)
    run = exact.norm_blowup_tail(
        problem, flow.times[record + 1 :], shifts, observe=list(flow.observables)
    )
    for seen in flow.observables:
        wanted = flow[seen][record + 1 :]
        if seen == "singular_values":  # the logarithm of the second is that of the determinant
            np.testing.assert_allclose(run[seen][1:, 0], wanted[:, 0], rtol=2e-10)
        else:
            # The flow sums its gradient norm from parts that cancel.
            rtol = 1e-8 if seen == "gradient_norm" else 1e-9
            np.testing.assert_allclose(run[seen][1:], wanted, rtol=rtol, err_msg=seen)
    assert run.times[0] == run.stats["valid_from"]
    ax = gf.plotting.plot_unobserved_entry({"flow": flow, "series": run})
    assert len(ax.lines) == 2


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_the_error_of_the_blow_up_falls_at_its_stated_order(blowups, terms):
    """Relative to x^(-2K), with the entry's coefficient as the next term of the time gives it."""
    flow, problem = blowups["generic"], gf.norm_blowup()
    size = flow["unobserved_entries"][:, 0]
    shifts = exact.norm_blowup_shifts(problem, flow, record=int(np.argmax(size > 60)))
    kept = (size > 12) & (size < 40)
    run = exact.norm_blowup_tail(problem, flow.times[kept], shifts, terms=terms)
    for name in ("loss", "gradient_norm", "unobserved_entries"):
        wanted = flow[name][kept].ravel()
        off = np.abs(run[name][1:].ravel() / wanted - 1)
        slope = np.polyfit(np.log(size[kept]), np.log(off), 1)[0]
        assert abs(slope + 2 * terms) < 0.15 * terms, (name, slope)
        if name == "unobserved_entries":
            coefficient = (5.0, 8.0, 55 / 3)[terms - 1]
            np.testing.assert_allclose(
                off[-1], coefficient * size[kept][-1] ** (-2 * terms), rtol=0.1
            )


def test_without_shifts_the_error_is_one_over_t(blowups):
    flow = blowups["identity"]
    late = flow.times > 1e4
    run = exact.norm_blowup_tail(gf.norm_blowup(), flow.times[late])
    off = np.abs(run["unobserved_entries"][1:, 0] / flow["unobserved_entries"][late, 0] - 1)
    slope = np.polyfit(np.log(flow.times[late][:20]), np.log(off[:20]), 1)[0]
    assert abs(slope + 1) < 0.02
    t = flow.times[-1]
    np.testing.assert_allclose(flow["unobserved_entries"][-1, 0], (6 * t) ** (1 / 3), rtol=1e-4)
    np.testing.assert_allclose(flow["loss"][-1], (6 * t) ** (-2 / 3) / 2, rtol=1e-4)


def test_the_blow_up_at_other_places_signs_sizes_and_conventions():
    problem = gf.norm_blowup(2.0, -2.0, unobserved=(0, 1))
    flow = blowing_up(problem, [[0.5, 0.3], [0.2, 0.4]])
    record = int(np.argmax(np.abs(flow["unobserved_entries"][:, 0]) > 80))
    shifts = exact.norm_blowup_shifts(problem, flow, record=record)
    times = flow.times[record + 1 :]
    seen = ("loss", "gradient_norm", "unobserved_entries", "log_abs_det", "det_sign", "product")
    run = exact.norm_blowup_tail(problem, times, shifts, observe=seen)
    for name in seen[:4]:
        wanted = flow[name][record + 1 :]
        rtol = 1e-8 if name == "gradient_norm" else 1e-9
        np.testing.assert_allclose(run[name][1:], wanted, rtol=rtol, err_msg=name)
    assert np.all(run["det_sign"] == 1)  # that of the start
    w = run["product"][1]
    assert float(problem.loss(w)) == pytest.approx(run["loss"][1], rel=1e-10)
    np.testing.assert_allclose(np.diag(w), [2, -2], atol=1e-2)
    # A loss of 2/3 the size, that of the mean of three, is the same flow, slower.
    mean = gf.MatrixCompletion((2, 2), problem.indices, problem.values, loss="mean")
    slow = shifts._replace(time=1.5 * shifts.time)
    other = exact.norm_blowup_tail(mean, 1.5 * times, slow, observe=seen)
    np.testing.assert_allclose(other["product"], run["product"], rtol=1e-12)
    np.testing.assert_allclose(other["loss"], run["loss"] / 1.5, rtol=1e-12)
    np.testing.assert_allclose(other["gradient_norm"], run["gradient_norm"] / 1.5, rtol=1e-12)
