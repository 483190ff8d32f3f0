"""Powers of symmetric matrices: singular to rounding, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.linalg.symmetric_power import symmetric_power
from tests.helpers import central_gradient

TURNED = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]


def test_a_power_has_a_derivative_where_eigenvalues_meet():
    at = TURNED @ np.diag([2.0, 2.0, 0.5]) @ TURNED.T

    def value(a):
        return jnp.sum(symmetric_power((a + a.T) / 2, -0.25) ** 3)

    wanted = central_gradient(jax.jit(value), at)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(jnp.asarray(at)), wanted, atol=1e-9)


@pytest.mark.parametrize("least", [0.0, -1e-18])
def test_eigenvalues_that_are_rounding_count_as_rounding(least):
    found = symmetric_power(jnp.asarray(np.diag([4.0, 1.0, least])), -0.25)
    eps = np.finfo(float).eps
    wanted = np.array([4.0, 1.0, 4.0 * eps]) ** -0.25
    np.testing.assert_allclose(np.diag(found), wanted, rtol=1e-12)
