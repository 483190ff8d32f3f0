"""Diagonal networks: closed forms, least potentials, the least l1 norm."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from tests.helpers import orthonormal, refuses

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 5)), RNG.normal(size=3)
SKEW = gf.LeastSquares(X, Y)


def orthogonal():
    """Three columns, of which one is 0."""
    x = orthonormal(np.random.default_rng(1), 4, 3) * np.array([1.0, 2.0, 0.0])
    return gf.LeastSquares(x, np.random.default_rng(2).normal(size=4))


def test_it_is_the_flow_and_has_its_limit():
    objective = gf.Objective(orthogonal(), gf.DiagonalNetwork(3, 2))
    start = (jnp.array([0.3, 1.0, 0.5]), jnp.array([0.2, 0.1, 0.4]))
    times, seen = np.geomspace(0.02, 8.0, 10), ("loss", "gradient_norm", "product")
    flow = gf.solve_flow(objective, start, record=times, horizon=8.0, rtol=3e-13, observe=seen)
    run = exact.diagonal_flow(objective, start, [*times, 1e6, np.inf], observe=seen)
    for name in seen:
        top = np.max(np.abs(flow[name]))
        np.testing.assert_allclose(run[name][:-2], flow[name], rtol=1e-9, atol=1e-10 * top)
    np.testing.assert_allclose(run["product"][-1], run["product"][-2], rtol=1e-14)
    x, y = np.asarray(objective.problem.inputs), np.asarray(objective.problem.targets)
    end = run["product"][-1]
    np.testing.assert_allclose(x.T @ (x @ end - y), 0, atol=1e-14)
    assert run["gradient_norm"][-1] == 0
    plus, minus = (run.final[f"W_{k}"] for k in (1, 2))
    np.testing.assert_allclose(plus**2 - minus**2, end, rtol=1e-13)


def test_no_start_is_too_small():
    """The Riccati equation's solution in 2,600 digits, up to squares that float64 cannot hold."""
    target, slope = np.array([1.0, -2.5, 0.3, 0.0]), np.array([1.0, 0.5, 2.0, 1.0])
    x = np.diag(np.sqrt(slope))
    objective = gf.Objective(gf.LeastSquares(x, x @ target), gf.DiagonalNetwork(4, 2))
    plus, minus = np.array([[0.7, 1.3, 2.0, 0.5], [1.1, 0.6, 1.7, 0.5]])
    for alpha in (1e-3, 1e-150, 1e-170, 1e-300):
        unit = np.log(1 / alpha) / np.abs(target[:3]) / slope[:3]
        times = [*np.sort([*(unit / 2), *(0.97 * unit / 2)]), np.inf]
        start = (alpha * plus, alpha * minus)
        run = exact.diagonal_flow(
            objective, start, times, observe=["loss", "gradient_norm", "product"]
        )
        with mpmath.workdps(2600):
            for t, found in zip(times[:-1], run["product"][1:-1], strict=True):
                wanted = [
                    _entry(*map(mpmath.mpf, (alpha * a, alpha * b, m, r, t)))
                    for a, b, m, r in zip(plus, minus, target, slope, strict=True)
                ]
                np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-13 * alpha**2)
        np.testing.assert_allclose(run["product"][-1], target, rtol=1e-15, atol=1e-13 * alpha**2)
        assert np.all(np.isfinite(run["loss"])) and run["gradient_norm"][-1] == 0


def _entry(a, b, m, r, t):
    """beta at a time of dE/dt = 4 r (p + m E - p E^2) from a / b."""
    p = a * b
    root = mpmath.sqrt(m**2 + 4 * p**2)
    high, low = (m + root) / (2 * p), (m - root) / (2 * p)
    rest = (a / b - high) / (a / b - low) * mpmath.exp(-4 * r * root * t)
    ratio = (high - low * rest) / (1 - rest)
    return float(p * (ratio - 1 / ratio))


