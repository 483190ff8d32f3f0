"""Baselines: certificates in NumPy, closed forms, convex and other solvers, invariances."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.baselines.convex import (
    BaselineOutcome,
    minimum_nuclear_norm,
    optspace,
    soft_impute,
    soft_impute_path,
)
from tests.helpers import central_gradient, orthonormal, with_singular_values

RNG = np.random.default_rng(0)
CONVERGED = BaselineOutcome.CONVERGED


def nuclear(w):
    return np.linalg.svd(np.asarray(w), compute_uv=False).sum()


def relative_error(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


def low_rank(rng, shape, rank):
    return rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))


def completion(seed, shape, rank, observations):
    """As `synthetic.matrix_completion`, but drawn in NumPy,
    which compiles nothing for each new size."""
    rng = np.random.default_rng(seed)
    truth = low_rank(rng, shape, rank)
    where = rng.permutation(entries(shape))[:observations]
    return gf.MatrixCompletion(shape, where, truth[tuple(where.T)], truth=truth)


def sensing(seed, shape, rank, measurements, std=1.0):
    rng = np.random.default_rng(seed)
    truth, a = low_rank(rng, shape, rank), std * rng.normal(size=(measurements, *shape))
    return gf.MatrixSensing(a, np.einsum("kij,ij->k", a, truth), truth=truth)


def entries(shape):
    return np.array(list(np.ndindex(*shape)))


# Minimum nuclear norm


def lower_bound(problem, w, rounds):
    """<D, b> for a D on the observed entries with ||D||_2 <= 1, found from w alone.

    Projections in turn on the subdifferential of the nuclear norm at w and on the observed entries.
    """
    w, mask, b = (np.asarray(x) for x in (w, problem.mask, problem.target))
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    rank = int(np.sum(s > 1e-5 * s[0]))
    u, vt = u[:, :rank], vt[:rank]
    polar = u @ vt
    d = mask * polar
    for _ in range(rounds):
        rest = d - u @ (u.T @ d)
        rest = rest - (rest @ vt.T) @ vt
        left, values, right = np.linalg.svd(rest, full_matrices=False)
        d = mask * (polar + (left * np.minimum(values, 1)) @ right)
    return np.sum(d * b) / max(np.linalg.norm(d, 2), 1)


CERTIFIED = {
    "square, few": (0, (20, 20), 2, 150),
    "square, more": (4, (20, 20), 2, 300),
    "tall": (2, (20, 12), 2, 120),
    "wide": (3, (12, 20), 1, 90),
}


@pytest.mark.parametrize("case", CERTIFIED)
def test_the_minimum_is_certified_by_projections_in_numpy(case):
    problem = completion(*CERTIFIED[case])
    result = minimum_nuclear_norm(problem)
    assert result.outcome is CONVERGED
    assert 0 <= result.optimality <= 1e-9
    # Alternating projections approach the certificate slowly: 1e-5 is what 2000 rounds reach.
    bound = lower_bound(problem, result.product, 2000)
    assert bound <= nuclear(result.product) * (1 + 1e-12)
    assert 1 - bound / nuclear(result.product) < 1e-5
    where = np.asarray(problem.mask) == 1
    assert np.array_equal(np.asarray(result.product)[where], np.asarray(problem.target)[where])
    assert result.misfit == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_many_entries_give_back_the_truth_and_the_certificate_of_least_squares_proves_it(seed):
    problem = completion(seed, (20, 20), 1, 300)
    truth, mask = np.asarray(problem.truth), np.asarray(problem.mask)
    u, _, vt = np.linalg.svd(truth)
    u, vt = u[:, :1], vt[:1]

    def tangent(d):
        inner = u @ (u.T @ d)
        return inner + (d - inner) @ vt.T @ vt

    # D on the observed entries of least norm whose tangential part is U V^T
    eye = np.eye(400).reshape(400, 20, 20)
    matrix = np.stack([tangent(mask * e).ravel() for e in eye], axis=1)
    d = mask * np.linalg.lstsq(matrix, (u @ vt).ravel(), rcond=1e-10)[0].reshape(20, 20)
    assert np.linalg.norm(tangent(d) - u @ vt) < 1e-10
    assert np.linalg.norm(d - tangent(d), 2) < 1  # the truth is the one minimiser
    # The gap is at most 1e-9 of the norm; W moves by it over 1 - ||D beyond the tangent space||.
    assert relative_error(minimum_nuclear_norm(problem).product, truth) < 1e-7


@pytest.mark.parametrize("epsilon", [-3.0, -0.5, 0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("z", [(1.0, 1.0), (2.0, -0.5), (-1.5, 3.0)])
def test_the_unobserved_entry_at_2x2(z, epsilon):
    """||W||_*^2 = x^2 + z^2 + z'^2 + e^2 + 2 |x e - z z'|, least at a kink or where |x| = |e|."""
    across = z[0] * z[1]
    wanted = np.sign(across) * epsilon if epsilon**2 <= abs(across) else across / epsilon
    result = minimum_nuclear_norm(synthetic.norm_blowup(*z, epsilon))
    assert result.outcome is CONVERGED
    # A smooth minimum, relative gap 1e-9: x is known to its square root.
    np.testing.assert_allclose(result.product[0, 0], wanted, atol=2e-4)
    exact = np.array([[wanted, z[0]], [z[1], epsilon]])
    np.testing.assert_allclose(nuclear(result.product), nuclear(exact), rtol=2e-9)


def test_one_measurement_is_met_along_its_first_singular_vectors():
    """min ||W||_* with <A, W> = y is |y| / ||A||_2, by the duality of the two norms."""
    a = with_singular_values(RNG, (6, 7), [3.0, 1.0, 0.5])
    u, _, vt = np.linalg.svd(a)
    result = minimum_nuclear_norm(gf.MatrixSensing(a[None], [2.0]))
    np.testing.assert_allclose(result.product, 2 / 3 * np.outer(u[:, 0], vt[0]), atol=1e-7)


def test_a_row_alone_is_filled_with_zeros():
    problem = gf.MatrixCompletion((1, 4), [[0, 1], [0, 3]], [3.0, 4.0])
    result = minimum_nuclear_norm(problem)
    np.testing.assert_allclose(result.product, [[0, 3, 0, 4]], atol=1e-4)
    np.testing.assert_allclose(nuclear(result.product), 5, rtol=1e-9)


@pytest.mark.parametrize("rank", [1, 3])
def test_where_all_is_observed_the_data_come_back(rank):
    w = with_singular_values(RNG, (20, 12), [2.0] * rank)
    result = minimum_nuclear_norm(gf.MatrixCompletion((20, 12), entries((20, 12)), w.ravel()))
    assert result.outcome is CONVERGED
    assert np.array_equal(result.product, w)


def test_zero_data_give_zero():
    unseen = gf.MatrixSensing(RNG.normal(size=(30, 6, 7)), np.zeros(30))
    for problem in (gf.MatrixCompletion((20, 12), [[0, 1]], [0.0]), unseen):
        result = minimum_nuclear_norm(problem)
        assert result.outcome is CONVERGED
        assert np.array_equal(result.product, np.zeros(problem.shape))
        assert result.misfit == result.optimality == 0


def test_sensing_single_entries_is_completion_and_mixing_measurements_changes_nothing():
    problem = completion(4, (6, 7), 1, 30)
    wanted = minimum_nuclear_norm(problem, rtol=1e-12).product
    single = np.zeros((30, 6, 7))
    single[np.arange(30), *np.asarray(problem.indices).T] = 1
    mixing = RNG.normal(size=(30, 30))
    for mix in (np.eye(30), mixing, 1e-6 * mixing):
        a = np.tensordot(mix, single, 1)
        result = minimum_nuclear_norm(
            gf.MatrixSensing(a, mix @ np.asarray(problem.values)), rtol=1e-12
        )
        assert result.outcome is CONVERGED
        assert result.misfit < 1e-12
        # The square root of the gap, at worst
        assert relative_error(result.product, wanted) < 1e-6


def test_sensing_gives_back_the_truth_from_enough_measurements():
    problem = sensing(0, (6, 7), 1, 30, std=0.1)
    result = minimum_nuclear_norm(problem)
    assert result.outcome is CONVERGED
    assert result.misfit < 1e-13
    assert relative_error(result.product, problem.truth) < 1e-7


def test_the_sensing_minimum_is_below_any_other_interpolant():
    problem = sensing(1, (6, 7), 3, 30)
    w = np.asarray(minimum_nuclear_norm(problem).product)
    a = np.asarray(problem.measurements).reshape(30, -1)
    beside = np.linalg.svd(a)[2][30:]
    assert nuclear(w) < nuclear(problem.truth)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(20):
            other = w + size * (RNG.normal(size=len(beside)) @ beside).reshape(6, 7)
            np.testing.assert_allclose(a @ other.ravel(), problem.labels, atol=1e-10)
            assert nuclear(other) > nuclear(w) * (1 - 1e-9)


@pytest.mark.parametrize("scale", [1e-200, -1e-6, 1e6, 1e200])
def test_the_minimum_scales_with_the_data(scale):
    problem = completion(0, (20, 20), 2, 220)
    wanted = minimum_nuclear_norm(problem)
    scaled = gf.MatrixCompletion((20, 20), problem.indices, scale * problem.values)
    result = minimum_nuclear_norm(scaled)
    assert result.outcome is CONVERGED
    assert relative_error(np.asarray(result.product) / scale, wanted.product) < 1e-6


def test_the_minimum_follows_transposition_and_permutation():
    problem = completion(5, (12, 20), 1, 130)
    wanted = np.asarray(minimum_nuclear_norm(problem, rtol=1e-12).product)
    indices = np.asarray(problem.indices)
    turned = gf.MatrixCompletion((20, 12), indices[:, ::-1], problem.values)
    found = minimum_nuclear_norm(turned, rtol=1e-12).product
    assert relative_error(found, wanted.T) < 1e-6
    rows, columns = RNG.permutation(12), RNG.permutation(20)
    moved = np.stack([rows[indices[:, 0]], columns[indices[:, 1]]], axis=1)
    shuffled = gf.MatrixCompletion((12, 20), moved, problem.values)
    found = np.asarray(minimum_nuclear_norm(shuffled, rtol=1e-12).product)
    assert relative_error(found[np.ix_(rows, columns)], wanted) < 1e-6


@pytest.mark.parametrize("step", [0.03, 0.3])
def test_the_step_changes_the_speed_and_not_the_minimum(step):
    problem = completion(0, (20, 20), 2, 150)
    wanted = nuclear(minimum_nuclear_norm(problem).product)
    result = minimum_nuclear_norm(problem, step=step)
    assert result.outcome is CONVERGED
    np.testing.assert_allclose(nuclear(result.product), wanted, rtol=2e-9)


@pytest.mark.slow
def test_a_minimum_that_is_barely_one_takes_thousands_of_iterations():
    """Plain Douglas-Rachford, of any step, is two to three digits away after 20,000."""
    problem = completion(1, (20, 20), 2, 180)
    result = minimum_nuclear_norm(problem)
    assert result.outcome is CONVERGED
    assert result.iterations > 2000
    assert nuclear(result.product) < nuclear(problem.truth)


def test_running_out_of_iterations_is_said_and_the_gap_is_true_all_the_same():
    problem = completion(7, (20, 20), 2, 160)
    least = nuclear(minimum_nuclear_norm(problem).product)
    for limit in (1, 15, 30):
        result = minimum_nuclear_norm(problem, max_iterations=limit)
        assert result.outcome is BaselineOutcome.OUT_OF_ITERATIONS
        assert result.iterations == limit
        assert result.misfit == 0
        assert nuclear(result.product) * (1 - result.optimality) <= least * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["completion", "sensing"])
def test_single_precision(kind):
    if kind == "completion":
        problem = completion(8, (20, 20), 1, 200)
    else:
        problem = sensing(8, (6, 7), 1, 30)
    result = minimum_nuclear_norm(gf.astype(problem, jnp.float32))
    assert result.outcome is CONVERGED
    assert result.product.dtype == jnp.float32
    assert result.optimality <= 1e-5
    assert relative_error(result.product, problem.truth) < 1e-3


# At the size of the papers, 100 x 100, rank 5


@pytest.mark.parametrize(("observations", "recovers"), [(2000, False), (5000, True)])
def test_what_can_be_recovered_at_100x100(observations, recovers):
    problem = completion(0, (100, 100), 5, observations)
    result = minimum_nuclear_norm(problem)
    assert result.outcome is CONVERGED
    assert result.iterations < 1000
    ratio = nuclear(result.product) / nuclear(problem.truth)
    if recovers:
        assert relative_error(result.product, problem.truth) < 1e-8
        assert abs(ratio - 1) < 1e-9
    else:
        assert ratio < 0.995
        assert relative_error(result.product, problem.truth) > 0.1


@pytest.mark.slow
def test_3000_entries_are_where_recovery_begins():
    """Some draws give the truth back; others have a minimum below it by 1e-5 to 1e-3 of it."""
    below = []
    for seed in range(4):
        problem = completion(seed, (100, 100), 5, 3000)
        result = minimum_nuclear_norm(problem)
        assert result.outcome is CONVERGED
        shortfall = 1 - nuclear(result.product) / nuclear(problem.truth)
        error = relative_error(result.product, problem.truth)
        assert (error < 1e-7) == (abs(shortfall) <= 1e-9)
        assert -1e-9 < shortfall < 1e-3
        below.append(shortfall > 1e-9)
    assert 1 <= sum(below) <= 3


def scs(problem):
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("scs")
    w = cvxpy.Variable(problem.shape)
    if isinstance(problem, gf.MatrixSensing):
        flat = np.asarray(problem.measurements).reshape(problem.observations, -1)
        met = flat @ cvxpy.vec(w, order="C") == np.asarray(problem.labels)
    else:
        met = cvxpy.multiply(np.asarray(problem.mask), w) == np.asarray(problem.target)
    minimum = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(w)), [met])
    minimum.solve(solver=cvxpy.SCS, eps_abs=1e-8, eps_rel=1e-8, max_iters=50_000)
    assert minimum.status == "optimal"
    return minimum.value, w.value


@pytest.mark.parametrize(
    "problem",
    [
        completion(3, (30, 30), 2, 300),
        completion(1, (12, 20), 3, 150),
        sensing(1, (6, 7), 3, 30),
    ],
    ids=["square", "wide", "sensing"],
)
def test_the_minimum_agrees_with_a_conic_solver(problem):
    value, w = scs(problem)
    result = minimum_nuclear_norm(problem)
    # SCS meets its constraints and its gap to about 1e-8; W follows with the condition's square.
    np.testing.assert_allclose(nuclear(result.product), value, rtol=1e-6)
    assert relative_error(result.product, w) < 1e-4


@pytest.mark.slow
def test_the_minimum_agrees_with_a_conic_solver_at_100x100():
    problem = completion(0, (100, 100), 5, 2000)
    value, w = scs(problem)
    result = minimum_nuclear_norm(problem)
    np.testing.assert_allclose(nuclear(result.product), value, rtol=1e-6)
    assert relative_error(result.product, w) < 1e-4


# SoftImpute


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


# OptSpace


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


# Misuse

SMALL = completion(0, (4, 3), 1, 8)
DEPENDENT = gf.MatrixSensing(np.stack([np.eye(2), np.ones((2, 2)), 3 * np.eye(2)]), [1.0, 2.0, 3.0])
TENSOR = gf.TensorCompletion((2, 2, 2), [[0, 1, 0]], [3.0])
REFUSED = {
    "tensor": (lambda: minimum_nuclear_norm(TENSOR), "TensorCompletion", "or a MatrixSensing"),
    "sensing": (lambda: soft_impute(DEPENDENT, weight=1.0), "MatrixSensing", "MatrixCompletion"),
    "regression": (
        lambda: optspace(gf.LeastSquares(np.eye(2), [1.0, 2.0]), 1),
        "LeastSquares", "takes a MatrixCompletion"),
    "dependent": (lambda: minimum_nuclear_norm(DEPENDENT), "measurements[2]", "leave it out"),
    "too many": (
        lambda: minimum_nuclear_norm(gf.MatrixSensing(RNG.normal(size=(5, 2, 2)), np.ones(5))),
        "5 measurements of a matrix of 4 entries", "leave out those"),
    "rtol zero": (lambda: minimum_nuclear_norm(SMALL, rtol=0), "rtol", "above 0"),
    "rtol tiny": (lambda: optspace(SMALL, 1, rtol=1e-17), "rtol is 1e-17", "give 1e-09"),
    "rtol large": (lambda: soft_impute(SMALL, weight=1.0, rtol=1.0), "rtol is 1.0", "give 1e-09"),
    "rtol in float32": (
        lambda: minimum_nuclear_norm(gf.astype(SMALL, jnp.float32), rtol=1e-9),
        "rtol is 1e-09", "gradflow.astype"),
    "iterations": (
        lambda: minimum_nuclear_norm(SMALL, max_iterations=0), "max_iterations", "at least 1"),
    "step": (lambda: minimum_nuclear_norm(SMALL, step=-1.0), "step", "above 0"),
    "weight": (lambda: soft_impute(SMALL, weight=0), "weight", "above 0"),
    "weights": (
        lambda: soft_impute_path(SMALL, [0.1, 0.1]), "weights[1] = 0.1", "from large to small"),
    "start": (
        lambda: soft_impute(SMALL, weight=1.0, start=jnp.zeros((3, 4))), "(3, 4)", "must agree"),
    "rank": (lambda: optspace(SMALL, 4), "rank must be from 1 to 3", "it is 4"),
    "rank zero": (lambda: optspace(SMALL, 0), "rank", "at least 1"),
    "not finite": (
        lambda: minimum_nuclear_norm(gf.astype(
            gf.MatrixCompletion((2, 2), [[0, 0], [1, 0]], [1e300, 1.0]), jnp.float32)),
        "not finite", "scale them"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        call()
    assert value in str(refused.value)
    assert remedy in str(refused.value)


def test_an_empty_path_has_no_result():
    assert soft_impute_path(SMALL, []) == ()


def test_orthogonal_turns_of_a_sensing_problem_turn_its_minimum():
    problem = sensing(3, (6, 7), 1, 30)
    q, r = orthonormal(RNG, 6, 6), orthonormal(RNG, 7, 7)
    a = np.einsum("ab,kbc,cd->kad", q, np.asarray(problem.measurements), r)
    turned = minimum_nuclear_norm(gf.MatrixSensing(a, problem.labels), rtol=1e-12).product
    wanted = q @ np.asarray(minimum_nuclear_norm(problem, rtol=1e-12).product) @ r
    assert relative_error(turned, wanted) < 1e-6
