"""SoftImpute: conditions of its minimum, other solvers, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.baselines import BaselineOutcome
from gradflow.baselines.convex import minimum_nuclear_norm, soft_impute, soft_impute_path
from tests.gradflow.baselines.problems import completion, entries, nuclear, relative_error
from tests.helpers import with_singular_values

RNG = np.random.default_rng(0)


CONVERGED = BaselineOutcome.CONVERGED


@pytest.mark.parametrize("shape", [(20, 20), (20, 12)])
def test_where_all_is_observed_singular_values_are_shrunk(shape):
    b = with_singular_values(RNG, shape, [3.0, 1.0])
    u, s, vt = np.linalg.svd(b, full_matrices=False)
    problem = gf.MatrixCompletion(shape, entries(shape), b.ravel(), loss="mean")
    for weight in (0.1, 1.0, 2.0):
        result = soft_impute(problem, weight=weight)
        assert result.outcome is CONVERGED
        wanted = (u * np.maximum(s - weight, 0)) @ vt
        np.testing.assert_allclose(result.product, wanted, atol=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("size", [(0, (20, 20), 2, 150), (1, (20, 12), 3, 150)])
def test_soft_impute_meets_the_conditions_of_its_minimum(size, share):
    """D = P(b - W) is weight U V^T on the singular vectors of W, and no longer beyond them."""
    problem = completion(*size)
    weight = share * float(np.linalg.norm(problem.target, 2))
    result = soft_impute(problem, weight=weight, rtol=1e-11)
    assert result.outcome is CONVERGED
    u, s, vt = np.linalg.svd(np.asarray(result.product), full_matrices=False)
    rank = int(np.sum(s > 1e-9 * s[0]))
    d = np.asarray(problem.mask) * np.asarray(problem.target - result.product) / weight
    # The objective is strongly convex in what is observed: half the squared error is below the gap.
    objective = 0.5 * np.sum((weight * d) ** 2) + weight * s.sum()
    error = np.sqrt(2 * 1e-11 * objective) / weight
    assert error < 1e-3
    np.testing.assert_allclose(d @ vt[:rank].T, u[:, :rank], atol=2 * error)
    np.testing.assert_allclose(u[:, :rank].T @ d, vt[:rank], atol=2 * error)
    assert np.linalg.norm(d, 2) <= 1 + error


def test_soft_impute_agrees_with_the_plain_iteration_in_numpy():
    problem = completion(2, (20, 12), 2, 110)
    mask, b = np.asarray(problem.mask), np.asarray(problem.target)
    w = np.zeros(b.shape)
    for _ in range(3000):
        u, s, vt = np.linalg.svd(b + (1 - mask) * w, full_matrices=False)
        w = (u * np.maximum(s - 0.5, 0)) @ vt
    result = soft_impute(problem, weight=0.5, rtol=1e-13)
    assert relative_error(result.product, w) < 1e-6
    assert result.iterations < 1000
    started = soft_impute(problem, weight=0.5, start=w)
    assert started.iterations == 10  # the first look


@pytest.mark.parametrize("seed, norm", [(1, 4.093669), (3, 2.380813), (7, 2.474415)])
def test_the_acceleration_does_not_run_away(seed, norm):
    """The plain iteration converges from 0 for every weight; here residuals are small far away."""
    shape, count = ((5, 5), 12) if seed == 7 else ((8, 6), 30)
    problem = synthetic.matrix_completion(jax.random.key(seed), shape, rank=1, observations=count)
    mask, b, weight = np.asarray(problem.mask), np.asarray(problem.target), 1e-2
    w = np.zeros(shape)
    for _ in range(9000):
        u, s, vt = np.linalg.svd(b + (1 - mask) * w, full_matrices=False)
        w = (u * np.maximum(s - weight, 0)) @ vt
    assert abs(np.linalg.norm(w) - norm) < 1e-6
    result = soft_impute(problem, weight=weight)
    assert result.outcome is CONVERGED
    assert result.iterations <= 100
    np.testing.assert_allclose(result.product, w, atol=1e-6)


@pytest.mark.parametrize("weight", [1e-3, 1e-4])
def test_small_weights_are_solved_too(weight):
    problem = synthetic.matrix_completion(jax.random.key(1), (8, 6), rank=1, observations=30)
    result = soft_impute(problem, weight=weight)
    assert result.outcome is CONVERGED
    least = minimum_nuclear_norm(problem).product
    assert np.linalg.norm(result.product - least) < 2 * weight * np.linalg.norm(least)


def test_soft_impute_agrees_with_a_conic_solver():
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("scs")
    problem = completion(3, (20, 12), 2, 110)
    w = cvxpy.Variable(problem.shape)
    error = cvxpy.multiply(np.asarray(problem.mask), w) - np.asarray(problem.target)
    objective = cvxpy.sum_squares(error) / 2 + 0.7 * cvxpy.normNuc(w)
    cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver=cvxpy.SCS, eps_abs=1e-8, eps_rel=1e-8)
    assert relative_error(soft_impute(problem, weight=0.7).product, w.value) < 1e-5


def test_a_weight_above_the_largest_singular_value_gives_zero():
    problem = completion(3, (20, 12), 2, 110)
    top = float(np.linalg.norm(problem.target, 2))
    assert np.array_equal(soft_impute(problem, weight=1.001 * top).product, np.zeros((20, 12)))
    assert np.linalg.norm(soft_impute(problem, weight=0.99 * top).product) > 0


def test_a_path_gives_what_each_weight_gives_and_starts_better():
    problem = completion(4, (20, 20), 2, 180)
    top = float(np.linalg.norm(problem.target, 2))
    weights = [top * share for share in (0.5, 0.2, 0.1, 0.05, 0.04)]
    path = soft_impute_path(problem, weights, rtol=1e-12)
    alone = [soft_impute(problem, weight=weight, rtol=1e-12) for weight in weights]
    for one, other in zip(path, alone, strict=True):
        assert one.outcome is other.outcome is CONVERGED
        assert relative_error(one.product, other.product) < 1e-5
    assert sum(r.iterations for r in path[1:]) < sum(r.iterations for r in alone[1:])
    misfits, norms = [r.misfit for r in path], [nuclear(r.product) for r in path]
    assert misfits == sorted(misfits, reverse=True)
    assert norms == sorted(norms)


def test_soft_impute_tends_to_the_minimum_nuclear_norm():
    problem = completion(0, (20, 20), 2, 220)
    limit = minimum_nuclear_norm(problem).product
    top = float(np.linalg.norm(problem.target, 2))
    path = soft_impute_path(problem, [1e-2 * top, 1e-3 * top])
    errors = [relative_error(result.product, limit) for result in path]
    # Linear in the weight
    assert errors[1] < 0.02
    np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.3)


@pytest.mark.parametrize("scale", [1e-150, 1e6])
def test_soft_impute_scales_with_data_and_weight(scale):
    problem = completion(5, (20, 12), 1, 120)
    scaled = gf.MatrixCompletion((20, 12), problem.indices, scale * problem.values)
    found = soft_impute(scaled, weight=0.3 * scale).product
    assert (
        relative_error(np.asarray(found) / scale, soft_impute(problem, weight=0.3).product) < 1e-6
    )


def test_soft_impute_in_single_precision_and_out_of_iterations():
    problem = completion(6, (20, 20), 2, 200)
    wanted = soft_impute(problem, weight=0.5)
    result = soft_impute(gf.astype(problem, jnp.float32), weight=0.5)
    assert result.outcome is CONVERGED
    assert result.product.dtype == jnp.float32
    assert relative_error(result.product, wanted.product) < 1e-2
    short = soft_impute(problem, weight=0.5, max_iterations=7)
    assert short.outcome is BaselineOutcome.OUT_OF_ITERATIONS
    assert short.iterations == 7
    assert short.optimality > 1e-9
