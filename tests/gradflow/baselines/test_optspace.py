"""OptSpace: recovery, minima over subspaces, trimming."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.baselines import BaselineOutcome, optspace
from tests.gradflow.baselines.problems import completion, entries, relative_error
from tests.helpers import central_gradient, with_singular_values

RNG = np.random.default_rng(0)


CONVERGED = BaselineOutcome.CONVERGED


def least_loss(problem, x, y):
    """min_S 1/2 ||P(X S Y^T - b)||^2 by dense least squares, and the minimiser."""
    i, j = np.asarray(problem.indices).T
    design = (x[i][:, :, None] * y[j][:, None, :]).reshape(len(i), -1)
    s = np.linalg.lstsq(design, np.asarray(problem.values), rcond=None)[0]
    return 0.5 * np.sum((design @ s - np.asarray(problem.values)) ** 2), s


@pytest.mark.parametrize(
    "size", [(0, (20, 20), 2, 240), (1, (20, 12), 2, 170), (2, (12, 20), 1, 120)]
)
def test_optspace_recovers_from_noiseless_entries(size):
    problem = completion(*size)
    result = optspace(problem, rank=size[2])
    assert result.outcome is CONVERGED
    assert result.optimality <= 1e-9
    assert relative_error(result.product, problem.truth) < 1e-7
    assert np.linalg.matrix_rank(np.asarray(result.product), tol=1e-6) == size[2]


def test_optspace_recovers_where_the_minimum_nuclear_norm_does_not():
    """It is told the rank, 5; 2000 entries of 100 x 100 are twice the degrees of freedom."""
    problem = completion(0, (100, 100), 5, 2000)
    result = optspace(problem, rank=5)
    assert result.outcome is CONVERGED
    assert relative_error(result.product, problem.truth) < 1e-6


def noisy(seed, shape, rank, observations, level=0.1):
    problem = completion(seed, shape, rank, observations)
    noise = level * np.random.default_rng(seed).normal(size=observations)
    return gf.MatrixCompletion(shape, problem.indices, problem.values + noise, truth=problem.truth)


@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("rank", [1, 2])
def test_the_result_is_a_minimum_over_subspaces_in_numpy(rank, trim):
    problem = noisy(3, (20, 12), 2, 170)
    result = optspace(problem, rank=rank, trim=trim, rtol=1e-10)
    assert result.outcome is CONVERGED
    u, _, vt = np.linalg.svd(np.asarray(result.product))
    x, y = u[:, :rank], vt[:rank].T
    loss, _ = least_loss(problem, x, y)
    np.testing.assert_allclose(problem.loss(result.product), loss, rtol=1e-12)
    slope = central_gradient(lambda z: least_loss(problem, z, y)[0], x, 1e-3)
    np.testing.assert_allclose(slope, 0, atol=1e-7)
    for _ in range(20):
        turns = [1e-2 * RNG.normal(size=z.shape) for z in (x, y)]
        assert least_loss(problem, x + turns[0], y + turns[1])[0] > loss


def test_where_all_is_observed_optspace_cuts_the_singular_values():
    b = with_singular_values(RNG, (20, 12), [4.0, 2.0, 1.0, 0.5])
    problem = gf.MatrixCompletion((20, 12), entries((20, 12)), b.ravel())
    u, s, vt = np.linalg.svd(b, full_matrices=False)
    for rank in (1, 2):
        result = optspace(problem, rank)
        assert result.outcome is CONVERGED
        np.testing.assert_allclose(result.product, (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-9)


def test_optspace_follows_transposition_permutation_and_scale():
    problem = noisy(4, (20, 12), 2, 170)
    wanted = np.asarray(optspace(problem, 2).product)
    indices = np.asarray(problem.indices)
    turned = gf.MatrixCompletion((12, 20), indices[:, ::-1], problem.values)
    assert relative_error(optspace(turned, 2).product, wanted.T) < 1e-7
    rows, columns = RNG.permutation(20), RNG.permutation(12)
    moved = np.stack([rows[indices[:, 0]], columns[indices[:, 1]]], axis=1)
    found = optspace(gf.MatrixCompletion((20, 12), moved, problem.values), 2).product
    assert relative_error(np.asarray(found)[np.ix_(rows, columns)], wanted) < 1e-7
    for scale in (1e-150, -1e9):
        scaled = gf.MatrixCompletion((20, 12), indices, scale * np.asarray(problem.values))
        assert relative_error(np.asarray(optspace(scaled, 2).product) / scale, wanted) < 1e-7


def test_trimming_leaves_out_what_is_observed_too_often():
    """One row is all observed, and large: it would own the start; the end is the truth anyhow."""
    rng = np.random.default_rng(5)
    truth = np.outer(np.r_[30.0, rng.normal(size=19)], rng.normal(size=12))
    mask = rng.random((20, 12)) < 0.4
    mask[0] = True
    where = np.argwhere(mask)
    problem = gf.MatrixCompletion((20, 12), where, truth[tuple(where.T)])
    starts = [optspace(problem, 1, trim=trim, max_iterations=1).product for trim in (True, False)]
    assert relative_error(starts[0], starts[1]) > 1e-3
    for trim in (True, False):
        assert relative_error(optspace(problem, 1, trim=trim).product, truth) < 1e-6


def test_a_stationary_point_need_not_be_the_minimum_and_the_misfit_tells():
    """[[*, 1], [1, 0]]: the cut SVD is a saddle, and rank 1 fits only at infinity."""
    result = optspace(synthetic.norm_blowup(), 1)
    assert result.outcome is CONVERGED
    assert result.misfit > 0.7


def test_fewer_entries_than_unknowns_in_the_middle():
    problem = gf.MatrixCompletion((20, 12), [[0, 0], [1, 1], [2, 2]], [3.0, 2.0, 0.0])
    result = optspace(problem, 2)
    assert result.outcome is CONVERGED
    assert result.misfit < 1e-9
    assert np.all(np.isfinite(result.product))


def test_zero_data_and_zero_columns():
    zero = gf.MatrixCompletion((20, 12), [[0, 0], [1, 2]], [0.0, 0.0])
    result = optspace(zero, 2)
    assert result.outcome is CONVERGED
    assert np.array_equal(result.product, np.zeros((20, 12)))


def test_optspace_in_single_precision_and_out_of_iterations():
    problem = completion(6, (20, 20), 2, 240)
    result = optspace(gf.astype(problem, jnp.float32), 2)
    assert result.outcome is CONVERGED
    assert result.product.dtype == jnp.float32
    assert relative_error(result.product, problem.truth) < 1e-3
    short = optspace(problem, 2, max_iterations=3)
    assert short.outcome is BaselineOutcome.OUT_OF_ITERATIONS
    assert short.iterations == 3


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_optspace_agrees_with_gemelli(level):
    reference = pytest.importorskip("gemelli.optspace")
    problem = noisy(0, (20, 20), 2, 240, level)
    solver = reference.OptSpace(n_components=2, max_iterations=500, tol=1e-10)
    u, s, v = solver.solve(np.array(problem.target))
    other = np.asarray(u @ s @ v.T)
    result = optspace(problem, 2)
    assert result.outcome is CONVERGED
    # Both fit; ours is at least as good, and gemelli stops by its own rule.
    assert problem.loss(result.product) <= problem.loss(other) + 1e-12
    assert relative_error(result.product, other) < 1e-3
