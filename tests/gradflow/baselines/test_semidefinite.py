"""The least trace among semidefinite matrices that fit, beside closed forms and linear programs."""

import numpy as np
import pytest
from scipy.optimize import linprog

import gradflow as gf
from gradflow.baselines import minimum_trace, semidefinite


def completion(size, entries):
    both = {**entries, **{(j, i): value for (i, j), value in entries.items()}}
    return gf.MatrixCompletion((size, size), list(both), [float(v) for v in both.values()])


@pytest.mark.parametrize(
    ("size", "entries", "trace"),
    [
        (2, {(0, 1): -5}, 10.0),
        (3, {(0, 1): 3, (0, 2): 3, (1, 2): 1}, 10.0),
        (3, {(0, 0): 1, (0, 1): 1, (1, 2): 2}, 5.0),
        (4, {(0, 2): 1, (0, 3): 3, (1, 2): 3}, 12.0),  # 4 R with R = 3: li2021
        (2, {(0, 0): 1, (0, 1): 1, (1, 1): 1}, 2.0),  # no fit is positive definite
        (2, {(0, 0): 0, (1, 1): 1}, 1.0),
    ],
)
def test_closed_forms(size, entries, trace):
    problem = completion(size, entries)
    least = minimum_trace(problem)
    assert least.outcome.name == "CONVERGED"
    assert np.trace(least.product) == pytest.approx(trace, rel=1e-6)
    assert np.linalg.eigvalsh(least.product)[0] > -1e-9
    assert np.max(np.abs(problem.residual(least.product))) < 1e-6


def test_commuting_measurements_are_a_linear_program():
    rng = np.random.default_rng(0)
    for _ in range(10):
        q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        d = rng.normal(size=(2, 4))
        y = d @ rng.exponential(size=4)
        problem = gf.MatrixSensing(np.einsum("ak,mk,bk->mab", q, d, q), y)
        least = minimum_trace(problem)
        known = linprog(np.ones(4), A_eq=d, b_eq=y, bounds=(0, None)).fun
        assert np.trace(least.product) == pytest.approx(known, rel=1e-6)
        assert least.optimality < 1e-7 and least.misfit < 1e-7


def test_random_fits_have_no_less_trace():
    rng = np.random.default_rng(1)
    for _ in range(20):
        size = int(rng.integers(2, 5))
        a = rng.integers(-3, 4, (int(rng.integers(1, 6)), size, size)).astype(float)
        u = rng.normal(size=(size, int(rng.integers(1, size + 1))))
        y = np.einsum("iab,ab->i", a, u @ u.T)
        least = minimum_trace(gf.MatrixSensing(a, y))
        assert least.outcome.name == "CONVERGED"
        assert np.trace(least.product) < np.trace(u @ u.T) * (1 + 1e-6)


def test_a_larger_gap_gives_a_fit_further_inside():
    problem = completion(3, {(0, 0): 1, (0, 1): 1, (1, 2): 2})
    inside, close = (np.asarray(minimum_trace(problem, rtol=r).product) for r in (0.05, 1e-8))
    assert np.linalg.eigvalsh(inside)[0] > 1e-3 > np.linalg.eigvalsh(close)[0]


@pytest.mark.parametrize("rtol", [0.3, 3e-2, 3e-4])
def test_what_is_given_back_fits_however_large_a_gap_is_allowed(rtol):
    rng = np.random.default_rng(2)
    for _ in range(10):
        u = rng.integers(-2, 3, (3, 2))
        w = u @ u.T
        places = {(0, 1), (0, 2), (1, 2), *((i, i) for i in np.flatnonzero(rng.random(3) < 0.5))}
        problem = completion(3, {place: w[place] for place in places})
        least = minimum_trace(problem, rtol=rtol)
        assert least.outcome.name == "CONVERGED"
        assert least.optimality <= rtol and least.misfit < 1e-6


def test_what_is_given_back_says_how_it_ended_and_how_it_fits(monkeypatch):
    a = np.array([np.diag([1.0, 2.0, 0.0]), np.diag([1.0, 2.0, 1e-6])])
    problem = gf.MatrixSensing(a, [3.0, 3.0 + 1e-6])  # labels of I
    least = minimum_trace(problem)
    own = np.linalg.norm(problem.residual(least.product)) / np.linalg.norm(problem.labels)
    assert least.misfit == pytest.approx(own, rel=1e-6, abs=1e-18)
    monkeypatch.setattr(semidefinite, "_MOST", 3)
    assert minimum_trace(problem).outcome.name == "OUT_OF_ITERATIONS"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: completion(2, {(0, 0): -1}), "No positive semidefinite matrix fits"),
        (lambda: completion(2, {(0, 0): 1, (0, 1): 2, (1, 1): 1}), "No positive semidefinite"),
        (lambda: gf.MatrixSensing(np.ones((2, 2, 2)), [1.0, 2.0]), "depend on each other"),
        (lambda: gf.MatrixCompletion((2, 3), [(0, 1)], [1.0]), "square"),
        (lambda: gf.LeastSquares([[1.0]], [1.0]), "LeastSquares"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(ValueError, match=said):
        minimum_trace(make())


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_data_of_any_size(scale):
    """The squares of these are 0 or infinite: W had been 0, called converged, or NaN."""
    least = minimum_trace(completion(2, {(0, 0): scale, (0, 1): 3 * scale}))
    np.testing.assert_allclose(least.product / scale, [[1, 3], [3, 9]], rtol=1e-6)
    assert least.outcome.name == "CONVERGED" and least.misfit < 1e-12
    one = gf.MatrixSensing([scale * np.eye(2)], [2 * scale])
    np.testing.assert_allclose(np.trace(minimum_trace(one).product), 2.0, rtol=1e-6)
    with pytest.raises(ValueError, match="No symmetric matrix"):  # had been 0, or NaN
        minimum_trace(gf.MatrixCompletion((2, 2), [(0, 1), (1, 0)], [scale, 2 * scale]))


@pytest.mark.parametrize("rtol", [2.0, 1e-18, -1.0])
def test_tolerances_are_within_what_float64_resolves(rtol):
    with pytest.raises(ValueError, match="rtol"):
        minimum_trace(completion(2, {(0, 0): 1}), rtol=rtol)
