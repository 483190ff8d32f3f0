"""What kunin2024's checks rest on, against other computations."""

import numpy as np
import pytest
from scipy.optimize import minimize

from theory_checks.kunin2024.neuron import LOSSES, _gradient, _value, fits, potential


def test_derivatives_of_the_losses():
    f, y, h = np.array([0.3, -1.2, 2.0]), np.array([1.0, -1.0, 0.5]), 1e-6
    losses = {
        "squares": lambda f: (f - y) ** 2 / 2,
        "logistic": lambda f: np.log1p(np.exp(-np.sign(y) * f)),
        "Huber": lambda f: np.where(abs(f - y) < 0.5, (f - y) ** 2 / 2, 0.5 * abs(f - y) - 0.125),
    }
    for name, loss in losses.items():
        assert np.allclose(LOSSES[name](f, y), (loss(f + h) - loss(f - h)) / (2 * h), atol=1e-8)


@pytest.mark.parametrize("delta", [1.5, 0.0, -1.0])
def test_the_gradient_is_that_of_the_objective(delta):
    rng = np.random.default_rng(0)
    beta, start, h = rng.normal(size=3), rng.normal(size=3), 1e-6
    steps = h * np.eye(3)
    slopes = _value(beta + steps, start, delta, 0.7) - _value(beta - steps, start, delta, 0.7)
    assert np.allclose(_gradient(beta, start, delta, 0.7), slopes / (2 * h), atol=1e-7)


def test_the_potential_by_hand():
    # delta = 0: S = 2 b, Psi = (2 b)^(3/2) / 3.
    assert potential(np.array([[2.0, 0.0]]), 0.0)[0] == pytest.approx(8 / 3)


def test_the_end_is_where_a_minimiser_of_scipys_ends():
    delta, run = fits(0, False)[0]
    beta, start = run.a[-1] * run.w[-1], run.a[0] * run.w[0]
    free = np.linalg.svd(run.x)[2][len(run.x) :]
    least = np.linalg.pinv(run.x) @ run.y
    found = minimize(
        lambda z: _value((least + z @ free)[None], start, delta, 1.0)[0], np.zeros(3), tol=1e-12
    )
    assert np.allclose(least + found.x @ free, beta, atol=1e-5)
