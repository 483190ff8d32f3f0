"""The largest margin: closed forms, duality from both sides, a bound that classifiers obey."""

import numpy as np
import pytest

import gradflow as gf
from gradflow.baselines import largest_margin
from gradflow.baselines.margin import dual_norm
from gradflow.problems import Classification
from tests.helpers import refuses

NORMS = ("max", "frobenius", "spectral")


def norm_of(w, norm):
    return {
        "max": np.max(np.abs(w)),
        "frobenius": np.linalg.norm(w),
        "spectral": np.linalg.norm(w, 2),
    }[norm]


def drawn(seed, classes=4, size=6, data=20):
    rng = np.random.default_rng(seed)
    labels = np.arange(data) % classes
    means = rng.normal(size=(classes, size))
    return Classification(means[labels] + 0.5 * rng.normal(size=(data, size)), labels)


def margin(problem, w):
    return float(np.min(problem.margins(w)))


@pytest.mark.parametrize(
    ("norm", "value"), [("max", 14.0), ("frobenius", 50**0.5), ("spectral", 50**0.5)]
)
def test_two_data_on_a_line(norm, value):
    """One pair, A = (1, -1) x^T: the dual norm of A itself."""
    found = largest_margin(Classification([[3.0, 4.0], [-3.0, -4.0]], [0, 1]), norm)
    assert found.value == pytest.approx(value, rel=1e-8)
    assert found.gap < 1e-7


@pytest.mark.parametrize(
    ("norm", "value"), [("max", 2.0), ("frobenius", 0.5**0.5), ("spectral", 1.0)]
)
def test_unit_vectors_as_three_classes(norm, value):
    """By symmetry W is a I - b 1 1^T, with margin a: a = 2 b in the largest entry, 3 b in the
    Frobenius norm, any b up to 2 a / 3 in the spectral norm."""
    found = largest_margin(Classification(np.eye(3), [0, 1, 2]), norm)
    assert found.value == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_weights_bound_and_the_gap_is_small(norm):
    for seed in range(3):
        problem = drawn(seed)
        found = largest_margin(problem, norm)
        assert 0 <= found.gap < 1e-6
        assert found.weights.min() >= 0
        assert found.weights.sum() == pytest.approx(1)
        # The bound again, by sums over data and classes.
        x, y, p = np.asarray(problem.inputs), np.asarray(problem.labels), found.weights
        mean = -p.T @ x
        np.add.at(mean, y, p.sum(axis=1)[:, None] * x)
        assert dual_norm(mean, norm) == pytest.approx(found.value, rel=1e-12)
        rng = np.random.default_rng(seed)
        for _ in range(50):
            w = rng.normal(size=problem.shape)
            assert margin(problem, w) / norm_of(w, norm) <= found.value


@pytest.mark.parametrize("norm", NORMS)
def test_a_descent_comes_near_and_not_beyond(norm):
    """Steepest descent in the norm, in NumPy, on e^-margins: a classifier that is nearly best."""
    problem = drawn(0)
    best = largest_margin(problem, norm)
    x, y = np.asarray(problem.inputs), np.asarray(problem.labels)
    w, rows = np.zeros(problem.shape), np.arange(len(y))
    for t in range(20_000):
        scores = x @ w.T
        p = scores - scores[rows, y][:, None]
        p[rows, y] = -np.inf
        p = np.exp(p - p.max())
        p[rows, y] = -p.sum(axis=1)
        g = p.T @ x
        u, _, vt = np.linalg.svd(g, full_matrices=False)
        step = {"max": np.sign(g), "frobenius": g / np.linalg.norm(g), "spectral": u @ vt}[norm]
        w -= step / np.sqrt(1 + t) / best.value
    share = margin(problem, w) / norm_of(w, norm) / best.value
    assert 0.96 < share < 1 + 1e-9


REFUSED = {
    "not separable": (
        lambda: largest_margin(Classification([[1.0], [2.0], [3.0]], [0, 1, 0]), "max"),
        "No W separates", "Leave data out"),
    "both alike": (
        lambda: largest_margin(Classification([[1.0], [1.0]], [0, 1]), "spectral"),
        "No W separates", "more entries"),
    "on the line": (
        lambda: largest_margin(Classification([[1.0], [1.0]], [0, 1]), "frobenius"),
        "No W separates", "more entries"),
    "problem": (lambda: largest_margin(gf.LeastSquares(np.eye(2), [1.0, 2.0]), "max"),
                "LeastSquares", "Classification"),
    "norm": (lambda: largest_margin(drawn(0), "nuclear"), "'nuclear'", "spectral"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    refuses(*REFUSED[case])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_inputs_of_any_size(norm, scale):
    """Their squares are 0 or infinite: separable data had been called none, or left a gap of 1."""
    inputs, labels = np.array([[3.0, 4.0], [-3.0, -4.0], [1.0, 2.0]]), [0, 1, 0]
    wanted = largest_margin(Classification(inputs, labels), norm)
    found = largest_margin(Classification(scale * inputs, labels), norm)
    assert found.value / scale == pytest.approx(wanted.value, rel=1e-9) and found.gap < 1e-8
