"""Decompositions as a GPU has them: as accurate as an SVD, and no SVD in its program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.linalg import thin_svd
from tests.helpers import with_singular_values

FALLING = np.geomspace(1, 1e-7, 12)
SHAPES = [(12, 12), (15, 12), (12, 15), (40, 12)]


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(thin_svd.jax, "default_backend", lambda: "gpu")


def matrix(shape, s: Any = FALLING, dtype: Any = float):
    return jnp.asarray(with_singular_values(np.random.default_rng(3), shape, s), dtype)


def errors(w, found):
    """Those of W, of singular values next to the largest, and of lengths and angles."""
    u, s, vt = (np.asarray(part, float) for part in found)
    w = np.asarray(w, float)
    exact = np.linalg.svd(w, compute_uv=False)
    whole = np.abs((u * s) @ vt - w).max() / exact[0]
    eye = np.eye(len(s))
    return whole, np.abs(s - exact).max() / exact[0], max(
        np.abs(u.T @ u - eye).max(), np.abs(vt @ vt.T - eye).max()
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_as_accurate_as_an_svd(shape, dtype, as_on_a_gpu):
    """To a few eps of s_1; vectors of s_1 / 1e7 to 1e7 eps, in float32 of float64 to its square."""
    eps = float(jnp.finfo(dtype).eps)
    w = matrix(shape, dtype=dtype)
    whole, values, vectors = errors(w, thin_svd.thin_svd(w))
    assert max(whole, values) < 8 * eps
    assert vectors < (0.01 if dtype == jnp.float32 else 32 * 1e7 * eps)
    alone = np.asarray(thin_svd.values(w), float)
    exact = np.linalg.svd(np.asarray(w, float), compute_uv=False)
    assert np.abs(alone - exact).max() < 8 * eps and np.all(np.diff(alone) <= 0)


def test_small_singular_values_of_float32_are_known_better_than_by_its_svd(as_on_a_gpu):
    w = matrix((12, 12), dtype=jnp.float32)
    exact = np.linalg.svd(np.asarray(w, float), compute_uv=False)
    ours = np.asarray(thin_svd.thin_svd(w)[1])
    svd = jnp.linalg.svd(w, compute_uv=False)
    np.testing.assert_allclose(ours, exact, rtol=1e-6)
    assert np.abs(svd / exact - 1).max() > 1e-3
    np.testing.assert_allclose(thin_svd.values(w), exact, rtol=0.01)
    cluster = np.concatenate([np.ones(6), np.full(6, 1e-7)])  # equal ones share their vectors
    w = matrix((12, 12), cluster, jnp.float32)
    np.testing.assert_allclose(
        thin_svd.thin_svd(w)[1], np.linalg.svd(np.asarray(w, float), compute_uv=False), rtol=1e-2
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_matrices_without_or_of_low_rank(dtype, as_on_a_gpu):
    for w in (jnp.zeros((5, 4), dtype), jnp.diag(jnp.array([2.0, 0, 1, 0], dtype))):
        u, s, vt = thin_svd.thin_svd(w)
        assert all(np.all(np.isfinite(part)) for part in (u, s, vt))
        np.testing.assert_allclose((u * s) @ vt, w, atol=1e-6)
        slopes = jax.grad(lambda w: jnp.sum(thin_svd.values(w)))(w)
        assert np.all(np.isfinite(slopes))


@pytest.mark.parametrize(
    ("shape", "dtype"), list(zip(SHAPES[1:], (jnp.float32, jnp.float64, jnp.float64), strict=True))
)
def test_derivatives_are_those_of_the_svd(shape, dtype, as_on_a_gpu, monkeypatch):
    w = matrix(shape, np.linspace(2, 1, 12), dtype)
    dw = jnp.asarray(np.random.default_rng(4).normal(size=shape), dtype)

    def seen(w):
        """What does not hang on the signs of vectors."""
        u, s, vt = thin_svd.thin_svd(w)
        return (u * jnp.sin(s)) @ vt, s, u @ u.T, vt.T @ vt, thin_svd.values(w)

    def slopes():
        def both(w):
            return jax.jvp(seen, (w,), (dw,))[1], jax.grad(lambda w: jnp.sum(seen(w)[0] ** 2))(w)

        return jax.jit(both)(w)

    found = slopes()
    monkeypatch.undo()
    tolerance = 2e-3 if dtype == jnp.float32 else 1e-11
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        found, slopes(),
    )  # fmt: skip


PENALTIES = [gf.NuclearNorm(0.05), gf.SchattenNorm(1 / 3, 0.05), gf.SchattenRatio(0.5, 2 / 3, 0.05),
             gf.NuclearFrobeniusRatio(0.05), gf.NuclearFrobeniusRatio(0.05, "svd")]  # fmt: skip


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: f"{type(p).__name__}-{p.exponent:.2f}")
def test_a_batchs_program_for_a_gpu_has_no_svd(penalty, dtype, as_on_a_gpu, monkeypatch):
    """Its gradients, values and singular values; the control, as on a CPU, has them."""
    penalty = gf.astype(penalty, dtype)

    def all_of(w):
        return penalty.gradient(w), penalty.value(w), gf.linalg.effective_rank(w)

    def program():
        batch = jax.ShapeDtypeStruct((7, 40, 36), dtype)
        traced = jax.jit(jax.vmap(lambda w: all_of(w))).trace(batch)
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    text = program()
    assert "gesvd" not in text and "gesdd" not in text and "syevd" in text
    monkeypatch.undo()
    assert "gesvd" in program()


@pytest.mark.parametrize("penalty", PENALTIES[:3], ids=lambda p: f"{type(p).__name__}")
def test_gradients_are_those_of_the_svd_in_float64(penalty, as_on_a_gpu, monkeypatch):
    w = matrix((12, 14), np.geomspace(1, 1e-4, 12))
    low = matrix((12, 14), [3.0, 2.0, 1.0])

    def gradients():
        def all_of(w, low):
            single = gf.astype(penalty, "float32").gradient(w.astype(jnp.float32))
            return penalty.gradient(w), penalty.gradient(low), single

        return jax.jit(all_of)(w, low)

    found, found_low, found_single = gradients()
    monkeypatch.undo()
    wanted, wanted_low, single = gradients()
    scale = np.linalg.norm(wanted)
    assert np.linalg.norm(found - wanted) < 1e-10 * scale
    np.testing.assert_allclose(found_low, wanted_low, atol=1e-9)
    assert np.linalg.norm(found_single - wanted) < 1.5 * np.linalg.norm(single - wanted)


# What is not finite. LAPACK goes on for ever on some of these.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_matrix_that_is_not_finite_has_nan_at_once(dtype):
    random, decompose = np.random.default_rng(0), jax.jit(thin_svd.thin_svd)
    for _ in range(100):
        w = random.normal(size=(3, 3))
        for _ in range(random.integers(1, 4)):
            w[tuple(random.integers(3, size=2))] = random.choice([np.inf, -np.inf, np.nan])
        for part in (*decompose(w.astype(dtype)), thin_svd.values(w.astype(dtype))):
            assert part.dtype == dtype
            assert np.isnan(part).all()


def test_one_matrix_of_a_batch_that_is_not_finite_leaves_the_others():
    w = np.random.default_rng(0).normal(size=(3, 4, 3))
    w[1, 2, 0] = -np.inf
    for found, wanted in zip(
        jax.vmap(thin_svd.thin_svd)(w), np.linalg.svd(w[[0, 2]], full_matrices=False), strict=True
    ):
        assert np.isnan(found[1]).all()
        np.testing.assert_allclose(np.abs(found[jnp.array([0, 2])]), np.abs(wanted), rtol=1e-12)


def test_a_descent_that_diverges_under_a_penalty_of_singular_values_ends():
    problem = gf.synthetic.matrix_completion(jax.random.key(0), (3, 3), 1, 5)
    objective = gf.Objective(
        problem, gf.MatrixProduct((3, 3, 3)), penalty=gf.SchattenRatio(1 / 2, 2 / 3, 0.1)
    )
    for seed in range(5):
        start = objective.factorization.gaussian(jax.random.key(seed), std=1.0)
        run = gf.run_descent(
            objective, start, gf.optimizers.gd, learning_rate=50.0, max_steps=200,
            observe=["loss", "singular_values", "product"],
        )  # fmt: skip
        assert run.outcome is gf.Outcome.DIVERGED
