"""Closed forms: against integrated flows and quadrature in long arithmetic; limits; misuse."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from gradflow.exact.singular_value import value_and_gap
from gradflow.observables import default_observables
from tests.helpers import chain, orthonormal

TIMES = np.geomspace(0.02, 20.0, 12)
SEEN = ("loss", "gradient_norm", "singular_values", "effective_rank", "test_error", "product")


def all_entries(target: Any, loss: Any = "half_sum") -> Any:
    indices = list(np.ndindex(target.shape))
    return gf.MatrixCompletion(target.shape, indices, target.ravel(), loss=loss, truth=target)


def integrated(objective, start, times, observe, rtol=3e-13):
    return gf.solve_flow(
        objective, start, record=times, horizon=float(times[-1]), rtol=rtol,
        coordinates="factors", observe=observe,
    )  # fmt: skip


def agree(run, flow, rtol=1e-9):
    """All that both recorded, to rtol, or of the size of round-off in the product."""
    np.testing.assert_allclose(run.times, flow.times, rtol=1e-15)
    for name in flow.observables:
        top = np.max(np.abs(flow[name][np.isfinite(flow[name])]))
        floor = {"loss": 1e-16, "test_error": 1e-16, "gradient_norm": 1e-11}.get(name, 1e-13)
        np.testing.assert_allclose(run[name], flow[name], rtol=rtol, atol=floor * top, err_msg=name)


def integral(function, points) -> Any:
    return mpmath.quad(function, points)


# One singular value


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(
    ("start", "target"),
    [(1e-6, 2.0), (0.3, 0.5), (5.0, 2.0), (1e5, 0.7), (0.2, -1.0), (40.0, -0.1)],
)
def test_times_are_those_of_quadrature_in_long_arithmetic(depth, start, target):
    with mpmath.workdps(30):
        begin, s, n = map(mpmath.mpf, (start, target, depth))
        ends = [begin + (max(s, 0) - begin) * mpmath.mpf(f) for f in (0.01, 0.5, 0.95)]
        for end in ends:
            time: Any = integral(
                lambda y: mpmath.exp(y) ** (2 / n - 1) / (n * 3 * (s - mpmath.exp(y))),
                mpmath.linspace(mpmath.log(begin), mpmath.log(end), 4),
            )
            value, gap = value_and_gap(float(time), start, target, depth, 3.0)
            # One rounding of the time moves the value by eps times this; the start's two roundings
            # as much again, or more where the time is short.
            felt = 1 + float(time * 3 * n * end ** (1 - 2 / n) * abs(s - end))
            assert abs(value / float(end) - 1) < 3e-15 * felt
            assert abs(gap - float(s - end)) < 3e-15 * felt * float(end) + 3e-15 * abs(target)
            if target > 0:
                share = float(end / s)
                found = exact.time_to_share(share, start, target, depth, rate=3.0)
                assert abs(found / float(time) - 1) < 1e-12


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_the_gap_keeps_its_digits_and_ends_are_reached(depth):
    """Deep in the tail the gap falls by exp(-N rate s^p t), s = 1, and it never is round-off."""
    t = np.array([30.0, 31.0, 200.0])
    for start in (0.1, 3.0):
        gap = value_and_gap(t, start, 1.0, depth, 1.0)[1]
        np.testing.assert_allclose(gap[1:] / gap[0], np.exp(-depth * (t[1:] - t[0])), rtol=1e-12)
    for start, target in ((0.1, 1.0), (3.0, 1.0), (1.0, 1.0), (0.1, 0.0), (0.1, -2.0)):
        late, end = exact.singular_value_flow(np.array([1e300, np.inf]), start, target, depth)
        wanted = target if depth == 1 else max(target, 0.0)
        assert end == wanted
        np.testing.assert_allclose(late, wanted, atol=1e-100)
    assert exact.singular_value_flow(0.0, 0.3, 1.0, depth) == pytest.approx(0.3, rel=1e-14)


def test_the_plateau_has_its_length():
    """What the formula leaves out is a constant, so its share falls as the plateau grows."""
    for depth in (3, 4):
        starts = np.array([1e-6, 1e-9, 1e-12])
        found = exact.time_to_share(0.5, starts, 2.0, depth)
        plateau = starts ** (2 / depth - 1) / ((depth - 2) * 2.0)
        off = np.abs(found / plateau - 1)
        np.testing.assert_allclose(off[1:] / off[:-1], 1000.0 ** (2 / depth - 1), rtol=0.1)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_constant_gradient_is_the_limit_of_a_far_target(depth):
    """rate (target - sigma) tends to the push as the target goes far away: error 1 / target."""
    t, push = np.array([0.3, 2.0]), 0.4
    wanted = exact.constant_gradient_flow(t, 0.05, push, depth)
    off = [
        np.abs(exact.singular_value_flow(t, 0.05, far, depth, rate=push / far) - wanted)
        for far in (1e4, 1e5)
    ]
    np.testing.assert_allclose(off[0] / off[1], 10, rtol=1e-2)
    if depth > 2:
        escape = 0.05 ** (2 / depth - 1) / ((depth - 2) * push)
        near = exact.constant_gradient_flow(escape * np.array([0.999, 1.001]), 0.05, push, depth)
        assert np.isfinite(near[0]) and np.isinf(near[1])


def test_equation_11_between_two_singular_values():
    """sigma_1^(-1/3) - alpha sigma_2^(-1/3) stays, at depth 3, under any common push."""
    t, alpha = np.linspace(0, 2, 9), 0.7
    first = exact.constant_gradient_flow(t, 0.02, alpha, 3)
    second = exact.constant_gradient_flow(t, 0.03, 1.0, 3)
    kept = first ** (-1 / 3) - alpha * second ** (-1 / 3)
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


# Least squares


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


# Aligned deep linear flows


def aligned_case(depth, shape, loss, targets, starts) -> Any:
    rng = np.random.default_rng(depth)
    u, v = orthonormal(rng, shape[0], len(targets)), orthonormal(rng, shape[1], len(targets))
    problem = all_entries((u * targets) @ v.T, loss)
    model = gf.MatrixProduct.of(shape, depth)
    key = jax.random.key(0)
    start = model.balanced((u * starts) @ v.T, key)
    return gf.Objective(problem, model), start


@pytest.mark.parametrize(
    ("depth", "shape", "loss", "targets", "starts"),
    [
        (1, (2, 4), "mean", [0.5, 1.5], [2.0, 0.1]),
        (2, (4, 3), "sum", [2.0, 2.0, -0.7], [0.3, 0.3, 0.2]),  # repeated; against the sign
        (3, (2, 4), "mean", [0.5, 1.5], [2.0, 0.1]),  # one from above
        (4, (3, 3), "half_sum", [3.0, 0.0, -1.0], [0.2, 0.3, 0.1]),
    ],
)
def test_aligned_flows_are_the_flows(depth, shape, loss, targets, starts):
    objective, start = aligned_case(depth, shape, loss, np.array(targets), np.array(starts))
    # Later, round-off takes float64 factors of depth 2 away from a singular value exp(-2.8 t),
    # where there is no minimum; the closed form stays.
    times = TIMES / 5
    flow = integrated(objective, start, times, SEEN)
    run = exact.aligned_flow(objective, start, times, observe=SEEN)
    agree(run, flow)
    for name, factor in flow.final.items():
        np.testing.assert_allclose(run.final[name], factor, atol=1e-10)
    wanted = chain([run.final[f"W_{k + 1}"] for k in range(depth)])
    np.testing.assert_allclose(wanted, run["product"][-1], atol=1e-13)


def test_whitened_regression_is_aligned_too():
    depth, rng = 3, np.random.default_rng(5)
    x, y = 1.7 * orthonormal(rng, 6, 3), rng.normal(size=(6, 2))
    problem = gf.LeastSquares(x, y, loss="sum")
    target = x.T @ y / 1.7**2
    u, _, vt = np.linalg.svd(target, full_matrices=False)
    model = gf.MatrixProduct.of((3, 2), depth)
    objective = gf.Objective(problem, model)
    start = model.balanced((u * [0.1, 0.2]) @ vt)
    seen = ("loss", "gradient_norm", "singular_values", "product")
    flow = integrated(objective, start, TIMES / 10, seen)
    run = exact.aligned_flow(objective, start, TIMES / 10, observe=seen)
    agree(run, flow)
    assert run["loss"][-1] > 0.1  # what no W fits


def test_the_identity_is_aligned_with_symmetric_targets_and_limits_are_exact():
    rng = np.random.default_rng(3)
    q = orthonormal(rng, 4, 4)
    target = (q * [3.0, 1.0, 0.2, -1.0]) @ q.T
    objective = gf.Objective(all_entries(target), gf.MatrixProduct.of((4, 4), 3))
    start = gf.factorizations.identity_factors((4,) * 4, 1e-2)
    run = exact.aligned_flow(objective, start, [1.0, np.inf])
    np.testing.assert_allclose(run["singular_values"][-1], [3.0, 1.0, 0.2, 0.0], atol=1e-14)
    assert run["loss"][-1] == pytest.approx(0.5, rel=1e-13)  # the value below 0 is out of reach
    assert (
        run["effective_rank"][0] == pytest.approx(4.0) and float(run.stats["misalignment"]) < 1e-14
    )
    assert run.outcome is gf.Outcome.REACHED_HORIZON


def test_closed_forms_record_what_flows_do_and_can_be_stored(tmp_path):
    objective, start = aligned_case(
        2, (3, 3), "half_sum", np.array([3.0, 1.0, 0.5]), np.array([1e-3, 1e-3, 1e-3])
    )
    limit = exact.aligned_flow(objective, start, [1.0, np.inf])
    assert tuple(limit.observables) == default_observables(objective.problem)
    again = gf.Trajectory.load(limit.save(tmp_path / "limit.nc"))
    np.testing.assert_array_equal(again.times, [0, 1, np.inf])
    assert again.config["kind"] == "closed form" and "closed form, 3 times" in repr(again)
    for draw in (gf.plotting.plot_loss, gf.plotting.plot_effective_rank, gf.plotting.plot_spectrum):
        assert np.size(draw(limit).lines[0].get_xdata()) == 1  # neither 0 nor infinity


# Commuting measurements


def commuting_case(depth, scale=0.1) -> Any:
    rng = np.random.default_rng(7)
    q = orthonormal(rng, 4, 4)
    diagonals = np.array([[2.0, 1.0, 0.5, 0.0], [0.0, -1.0, 1.0, 1.0]])
    a = np.einsum("ij,kj,lj->kil", q, diagonals, q)
    problem = gf.MatrixSensing(a, diagonals @ [1.0, 0.3, 0.8, 0.2])
    objective = gf.Objective(problem, gf.MatrixProduct.of((4, 4), depth))
    return objective, gf.factorizations.identity_factors((4,) * (depth + 1), scale)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_commuting_measurements_are_the_flow(depth):
    objective, start = commuting_case(depth)
    seen = ("loss", "gradient_norm", "singular_values", "product")
    flow = integrated(objective, start, TIMES * 2, seen)
    run = exact.commuting_flow(objective, start, TIMES * 2, observe=seen)
    agree(run, flow)
    for name, factor in flow.final.items():
        np.testing.assert_allclose(run.final[name], factor, atol=1e-10)


@pytest.mark.parametrize("depth", [2, 3])
def test_equation_16_with_its_own_integral_of_the_residuals(depth):
    """s(t) from the flow's own residuals by Gauss-Legendre, then the printed formula."""
    objective, start = commuting_case(depth, 0.2)
    problem, end = objective.problem, 3.0
    nodes, weights = np.polynomial.legendre.leggauss(60)
    times = end * (nodes + 1) / 2
    run = exact.commuting_flow(objective, start, [*times, end], observe=("product",))
    residuals = np.array([problem.residual(w) for w in run["product"]])
    s = end / 2 * weights @ residuals[1:-1]
    values, q = np.linalg.eigh(np.einsum("k,kij->ij", s, problem.measurements))
    alpha, n = 0.2 ** (1 / depth), depth
    if depth == 2:
        wanted = alpha**2 * np.exp(-2 * values)
    else:
        wanted = alpha**n * (1 + (n - 2) * alpha ** (n - 2) * values) ** (-n / (n - 2))
    np.testing.assert_allclose(run["product"][-1], (q * wanted) @ q.T, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_commuting_limit_is_where_the_flow_goes(depth):
    objective, start = commuting_case(depth)
    run = exact.commuting_flow(objective, start, [1.0, 200.0, np.inf], observe=("loss", "product"))
    assert run["loss"][-1] < 1e-25
    np.testing.assert_allclose(run["product"][-1], run["product"][-2], atol=1e-13)
    assert 1 < float(run.stats["linear_from"]) < 50
    # What moved is a combination of the measurements: s is the multiplier of Equation (17).
    values, q = np.linalg.eigh(run["product"][-1])
    power, begin = (
        (np.log(x) if depth == 2 else x ** (2 / depth - 1)) for x in (values, np.full(4, 0.1))
    )
    moved = ((q * (power - begin)) @ q.T).ravel()
    a = np.asarray(objective.problem.measurements).reshape(2, -1).T
    np.testing.assert_allclose(a @ np.linalg.lstsq(a, moved, rcond=None)[0], moved, atol=1e-10)


def test_measurements_that_share_singular_vectors_need_not_be_symmetric():
    rng = np.random.default_rng(11)
    u, v = orthonormal(rng, 3, 2), orthonormal(rng, 2, 2)
    a = np.einsum("ir,kr,jr->kij", u, [[1.0, 0.3], [0.5, -1.0]], v)
    problem = gf.MatrixSensing(a, [1.0, 0.2], loss="mean")
    model = gf.MatrixProduct.of((3, 2), 3)
    objective = gf.Objective(problem, model)
    start = model.balanced((u * [0.2, 0.1]) @ v.T)
    flow = integrated(objective, start, TIMES, ("loss", "product"))
    run = exact.commuting_flow(objective, start, TIMES, observe=("loss", "product"))
    agree(run, flow)


# The norm blow-up


def blowing_up(problem, w):
    seen = ("loss", "gradient_norm", "singular_values", "unobserved_entries", "log_abs_det")
    return gf.solve_flow(
        gf.Objective(problem, gf.MatrixProduct((2, 2, 2))), jnp.asarray(w), coordinates="logdet",
        stop_loss=1e-7, rtol=1e-12, record=np.geomspace(1.0, 1e10, 121), observe=seen,
    )  # fmt: skip


@pytest.fixture(scope="module", name="blowups")
def blowup_flows():
    """Flows with different shifts: from 0.1 I, from a matrix of no symmetry, with entry below 0."""
    starts = {
        "identity": 0.1 * np.eye(2),
        "generic": np.array([[0.4, 0.3], [-0.1, 0.2]]),
        "negative": -0.1 * np.eye(2),
    }
    return {name: blowing_up(gf.synthetic.norm_blowup(), w) for name, w in starts.items()}


@pytest.mark.parametrize("name", ["identity", "generic", "negative"])
def test_the_tail_of_the_blow_up_is_the_flow(blowups, name):
    flow, problem = blowups[name], gf.synthetic.norm_blowup()
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
    flow, problem = blowups["generic"], gf.synthetic.norm_blowup()
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
    run = exact.norm_blowup_tail(gf.synthetic.norm_blowup(), flow.times[late])
    off = np.abs(run["unobserved_entries"][1:, 0] / flow["unobserved_entries"][late, 0] - 1)
    slope = np.polyfit(np.log(flow.times[late][:20]), np.log(off[:20]), 1)[0]
    assert abs(slope + 1) < 0.02
    t = flow.times[-1]
    np.testing.assert_allclose(flow["unobserved_entries"][-1, 0], (6 * t) ** (1 / 3), rtol=1e-4)
    np.testing.assert_allclose(flow["loss"][-1], (6 * t) ** (-2 / 3) / 2, rtol=1e-4)


def test_the_blow_up_at_other_places_signs_sizes_and_conventions():
    problem = gf.synthetic.norm_blowup(2.0, -2.0, unobserved=(0, 1))
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


# Misuse


def test_misuse_names_the_value_and_the_remedy():
    blowup = gf.synthetic.norm_blowup()
    two = gf.MatrixProduct((2, 2, 2))
    target = np.array([[1.0, 0.2], [0.2, 2.0]])
    objective, eye = (
        gf.Objective(all_entries(target), two),
        gf.factorizations.identity_factors((2, 2, 2), 0.1),
    )
    line = gf.LeastSquares([[1.0, 0.0]], [1.0])
    sensing = gf.Objective(gf.MatrixSensing([[[1.0, 2.0], [0.0, 1.0]]], [1.0]), two)
    apart = gf.Objective(gf.MatrixSensing([np.diag([1.0, 0.0])], [-1.0]), two)
    tail = exact.norm_blowup_tail(blowup, [1e3])
    penalised = gf.Objective(objective.problem, two, gf.NuclearNorm(0.1))
    cases: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
        (exact.least_squares_flow, (blowup, eye[0], [1.0]), "not a MatrixCompletion"),
        (exact.least_squares_flow, (line, np.zeros(3), [1.0]), r"shape \(3,\)"),
        (exact.least_squares_flow, (line, np.zeros(2, np.float32), [1.0]), "float32|differ"),
        (exact.least_squares_flow, (line, np.zeros(2), [-1.0]), r"from 0 on.*\[-1.0\]"),
        (exact.least_squares_flow, (line, np.zeros(2), [2.0, 1.0]), "rising"),
        (exact.least_squares_flow, (line, np.zeros(2), [np.nan]), "rising"),
        (exact.aligned_flow, (gf.Objective(blowup, two), eye, [1.0]), "1 of 4 are not"),
        (exact.aligned_flow, (sensing, eye, [1.0]), "not MatrixSensing"),
        (exact.aligned_flow, (objective, np.diag([0.1, 0.2]), [1.0]), "not aligned"),
        (exact.aligned_flow, (objective, (eye[0], 2 * eye[1]), [1.0]), "not balanced"),
        (exact.aligned_flow, (objective, eye, [-0.5, 1.0]), "from 0 on"),
        (exact.aligned_flow, (penalised, eye, [1.0]), "NuclearNorm"),
        (partial(exact.aligned_flow, observe=("factors",)), (objective, eye, [1.0]), "factors"),
        (exact.commuting_flow, (objective, eye, [1.0]), "MatrixSensing"),
        (exact.commuting_flow, (sensing, eye, [1.0]), "share their singular vectors"),
        (exact.commuting_flow, (apart, eye, [1.0, np.inf]), "leave np.inf out"),
        (exact.norm_blowup_tail, (blowup, [1.0]), "rising numbers from 105"),
        (exact.norm_blowup_tail, (blowup, [1e3, np.inf]), "finite"),
        (exact.norm_blowup_tail, (gf.synthetic.norm_blowup(1.0, 2.0), [1e3]), "z_prime = 2"),
        (exact.norm_blowup_tail, (objective.problem, [1e3]), "0 entries are unobserved"),
        (exact.norm_blowup_shifts, (blowup, tail), "log_abs_det"),
        (exact.singular_value_flow, (-1.0, 0.1, 1.0, 2), "hold -1"),
        (exact.singular_value_flow, (1.0, -0.1, 1.0, 2), "-0.1"),
        (exact.singular_value_flow, (1.0, 0.1, 1.0, 0), "depth"),
        (exact.constant_gradient_flow, (1.0, 0.0, 1.0, 2), "above 0 at depth 2"),
        (exact.time_to_share, (0.1, 0.5, 1.0, 2), "never has the share 0.1"),
        (exact.time_to_share, (1.0, 0.5, 1.0, 2), "never has the share 1 "),
        (exact.time_to_share, (0.5, 0.0, 1.0, 3), "not 0 if depth"),
        (exact.time_to_share, (0.5, 0.1, -1.0, 3), "target must be above 0"),
    ]
    for call, arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            call(*arguments)
