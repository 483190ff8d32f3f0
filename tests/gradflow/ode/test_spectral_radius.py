"""The spectral radius of a field's Jacobian."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.ode.spectral_radius import SpectralRadius


def radius_of(jacobian, looks=3):
    """Estimates, and products spent, at looks in a row."""
    estimate = SpectralRadius.unknown(jnp.ones(len(jacobian)))
    values, spent = [], 0
    for _ in range(looks):
        estimate, count = renewed(estimate, jacobian)
        estimate = estimate.after_rejection(jnp.asarray(10**6))  # asks for another look
        values.append(float(estimate.value))
        spent += int(count)
    return np.array(values), spent


@eqx.filter_jit
def renewed(estimate, jacobian):
    return estimate.renewed(lambda y: jacobian @ y, jnp.ones(len(jacobian)))


def turned(eigenvalues, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))[0]
    return jnp.asarray(q @ (np.asarray(eigenvalues)[:, None] * q.T))


def random_symmetric(seed, definite, size=60):
    a = np.random.default_rng(seed).normal(size=(size, size))
    return jnp.asarray(-a @ a.T if definite else (a + a.T) / 2)


SPECTRA = {
    **{f"symmetric {k}": random_symmetric(k, False) for k in range(6)},
    **{f"definite {k}": random_symmetric(k, True) for k in range(6)},
    "uniform": turned(-np.linspace(0, 1, 60)),
    "clustered": turned(-np.r_[np.linspace(0, 0.5, 50), np.linspace(0.99, 1, 10)]),
    "crowded at the top": turned(-(1 - np.linspace(0, 1, 60) ** 2)),
    "one above a plateau": turned(-np.r_[np.full(59, 0.9), 1.0]),
    "geometric": turned(-np.geomspace(1e-6, 1, 60)),
    "positive above negative": turned(np.r_[3.0, -np.linspace(0, 1, 59)]),
    "negative above positive": turned(np.r_[2.9, -3.0, np.linspace(-1, 1, 58)]),
    "plus and minus": turned(np.r_[1.0, -1.0, np.zeros(58)]),
    "rank one": turned(np.r_[-1e-9, np.zeros(59)]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_spectral_radius_is_found(name):
    jacobian = SPECTRA[name]
    wanted = np.max(np.abs(np.linalg.eigvalsh(np.asarray(jacobian))))
    values, spent = radius_of(jacobian)
    # From below by less than the 5% that solvers add. What the estimate may lack is added to it,
    # up to a tenth: too large a value costs stages, too small a one stability.
    assert np.all(values > 0.97 * wanted)
    assert np.all(values < 1.1 * wanted)
    assert spent <= 3 * 50


def test_no_jacobian_at_all_has_radius_zero():
    values, spent = radius_of(jnp.zeros((60, 60)))
    np.testing.assert_array_equal(values, 0)
    assert spent <= 3 * 50
