"""The Khatri-Rao product: Kronecker products of columns, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.linalg.khatri_rao import khatri_rao, khatri_rao_pullback

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sizes", [(3,), (2, 3), (3, 1, 2), (2, 2, 3, 2)])
def test_columns_are_kronecker_products_and_the_pullback_is_the_gradient(sizes):
    factors = [jnp.asarray(RNG.normal(size=(n, 4))) for n in sizes]
    found = khatri_rao(factors)
    for r in range(4):
        wanted = np.ones(1)
        for factor in factors:
            wanted = np.kron(wanted, factor[:, r])
        np.testing.assert_allclose(found[:, r], wanted, rtol=1e-14)
    g = jnp.asarray(RNG.normal(size=found.shape))
    wanted = jax.grad(lambda fs: jnp.sum(g * khatri_rao(fs)))(factors)
    for a, b in zip(khatri_rao_pullback(factors, g), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
