"""Aligned deep linear networks in closed form."""

import warnings
from typing import Any

import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from gradflow.observables import default_observables
from tests.gradflow.exact.flows import SEEN, TIMES, agree, all_entries, integrated
from tests.helpers import chain, orthonormal


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


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("hidden", [1, 3])
def test_a_rank_that_the_factors_keep_stays(depth, hidden):
    """A rank one start along the second pair of M: the value is 2 for ever, by one ODE.

    W_0 holds 1e-18 of the other pairs, which had come up: singular values 2 and 1 of a product with
    one hidden unit.
    """
    rng = np.random.default_rng(0)
    u, v = orthonormal(rng, 3, 3), orthonormal(rng, 3, 3)
    model = gf.MatrixProduct((3, *[hidden] * (depth - 1), 3))
    objective = gf.Objective(all_entries((u * [3.0, 2.0, 1.0]) @ v.T), model)
    start = [np.zeros((high, low)) for low, high in zip(model.sizes, model.sizes[1:], strict=False)]
    for factor in start[1:-1]:
        factor[0, 0] = 0.01 ** (1 / depth)
    start[0][0], start[-1][:, 0] = (0.01 ** (1 / depth) * a[:, 1] for a in (v, u))
    times = [10.0, 1e3, 1e15, np.inf]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = exact.aligned_flow(objective, tuple(start), times)
    wanted = exact.singular_value_flow([0.0, *times], 0.01, 2.0, depth)
    np.testing.assert_allclose(run["singular_values"][:, 0], wanted, rtol=1e-12)
    np.testing.assert_array_equal(run["singular_values"][:, 1:], 0)
    np.testing.assert_allclose(run["loss"][-1], 5.0, rtol=1e-12)


def test_rounding_of_a_matrix_that_decides_is_told():
    rng = np.random.default_rng(0)
    u, v = orthonormal(rng, 3, 3), orthonormal(rng, 3, 3)
    objective = gf.Objective(
        all_entries((u * [3.0, 2.0, 1.0]) @ v.T), gf.MatrixProduct.of((3, 3), 3)
    )
    start = 0.01 * np.outer(u[:, 1], v[:, 1])
    assert "warnings" not in exact.aligned_flow(objective, start, [10.0]).stats
    with pytest.warns(RuntimeWarning, match="from the time inf on rounding"):
        run = exact.aligned_flow(objective, start, [10.0, np.inf])
    assert "rounding" in run.stats["warnings"][0]
    full = 0.01 * u @ v.T
    assert "warnings" not in exact.aligned_flow(objective, full, [10.0, np.inf]).stats
