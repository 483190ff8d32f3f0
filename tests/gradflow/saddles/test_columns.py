"""Paths of saddles of U U^T and W_2 W_1: closed forms, flows from 1e-28 to 1e-60, symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.saddles import SaddleOutcome, saddle_path
from tests.gradflow.saddles.log_scaled import run
from tests.gradflow.saddles.problems import ends_so, product, symmetric
from tests.helpers import orthonormal


def full(target):
    return gf.MatrixCompletion.from_array(target)


def of_identity(target, columns=None):
    size = len(target)
    model = gf.SymmetricProduct(size, columns or size)
    return saddle_path(gf.Objective(full(target), model), (jnp.eye(size, columns or size),))


def real_minus_predicted(posed, path, log_alpha, jumps=None):
    """The times of a real flow, less those predicted."""
    wanted = path.times(log_alpha=log_alpha)[:jumps]
    levels = path.losses[: len(wanted) + 1]
    goals = (levels[:-1] + levels[1:]) / 2
    times, _ = run(posed.operator, posed.loss, posed.q, log_alpha, goals, 1.2 * wanted[-1] + 20)
    return np.pad(times, (0, len(wanted) - len(times)), constant_values=np.nan) - wanted


def test_full_observation_has_the_times_of_logistic_curves():
    """da/dt = 4 a (s - a) a mode, from alpha: in the library's convention dU/dt = -2 G U."""
    values = np.array([3.0, 1.7, 0.6])
    q = orthonormal(np.random.default_rng(0), 4, 3)
    path = of_identity((q * values) @ q.T)
    np.testing.assert_allclose(path.taus, 1 / (4 * values), rtol=1e-12)
    half = 1 - 0.5**0.5  # of s: there the mode's loss is half of what it was
    wanted = np.log(values * half / (1 - half)) / (4 * values)
    np.testing.assert_allclose(path.offsets, wanted, atol=2e-7)
    assert path.outcome is SaddleOutcome.MINIMUM and path.ranks.tolist() == [0, 1, 2, 3]
    for k in range(4):
        np.testing.assert_allclose(
            path.products[k], (q[:, :k] * values[:k]) @ q[:, :k].T, atol=1e-12
        )


@pytest.mark.parametrize(
    ("pose", "seed"), [(symmetric, 5), (symmetric, 4), (product, 2), (product, 5)]
)
def test_times_with_their_constants_are_those_of_a_real_flow(pose, seed):
    posed = pose(seed)
    path = saddle_path(posed.objective, posed.start)
    log_alpha = np.log(1e-28)
    claimed = path.predicted_error(log_alpha=log_alpha)
    jumps = int(np.argmax([*(claimed > 0.05), True]))
    assert jumps >= 1
    off = real_minus_predicted(posed, path, log_alpha, jumps)
    assert np.all(np.abs(off) < claimed[:jumps])


@pytest.mark.parametrize("log_alpha", [np.log(1e-30), -2000.0])
def test_flows_from_starts_of_any_size_jump_when_it_is_predicted(log_alpha):
    posed = symmetric(4)
    path = saddle_path(posed.objective, posed.start)
    wanted, claimed = path.times(log_alpha=log_alpha), path.predicted_error(log_alpha=log_alpha)
    start = gf.LogScaled(posed.start, log_alpha)
    sure = claimed < 1e-3
    assert np.any(sure)
    for loss, time, error in zip(
        ((path.losses[:-1] + path.losses[1:]) / 2)[sure], wanted[sure], claimed[sure], strict=True
    ):
        flow = gf.solve_flow(posed.objective, start, stop_loss=loss)
        assert flow.stats["coordinates"] == "logcolumns"
        assert abs(flow.times[-1] - time) < error + 1e-8 * time


