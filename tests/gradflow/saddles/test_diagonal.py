"""Paths of diagonal networks: least l1 norms by SciPy, real flows, thresholds, flagged cases."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

import gradflow as gf
from gradflow.saddles import SaddleOutcome, saddle_path
from gradflow.saddles.diagonal import _arrival, diagonal_walk
from gradflow.saddles.diagonal_path import regression_of
from tests.gradflow.saddles.problems import diagonal, diagonal_times
from tests.helpers import refuses


def least_l1(x, y):
    found = linprog(np.ones(2 * x.shape[1]), A_eq=np.hstack([x, -x]), b_eq=y, bounds=(0, None))
    return found.fun


def saddles(posed):
    """Saddles alone, without the ways between them."""
    problem = regression_of(posed.objective, posed.start)
    return diagonal_walk(problem, most=200, tie=1e-9, constants=False)


def greedy(x, y):
    """The control: next comes the largest gradient, and no entry ever leaves."""
    active, beta = [], np.zeros(x.shape[1])
    while np.linalg.norm(x @ beta - y) > 1e-9:
        gradient = np.abs(x.T @ (x @ beta - y))
        gradient[active] = -1
        active.append(int(np.argmax(gradient)))
        beta[active] = np.linalg.lstsq(x[:, active], y, rcond=None)[0]
    return beta


@pytest.mark.parametrize("shape", [(3, 5), (5, 8)])
def test_the_end_has_the_least_l1_norm_and_a_greedy_choice_has_not(shape):
    wrong = 0
    for seed in range(50):
        posed = diagonal(seed, 2, shape, ones=True)
        end = saddles(posed).nodes[-1].beta
        wanted = least_l1(posed.inputs, posed.targets)
        np.testing.assert_allclose(posed.inputs @ end, posed.targets, atol=1e-10)
        assert abs(np.sum(np.abs(end)) - wanted) < 1e-9 * wanted
        norm = np.sum(np.abs(greedy(posed.inputs, posed.targets)))
        wrong += norm > wanted * (1 + 1e-6)
    assert wrong >= 5


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_conditions_of_the_limit_hold_at_every_saddle(depth):
    """The dual moves along -G, stays within its thresholds and is at one where beta is not 0."""
    for seed in range(10):
        posed = diagonal(seed, depth)
        problem = regression_of(posed.objective, posed.start)
        found = saddles(posed)
        plus, minus = (problem.thresholds(np.full(problem.size, s)) for s in (1.0, -1.0))
        taus = [0.0, *(jump.tau for jump in found.jumps)]
        for k, node in enumerate(found.nodes):
            assert np.all(node.dual <= plus * (1 + 1e-12))
            assert np.all(node.dual >= -minus * (1 + 1e-12))
            inside = node.beta != 0
            edge = np.where(node.beta > 0, plus, -minus)
            np.testing.assert_allclose(node.dual[inside], edge[inside], rtol=1e-12)
            assert np.all(np.abs(node.gradient[inside]) < 1e-9)
            if k:
                before = found.nodes[k - 1]
                moved = before.dual - (taus[k] - taus[k - 1]) * before.gradient
                np.testing.assert_allclose(node.dual, moved, atol=1e-9)
                assert node.loss < before.loss
        assert found.nodes[-1].loss < 1e-20


def test_the_rule_of_pesme2023_at_depth_two():
    """beta = u v from u = sqrt(2) alpha, v = 0: ours at w = (u +- v)/2, in other units of time."""
    posed = diagonal(7, 2, ones=True)
    x, y = posed.inputs, posed.targets
    path = saddle_path(posed.objective, posed.start)
    dual, tau = np.zeros(x.shape[1]), 0.0  # |s| <= 1 at times t / (4 ln(1/alpha)), scaled
    for k, beta in enumerate(path.products[:-1]):
        drift = -x.T @ (x @ beta - y)
        free = np.abs(drift) > 1e-9
        waits = np.where(free, (1 - np.sign(drift) * dual) / np.where(free, abs(drift), 1), np.inf)
        waits[beta != 0] = np.inf
        step = waits.min()
        dual, tau = dual + step * drift, tau + step
        np.testing.assert_allclose(path.taus[k], tau / 4, rtol=1e-9)
        assert abs(abs(dual[np.argmax(np.abs(path.directions[k]))]) - 1) < 1e-9


@pytest.mark.parametrize(
    ("depth", "seed", "log_alpha"), [(2, 7, -138.0), (3, 2, -18.0), (4, 6, -18.0)]
)
def test_times_are_those_of_a_real_flow_with_an_entry_that_leaves(depth, seed, log_alpha):
    posed = diagonal(seed, depth)
    path = saddle_path(posed.objective, posed.start)
    left = (path.products[:-1] != 0) & (path.products[1:] == 0)
    assert np.any(left) and path.outcome is SaddleOutcome.MINIMUM
    wanted = path.times(log_alpha=log_alpha)
    claimed = path.predicted_error(log_alpha=log_alpha)
    goals = (path.losses[:-1] + path.losses[1:]) / 2
    times = diagonal_times(posed, log_alpha, goals, wanted[-1] * 1.1 + 20)
    sure = claimed < 0.01 * wanted
    assert np.sum(sure) >= 3
    assert np.all(np.abs(times - wanted)[sure] < claimed[sure])
    # The control: the clock of depth 2 at depth 3, and that of depth 3 at depth 2.
    other = path.taus * (np.exp(-log_alpha / 3) if depth == 2 else -log_alpha) + path.offsets
    assert np.all(np.abs(times - other) > claimed)


def test_starts_choose_thresholds_from_depth_three_on():
    """One datum, two entries alike: at depth 3 the larger start wins, at depth 2 there is a tie."""
    problem = gf.LeastSquares([[1.0, 1.0]], [1.0])
    start = (jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]))
    deep = saddle_path(gf.Objective(problem, gf.DiagonalNetwork(2, 3)), start)
    np.testing.assert_allclose(deep.products[-1], [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(deep.taus, [1 / (2 * 3)], rtol=1e-12)
    np.testing.assert_allclose(deep.margins, [2.0], rtol=1e-12)
    tie = saddle_path(gf.Objective(problem, gf.DiagonalNetwork(2, 2)), start)
    assert tie.outcome is SaddleOutcome.NOT_UNIQUE and not tie.determined


def test_entries_that_come_at_one_time_are_flagged():
    problem = gf.LeastSquares([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0])
    ones = (jnp.ones(2), jnp.ones(2))
    path = saddle_path(gf.Objective(problem, gf.DiagonalNetwork(2, 2)), ones)
    np.testing.assert_allclose(path.products[-1], [1.0, -1.0])
    assert "0, 1 come at one time" in path.flags[0] and np.isnan(path.offsets[0])
    assert path.predicted_error(1e-60).tolist() == [np.inf]


def test_a_slow_end_is_flagged():
    """An entry leaves in the last jump: its dual stays at its threshold, since nothing drifts."""
    problem = gf.LeastSquares([[3.0, 0.5], [0.0, 1.0]], [0.5, 1.0])
    path = saddle_path(gf.Objective(problem, gf.DiagonalNetwork(2, 2)), (jnp.ones(2),) * 2)
    np.testing.assert_allclose(path.products, [[0, 0], [1 / 6, 0], [0, 1]], atol=1e-12)
    assert path.outcome is SaddleOutcome.MINIMUM and "no drift" in path.flags[-1]
    assert np.all(np.isfinite(path.offsets))


def test_an_entry_at_its_threshold_comes_at_once():
    posed = diagonal(0, 2, (2, 2), ones=True)
    problem = regression_of(posed.objective, posed.start)
    drift, none = np.array([1.0, -2.0]), np.zeros(2)
    first, plateau, margin, coming = _arrival(problem, np.array([0.25, 0.0]), drift, none, 1e-6)
    assert (first, plateau, margin, coming.tolist()) == (0, 0.0, np.inf, [True, False])
    _, plateau, margin, coming = _arrival(problem, np.array([0.25, -0.25]), drift, none, 1e-6)
    assert (plateau, margin, coming.tolist()) == (0.0, 1.0, [True, True])


def test_a_parameter_that_is_zero_never_grows():
    problem = gf.LeastSquares([[1.0]], [1.0])
    start = (jnp.zeros(1), jnp.ones(1))
    path = saddle_path(gf.Objective(problem, gf.DiagonalNetwork(1, 2)), start)
    assert path.outcome is SaddleOutcome.STUCK and len(path) == 1


REFUSED = {
    "a negative parameter": (
        lambda: saddle_path(
            gf.Objective(gf.LeastSquares([[1.0]], [1.0]), gf.DiagonalNetwork(1, 2)),
            (-jnp.ones(1), jnp.ones(1)),
        ), "-1", "at least 0"),
    "another loss": (
        lambda: saddle_path(
            gf.Objective(
                gf.LossFunction((1,), lambda w: jnp.sum(w**4)), gf.DiagonalNetwork(1, 2)
            ),
            (jnp.ones(1), jnp.ones(1)),
        ), "LossFunction", "solve_flow"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize(
    ("inputs", "targets", "end"),
    [
        ([1.0, 1e-10], [1.0, 1.0], [1.0, 1e10]),  # had ended at a loss of 1/2, called least
        ([1e-7, 1.0], [1.1e7, 1.0], [1.1e14, 1.0]),  # had come and left a hundred times
    ],
)
def test_entries_of_different_units(depth, inputs, targets, end):
    """Each moves by itself: it comes when its dual is at its threshold."""
    problem = gf.LeastSquares(np.diag(inputs), targets)
    model = gf.DiagonalNetwork(2, depth)
    path = gf.saddle_path(gf.Objective(problem, model), model.identity(1.0))
    assert path.outcome is SaddleOutcome.MINIMUM and path.ranks.tolist() == [0, 1, 2]
    np.testing.assert_allclose(path.products[-1], end, rtol=1e-12)
    threshold = 0.25 if depth == 2 else 1 / 3
    wanted = np.sort(threshold / (np.array(inputs) * targets))
    np.testing.assert_allclose(path.taus, wanted, rtol=1e-12)
