"""The minimum nuclear norm: certificates in NumPy, a conic solver, invariances."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.baselines import BaselineOutcome
from gradflow.baselines.convex import minimum_nuclear_norm
from tests.gradflow.baselines.problems import completion, entries, low_rank, nuclear, relative_error
from tests.helpers import orthonormal, with_singular_values

RNG = np.random.default_rng(0)


CONVERGED = BaselineOutcome.CONVERGED


def sensing(seed, shape, rank, measurements, std=1.0):
    rng = np.random.default_rng(seed)
    truth, a = low_rank(rng, shape, rank), std * rng.normal(size=(measurements, *shape))
    return gf.MatrixSensing(a, np.einsum("kij,ij->k", a, truth), truth=truth)


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


def test_orthogonal_turns_of_a_sensing_problem_turn_its_minimum():
    problem = sensing(3, (6, 7), 1, 30)
    q, r = orthonormal(RNG, 6, 6), orthonormal(RNG, 7, 7)
    a = np.einsum("ab,kbc,cd->kad", q, np.asarray(problem.measurements), r)
    turned = minimum_nuclear_norm(gf.MatrixSensing(a, problem.labels), rtol=1e-12).product
    wanted = q @ np.asarray(minimum_nuclear_norm(problem, rtol=1e-12).product) @ r
    assert relative_error(turned, wanted) < 1e-6


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_measurements_of_any_size(scale):
    """Squares of these are 0 or infinite: one alone had been called a combination of others."""
    problem = gf.MatrixSensing([scale * np.eye(2), scale * np.diag([1.0, 2.0])], [scale, 0.0])
    found = minimum_nuclear_norm(problem)
    np.testing.assert_allclose(found.product, np.diag([2.0, -1.0]), atol=1e-9)
    assert found.misfit < 1e-12