def test_naive_plateaus_are_not_those_of_the_flow():
    """If every plateau began at the exponent 1/2, times would be off by more than is claimed."""
    posed = symmetric(5)
    path = saddle_path(posed.objective, posed.start)
    log_alpha = np.log(1e-28)
    off = real_minus_predicted(posed, path, log_alpha, 2)
    naive = np.cumsum(0.5 / path.rates[:2, 0]) * -log_alpha + path.offsets[:2]
    exact = path.times(log_alpha=log_alpha)[:2] + off
    assert abs(naive[0] - exact[0]) < path.predicted_error(log_alpha=log_alpha)[0]
    assert abs(naive[1] - exact[1]) > 10 * path.predicted_error(log_alpha=log_alpha)[1]


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_saddles_are_minima_of_their_rank_and_the_end_is_one_of_all(seed):
    posed = symmetric(seed)
    path = saddle_path(posed.objective, posed.start)
    assert path.outcome is SaddleOutcome.MINIMUM and path.determined
    assert np.all(np.diff(path.losses) < 0) and np.all(path.growths < 1e-9)
    w = path.products[-1]
    gradient = -posed.operator(w) / 2
    scale = np.linalg.norm(posed.operator(0 * w))
    assert np.linalg.eigvalsh(gradient)[0] > -1e-9 * scale
    np.testing.assert_allclose(gradient @ w, 0, atol=1e-9 * scale)


def test_symmetries_of_the_problem_are_those_of_the_path():
    posed = symmetric(5)
    problem = posed.objective.problem
    rng, size = np.random.default_rng(1), 4
    path = saddle_path(posed.objective, posed.start)
    right = saddle_path(posed.objective, (jnp.asarray(posed.q @ orthonormal(rng, size, size)),))
    np.testing.assert_allclose(right.taus, path.taus, rtol=1e-9)
    np.testing.assert_allclose(right.offsets, path.offsets, rtol=1e-5, atol=1e-5)
    o = orthonormal(rng, size, size)
    turned = gf.MatrixSensing(
        np.einsum("ia,kab,jb->kij", o, problem.measurements, o), problem.labels
    )
    left = saddle_path(
        gf.Objective(turned, posed.objective.factorization), (jnp.asarray(o @ posed.q),)
    )
    np.testing.assert_allclose(left.products[-1], o @ path.products[-1] @ o.T, atol=1e-9)
    np.testing.assert_allclose(left.offsets, path.offsets, rtol=1e-5, atol=1e-5)
    faster = gf.MatrixSensing(2 * problem.measurements, 2 * problem.labels)  # loss times 4
    quick = saddle_path(gf.Objective(faster, posed.objective.factorization), posed.start)
    np.testing.assert_allclose(4 * quick.taus, path.taus, rtol=1e-9)
    np.testing.assert_allclose(4 * quick.offsets, path.offsets, rtol=1e-4, atol=1e-5)


def test_the_path_of_li2021_ends_at_rank_one():
    r, entries = 3.0, {(0, 2): 1.0, (0, 3): 3.0, (1, 2): 3.0}
    where = [*entries, *[(j, i) for i, j in entries]]
    problem = gf.MatrixCompletion((4, 4), where, [*entries.values()] * 2)
    path = saddle_path(gf.Objective(problem, gf.SymmetricProduct(4, 4)), (jnp.eye(4),))
    v = np.array([1, r, 1, r])
    assert path.ranks.tolist() == [0, 1] and path.outcome is SaddleOutcome.MINIMUM
    np.testing.assert_allclose(path.products[-1], np.outer(v, v), atol=1e-9)


def test_a_jump_that_does_not_raise_the_rank_is_the_last():
    rng = np.random.default_rng(328)
    a = rng.normal(size=(5, 3, 3))
    a = (a + a.transpose(0, 2, 1)) / 2
    problem = gf.MatrixSensing(a, rng.normal(size=5))
    path = saddle_path(gf.Objective(problem, gf.SymmetricProduct(3, 3)), (jnp.eye(3),))
    assert path.ranks.tolist() == [0, 1, 1] and path.outcome is SaddleOutcome.MINIMUM
    assert path.flags == ("the jump 1 leads from rank 1 to rank 1",)


