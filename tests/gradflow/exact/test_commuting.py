"""Commuting measurements in closed form."""

from typing import Any

import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from gradflow.exact import commuting
from tests.gradflow.exact.flows import TIMES, agree, integrated
from tests.helpers import orthonormal


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
    begin = float(run.stats["linear_from"])
    assert begin == 0 if depth == 1 else 1 < begin < 50
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


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_value_that_has_to_vanish_has_no_limit_inside(depth):
    """Its label is 0: it falls like a power of t, by its own equation; the flow had gone on for
    ever where the limit was asked for, and at depth 1 at any time.
    """
    problem = gf.MatrixSensing([np.diag([1.0, 0.0, 0.0]), np.diag([0.0, 1.0, 0.0])], [0.0, 1.0])
    objective = gf.Objective(problem, gf.MatrixProduct.of((3, 3), depth))
    start, seen = objective.factorization.identity(0.5), ("product",)
    times = [1.0, 1e3, 1e6]
    found = exact.commuting_flow(objective, start, times, observe=seen)["product"]
    wanted = exact.singular_value_flow([0.0, *times], 0.5, 0.0, depth)
    np.testing.assert_allclose(found[:, 0, 0], wanted, rtol=1e-8, atol=1e-16)
    np.testing.assert_allclose(found[-1].diagonal()[1:], [1.0, 0.5], rtol=1e-12)
    if depth == 1:  # there is nothing that a value has to be above
        run = exact.commuting_flow(objective, start, [np.inf], observe=seen)
        np.testing.assert_allclose(run["product"][-1], np.diag([0.0, 1.0, 0.5]), atol=1e-15)
        return
    with pytest.raises(ValueError, match=r"leave np\.inf out"):
        exact.commuting_flow(objective, start, [np.inf])


def test_a_time_too_late_to_follow_is_named(monkeypatch):
    monkeypatch.setattr(commuting, "_MOST", 2010)
    problem = gf.MatrixSensing([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], [0.0, 1.0])
    objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), 3))
    with pytest.raises(ValueError, match=r"beyond the time .* \(too many steps\)"):
        exact.commuting_flow(objective, objective.factorization.identity(0.5), [1e20])


@pytest.mark.parametrize("hidden", [1, 3])
def test_commuting_measurements_of_a_start_of_rank_one(hidden):
    """Along the second of the frames alone, though W_0 holds 1e-18 of the others."""
    q = orthonormal(np.random.default_rng(0), 3, 3)
    problem = gf.MatrixSensing(
        [(q * d) @ q.T for d in ([1.0, 2.0, 3.0], [0.5, -1.0, 1.0])], [2.0, 3.0]
    )
    objective = gf.Objective(problem, gf.MatrixProduct((3, hidden, 3)))
    one = np.eye(hidden)[:1]
    start = 0.1 * one.T @ q[:, 1:2].T, 0.1 * q[:, 1:2] @ one
    run = exact.commuting_flow(objective, start, [1.0, 10.0, 100.0])
    np.testing.assert_array_equal(run["singular_values"][:, 1:], 0)
    np.testing.assert_allclose(run["singular_values"][-1, 0], 0.2, rtol=1e-9)  # (2 * 2 - 3) / 5
    assert "warnings" not in run.stats
    if hidden == 3:
        with pytest.warns(RuntimeWarning, match="rounding may decide"):
            exact.commuting_flow(objective, 0.01 * np.outer(q[:, 1], q[:, 1]), [1.0, 10.0])
