"""The end-to-end operator against its defining sum and against the factors' own flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.factorizations.preconditioners import end_to_end
from gradflow.linalg.spectrum import left_power, right_power
from tests.helpers import with_singular_values

RNG = np.random.default_rng(0)
MATRICES = {
    "square": RNG.normal(size=(3, 3)),
    "tall": RNG.normal(size=(4, 2)),
    "wide": RNG.normal(size=(2, 4)),
    "rank 1": np.outer([1.0, 2.0, -1.0], [1.0, 0.5, 2.0]),
    "rank 1, tall": np.outer([1.0, 2.0, -1.0, 0.0], [1.0, 0.5]),
    "repeated": 0.1 * np.eye(3),
    "repeated, wide": with_singular_values(RNG, (2, 4), [2.0, 2.0]),
    "zero": np.zeros((2, 3)),
    "column": RNG.normal(size=(3, 1)),
}
DEPTHS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", MATRICES)
def test_it_is_the_explicit_sum(name, depth):
    w = jnp.asarray(MATRICES[name])
    g = jnp.asarray(RNG.normal(size=w.shape))
    wanted = sum(
        left_power(w, (j - 1) / depth) @ g @ right_power(w, (depth - j) / depth)
        for j in range(1, depth + 1)
    )
    # Zero singular values are found as 1e-17 and their power 2/depth differs at that level.
    floor = 1e-13 + (1e-16) ** (2 / depth) * (np.linalg.matrix_rank(w) < min(w.shape))
    np.testing.assert_allclose(end_to_end(w, g, depth), wanted, atol=10 * floor)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", MATRICES)
def test_it_is_how_the_product_of_balanced_factors_moves(name, depth):
    w = MATRICES[name]
    model = gf.MatrixProduct.of(w.shape, depth)
    factors = model.balanced(w)
    g = jnp.asarray(RNG.normal(size=w.shape))
    _, partial = model.forward(factors)
    _, moved = jax.jvp(model.product, (factors,), (model.pullback(factors, partial, g),))
    floor = 1e-12 + (1e-16) ** (2 / depth) * (np.linalg.matrix_rank(w) < min(w.shape))
    np.testing.assert_allclose(end_to_end(jnp.asarray(w), g, depth), moved, atol=10 * floor)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", MATRICES)
def test_it_is_symmetric_and_positive_semidefinite(name, depth):
    w = jnp.asarray(MATRICES[name])
    basis = jnp.eye(w.size).reshape(-1, *w.shape)
    operator = np.stack([np.ravel(end_to_end(w, e, depth)) for e in basis])
    np.testing.assert_allclose(operator, operator.T, atol=1e-12)
    assert np.linalg.eigvalsh(operator).min() > -1e-12


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_at_a_multiple_of_the_identity_it_is_a_number(depth):
    """P_W[G] = N alpha^(2 - 2/N) G at W = alpha I."""
    g = jnp.asarray(RNG.normal(size=(3, 3)))
    np.testing.assert_allclose(
        end_to_end(0.1 * jnp.eye(3), g, depth), depth * 0.1 ** (2 - 2 / depth) * g, rtol=1e-12
    )


def test_depth_one_is_the_identity():
    g = jnp.asarray(RNG.normal(size=(2, 3)))
    np.testing.assert_array_equal(end_to_end(jnp.zeros((2, 3)), g, 1), g)


def test_depth_zero_is_refused():
    with pytest.raises(ValueError, match="at least 1, but it is 0"):
        end_to_end(jnp.eye(2), jnp.eye(2), 0)