def quartic():
    problem = gf.LossFunction((2, 2), lambda w: jnp.sum((w @ w - jnp.eye(2)) ** 2))
    return gf.Objective(problem, gf.SymmetricProduct(2, 2)), (jnp.eye(2),)


def square(sign):
    rng = np.random.default_rng(11)
    q, p = orthonormal(rng, 2, 2), orthonormal(rng, 2, 2)
    target = (q * [2.0, 1.0]) @ p.T
    start = rng.normal(size=(2, 2))
    flip = sign * np.sign(np.linalg.det(start) * np.linalg.det(target))
    model = gf.MatrixProduct.of((2, 2), 2)
    return gf.Objective(full(target), model), model.balanced(start * [[flip], [1.0]])


def diagonal_target(values, columns, start=None):
    target = np.diag(values)
    model = gf.SymmetricProduct(len(values), columns)
    start = np.eye(len(values), columns) if start is None else start
    return gf.Objective(full(target), model), (jnp.asarray(start),)


FLAGGED = {
    "a tie": (lambda: diagonal_target([2.0, 2.0, 1.0], 3), "TIE", 0, "one time"),
    "no overlap": (
        lambda: diagonal_target([2.0, 1.0], 1, np.array([[0.0], [1.0]])), "NO_OVERLAP", 0,
        "nothing of the direction"),
    "an order that changes": (
        lambda: diagonal_target([3.0, 2.0, 1.0], 2, np.array([[1.0, 0], [0, 0], [0, 1.0]])),
        "VANISHING_MINOR", 1, "leading minor"),
    "decoupled rows": (
        lambda: (
            gf.Objective(
                gf.MatrixCompletion((3, 3), [(0, 0), (0, 1), (1, 0), (2, 2)], [1.0, 2, 2, 1]),
                gf.SymmetricProduct(3, 3),
            ),
            (jnp.eye(3),),
        ), "DECOUPLED", 0, "{0, 1} and {2}"),
    "one column": (lambda: diagonal_target([2.0, 1.0], 1), "OUT_OF_COLUMNS", 1, "1 columns"),
    "rate 0": (quartic, "ZERO_RATE", 0, "power of 1/alpha"),
    "the other determinant": (lambda: square(-1), "VANISHING_MINOR", 1, "determinant"),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAGGED)
def test_what_is_not_determined_is_flagged(case):
    path = ends_so(*FLAGGED[case])
    assert np.all(np.isfinite(path.offsets))


def test_a_minimum_says_which_rates_count_as_none():
    path = saddle_path(*diagonal_target([2.0, 1e-7], 2, np.array([[1.0, 0.3], [0.2, 1.0]])))
    assert path.outcome is SaddleOutcome.MINIMUM and path.ranks.tolist() == [0, 1]
    assert 0 < path.rates[-1, 0] < 1e-7 * path.rates[0, 0] and "more than 1e-07" in path.reason


def test_the_right_determinant_reaches_the_target():
    path = saddle_path(*square(1))
    assert path.outcome is SaddleOutcome.MINIMUM and path.ranks.tolist() == [0, 1, 2]
    assert path.losses[-1] < 1e-20


def test_max_jumps_and_rows_that_nothing_is_known_of():
    posed = symmetric(5)
    path = saddle_path(posed.objective, posed.start, max_jumps=1)
    assert path.outcome is SaddleOutcome.OUT_OF_JUMPS and len(path) == 2
    problem = gf.MatrixCompletion((3, 3), [(0, 0), (0, 1), (1, 0), (1, 1)], [2.0, 1, 1, 3])
    start = (jax.random.normal(jax.random.key(0), (3, 3)),)
    path = saddle_path(gf.Objective(problem, gf.SymmetricProduct(3, 3)), start)
    assert path.outcome is SaddleOutcome.MINIMUM and np.allclose(path.products[-1][2], 0)
