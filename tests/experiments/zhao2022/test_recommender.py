"""The models of zhao2022's Table 2: gradients and losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.zhao2022 import _recommender as recommender
from experiments.zhao2022._recommender import Rows
from gradflow.penalties.nuclear_frobenius import ratio_gradient

USERS, ITEMS = 7, 9


def by_differences(function, w, step=1e-6):
    """Central differences, entry by entry."""
    found = np.zeros(w.shape)
    for at in np.ndindex(w.shape):
        shift = np.zeros(w.shape)
        shift[at] = step
        found[at] = (float(function(w + shift)) - float(function(w - shift))) / (2 * step)
    return found


def gradient_of_ratio(w, smoothing=recommender.SMOOTHING):
    w = jnp.asarray(w)
    return ratio_gradient(w, recommender.smooth_polar(w, smoothing))


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 0.1])
def test_gradient_of_the_ratio_agrees_with_differences(shape, smoothing):
    w = np.random.default_rng(0).normal(size=shape)
    wanted = by_differences(lambda w: recommender.ratio(jnp.asarray(w), smoothing), w)
    found = gradient_of_ratio(w, smoothing)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    # A penalty that does not depend on the scale pulls at right angles.
    assert abs(np.sum(found * w)) < 1e-12


def test_gradient_of_the_ratio_from_an_svd_in_single_precision():
    # Noise of singular values up to 0.05 beside some of up to 60, as in completed ratings.
    rng = np.random.default_rng(1)
    w = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 90)) + 3e-3 * rng.normal(size=(60, 90))
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    norm = np.linalg.norm(s)
    slopes = s / np.sqrt(s**2 + (recommender.SMOOTHING * norm) ** 2)
    wanted = ((u * slopes) @ vt - np.sum(slopes * s) / norm**2 * w) / norm
    found = gradient_of_ratio(jnp.asarray(w, jnp.float32))
    assert found.dtype == jnp.float32
    size = np.max(np.abs(wanted))
    # Squares of shares of the norm are off by 1e-7, beside the smoothing's 1e-6.
    assert np.max(np.abs(found - wanted)) < 0.05 * size
    # The control: without smoothing the noise would weigh in full.
    exact = (u @ vt - np.sum(s) / norm**2 * w) / norm
    assert np.max(np.abs(exact - wanted)) > size


def test_gradient_of_the_ratio_at_zero_and_at_rank_one():
    assert not np.any(gradient_of_ratio(np.zeros((3, 5))))
    # The least ratio there is.
    w = jnp.outer(jnp.arange(1.0, 4), jnp.arange(1.0, 6))
    assert float(recommender.ratio(w, 0.0)) == pytest.approx(1)
    assert np.max(np.abs(gradient_of_ratio(w))) < 1e-6


def small_rows():
    rng = np.random.default_rng(2)
    users, items = np.divmod(rng.permutation(USERS * ITEMS)[:30], ITEMS)
    return Rows(jnp.asarray(users), jnp.asarray(items), jnp.asarray(rng.normal(size=30)))


@pytest.mark.parametrize("bias", ["one", "items", "users and items"])
@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_loss_of_depth_1(bias, loss):
    rows = small_rows()
    start = recommender.matrix_start(jax.random.key(0), (USERS, ITEMS), bias, 1.0, jnp.float64)
    params = {name: part + 0.1 for name, part in start.items()}
    target = jnp.zeros((USERS, ITEMS)).at[rows.users, rows.items].set(rows.ratings)
    mask = jnp.zeros((USERS, ITEMS)).at[rows.users, rows.items].set(1)
    squares = (recommender.scores(params, rows.users, rows.items) - rows.ratings) ** 2
    wanted = np.sum(squares) / (30 if loss == "mean" else 1)
    np.testing.assert_allclose(
        recommender.matrix_loss(params, target, mask, loss), wanted, rtol=1e-13
    )
    gradient = jax.grad(recommender.matrix_loss)(params, target, mask, loss)
    for name, part in params.items():
        by_entry = by_differences(
            lambda at, name=name: recommender.matrix_loss(
                params | {name: jnp.asarray(at)}, target, mask, loss
            ),
            np.array(part),
        )
        np.testing.assert_allclose(gradient[name], by_entry, atol=1e-7)
    assert not np.any(gradient["weights"] * (1 - mask))


def test_loss_of_the_embeddings():
    rows = small_rows()
    start = recommender.embedding_start(jax.random.key(0), (USERS, ITEMS), 4, jnp.float64)
    assert not np.any(start["user_bias"]) and not np.any(start["item_bias"])
    params = {name: part + 0.1 for name, part in start.items()}
    full = params["users"] @ params["items"].T + params["user_bias"] + params["item_bias"]
    found = recommender.scores(params, rows.users, rows.items)
    np.testing.assert_allclose(found, full[rows.users, rows.items], rtol=1e-13)
    # Rows that fill a batch up do not count.
    counts = (jnp.arange(30) < 20).astype(float)
    few = Rows(*(column[:20] for column in rows))
    whole = recommender.batch_loss(params, few, jnp.ones(20))
    assert float(recommender.batch_loss(params, rows, counts)) == pytest.approx(float(whole))
    gradient = jax.grad(recommender.batch_loss)(params, rows, jnp.ones(30))
    for name, part in params.items():
        by_entry = by_differences(
            lambda at, name=name: recommender.batch_loss(
                params | {name: jnp.asarray(at)}, rows, jnp.ones(30)
            ),
            np.array(part),
        )
        np.testing.assert_allclose(gradient[name], by_entry, atol=1e-8)


def test_embeddings_start_with_the_inverse_of_the_dimension():
    start = recommender.embedding_start(jax.random.key(3), (500, 700), 16, jnp.float32)
    for name in ("users", "items"):
        assert start[name].dtype == jnp.float32
        assert float(jnp.std(start[name])) == pytest.approx(1 / 16, rel=0.05)