def test_from_tiny_starts_it_has_the_times_of_the_path_of_saddles():
    x = np.diag([1.0, 0.7, 0.4])
    problem = gf.LeastSquares(x, x @ np.array([2.0, -1.0, 0.5]))
    objective = gf.Objective(problem, gf.DiagonalNetwork(3, 2))
    path = gf.saddle_path(objective, objective.factorization.identity(1.0))
    alpha = 1e-60
    times = path.times(alpha)
    run = exact.diagonal_flow(objective, path.start_at(alpha), times)
    goals = (path.losses[:-1] + path.losses[1:]) / 2
    np.testing.assert_allclose(run["loss"][1:], goals, rtol=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_flows_end_at_the_least_potential(depth, scale):
    model = gf.DiagonalNetwork(5, depth)
    sizes = np.random.default_rng(depth).uniform(0.5, 1.5, size=(2, 5))
    start = tuple(jnp.asarray(scale * size) for size in sizes)
    objective = gf.Objective(SKEW, model)
    least = exact.minimum_potential(objective, start)
    assert least.gap < 1e-12 and least.misfit < 1e-12
    flow = gf.solve_flow(objective, start, stop_loss=1e-20, rtol=1e-11, observe=["product"])
    np.testing.assert_allclose(least.beta, flow["product"][-1], rtol=1e-7, atol=1e-7)
    # The control: the potential of another start has another minimiser.
    other = exact.minimum_potential(objective, tuple(2 * part for part in start))
    assert np.max(np.abs(other.beta - flow["product"][-1])) > 1e-3


def test_the_potential_of_woodworth_is_ours_at_equal_parameters():
    alpha = 0.2
    objective = gf.Objective(SKEW, gf.DiagonalNetwork(5, 2))
    least = exact.minimum_potential(objective, objective.factorization.identity(alpha))
    z = least.beta / alpha**2
    q = 2 - np.sqrt(4 + z**2) + z * np.arcsinh(z / 2)
    assert 4 * least.value == pytest.approx(alpha**2 * np.sum(q), rel=1e-12)
    np.testing.assert_allclose(least.beta, 2 * alpha**2 * np.sinh(4 * X.T @ least.dual), rtol=1e-10)


def test_limits_are_the_least_l2_and_the_least_l1_norm():
    l1 = exact.minimum_l1_norm(SKEW)
    assert l1.gap < 1e-12 and l1.misfit < 1e-12
    for depth in (2, 3):
        model = gf.DiagonalNetwork(5, depth)
        objective = gf.Objective(SKEW, model)
        wide = exact.minimum_potential(objective, model.identity(100.0), rtol=1e-9)
        np.testing.assert_allclose(wide.beta, np.linalg.pinv(X) @ Y, atol=1e-4)
        small = exact.minimum_potential(objective, model.identity(1e-8 if depth == 2 else 1e-3))
        excess = np.sum(np.abs(small.beta)) / l1.value - 1
        assert -1e-10 < excess < 0.05
    path = gf.saddle_path(objective, model.identity(1.0))
    assert np.sum(np.abs(path.products[-1])) == pytest.approx(l1.value, rel=1e-10)


def test_the_least_l1_norm_of_many_is_certified():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(4, 9)), rng.normal(size=4)
        least = exact.minimum_l1_norm(gf.LeastSquares(x, y))
        assert np.max(np.abs(x.T @ least.dual)) <= 1 + 1e-12 and least.gap < 1e-10
        assert least.value <= np.sum(np.abs(np.linalg.pinv(x) @ y))


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e9, 1e200])
def test_the_least_l1_norm_is_that_of_scaled_data(scale):
    """The solver's tolerances are absolute: 1e-9 y had given beta = 0 with a gap of 0."""
    wanted = exact.minimum_l1_norm(SKEW)
    for problem, ratio in (
        (gf.LeastSquares(X, scale * Y), scale),
        (gf.LeastSquares(scale * X, Y), 1 / scale),
        (gf.LeastSquares(X * [[1.0], [scale], [1.0]], Y * [1.0, scale, 1.0]), 1.0),
    ):
        least = exact.minimum_l1_norm(problem)
        np.testing.assert_allclose(least.beta / ratio, wanted.beta, atol=1e-12)
        assert least.value / ratio == pytest.approx(wanted.value, rel=1e-12)
        assert least.misfit < 1e-12 and least.gap < 1e-12


TWO = gf.DiagonalNetwork(5, 2)
ONES = TWO.identity(1.0)
REFUSED = {
    "skew inputs": (
        lambda: exact.diagonal_flow(gf.Objective(SKEW, TWO), ONES, [1.0]), "off its diagonal",
        "minimum_potential"),
    "inputs that are skew beside their shortest column": (  # had ended at (1e-6, 10), not (1e-6, 0)
        lambda: exact.diagonal_flow(
            gf.Objective(gf.LeastSquares([[1e6, 1e-5], [0.0, 1e-3]], [1.0, 0.0]),
                         gf.DiagonalNetwork(2, 2)),
            (0.1 * jnp.ones(2), 0.1 * jnp.ones(2)), [1.0]),
        "beside 1e+12 and 1e-06", "minimum_potential"),
    "no fit in l1 of tiny data": (  # had been a beta, with a misfit of 0.3
        lambda: exact.minimum_l1_norm(
            gf.LeastSquares([[1.0, 2.0], [2.0, 4.0]], [1e-9, 3e-9])),
        "No beta", "leave equations out"),
    "depth 3": (
        lambda: exact.diagonal_flow(gf.Objective(SKEW, gf.DiagonalNetwork(5, 3)), ONES, [1.0]),
        "depth=3", "solve_flow"),
    "a parameter of 0": (
        lambda: exact.minimum_potential(gf.Objective(SKEW, TWO), (ONES[0], 0 * ONES[0])), "is 0",
        "identity"),
    "a penalty": (
        lambda: exact.minimum_potential(gf.Objective(SKEW, TWO, gf.WeightDecay(0.1)), ONES),
        "penalty WeightDecay", "solve_flow"),
    "parameters too small for a dual variable": (
        lambda: exact.minimum_potential(
            gf.Objective(SKEW, gf.DiagonalNetwork(5, 3)), (1e-12 * ONES[0], 1e-12 * ONES[1])),
        "so small parameters", "minimum_l1_norm"),
    "parameters too small for steps of Newton's": (  # had been the least l2 norm, with a gap of 0
        lambda: exact.minimum_potential(gf.Objective(SKEW, TWO), TWO.identity(1e-60)),
        "so small parameters", "minimum_l1_norm"),
    "a matrix": (
        lambda: exact.minimum_potential(
            gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2))), ONES),
        "MatrixProduct", "solve_flow"),
    "no fit": (
        lambda: exact.minimum_potential(
            gf.Objective(gf.LeastSquares([[1.0], [1.0]], [0.0, 1.0]), gf.DiagonalNetwork(1, 2)),
            (jnp.ones(1), jnp.ones(1))),
        "misfit", "can be fitted"),
    "no fit in l1": (
        lambda: exact.minimum_l1_norm(gf.LeastSquares([[1.0], [1.0]], [0.0, 1.0])), "No beta",
        "leave equations out"),
    "l1 of a matrix": (
        lambda: exact.minimum_l1_norm(gf.LeastSquares(np.eye(2), np.eye(2))), "(2, 2)", "vector"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
