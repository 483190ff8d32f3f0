"""The polar factor without an SVD: coefficients, accuracy, where it is used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import optimizers
from gradflow.linalg.polar_iteration import best_odd, halley_weights, plan, polar_by_iteration
from tests.helpers import with_singular_values

FORMS = pytest.mark.parametrize("rational", [0, 1, 2, 3])


def exact_polar(w):
    u, _, vt = np.linalg.svd(np.asarray(w, float), full_matrices=False)
    return u @ vt


def through(planned, x):
    """What a plan makes of singular values, in float64."""
    for a, b, c in planned.rational:
        x = x * (a + b * x**2) / (1 + c * x**2)
    for coefficients in planned.polynomials:
        x = (x[:, None] ** np.arange(1, 10, 2)) @ np.array(coefficients)
    return x


@FORMS
@pytest.mark.parametrize("smallest", [1e-6, 1e-3, 0.1])
def test_a_plan_brings_the_whole_range_to_one(rational, smallest):
    x = np.geomspace(smallest, 1, 100_001)
    assert np.max(np.abs(through(plan(smallest, rational), x) - 1)) < 3e-4
    # Below the range values are still raised, and none comes out above 1.
    below = through(plan(smallest, rational), np.geomspace(1e-9, smallest, 1000))
    assert np.all(below < 1 + 3e-4) and np.all(np.diff(below[:500]) > 0)


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1.0), (0.05, 1.9), (0.6, 1.0), (0.86, 1.12)])
def test_best_polynomials_level_their_error(low, high):
    coefficients, error = best_odd(low, high)
    x = np.union1d(np.linspace(low, high, 200_001), np.geomspace(low, high, 50_001))
    misfit = 1 - (x[:, None] ** np.arange(1, 10, 2)) @ coefficients
    assert np.max(np.abs(misfit)) <= error * (1 + 1e-6)
    parts = np.split(misfit, np.flatnonzero(np.diff(np.sign(misfit))) + 1)
    # Six levels of one size: by de la Vallee-Poussin nothing is better.
    peaks = [np.max(np.abs(part)) for part in parts]
    assert len(peaks) == 6
    np.testing.assert_allclose(peaks, error, rtol=1e-4)


def test_halley_weights_are_the_best():
    # The image of [low, 1] has its two ends, and the minimum between them, at levels l', 1, l'.
    for low in (1e-6, 1e-2, 0.3):
        a, b, c = halley_weights(low)
        x = np.geomspace(low, 1, 400_001)
        y = x * (a + b * x**2) / (1 + c * x**2)
        inner = y[1:-1][(y[1:-1] < y[:-2]) & (y[1:-1] < y[2:])]
        assert y.max() <= 1 + 1e-12 and y[-1] == pytest.approx(1, abs=1e-12)
        assert inner.min() == pytest.approx(y[0], rel=1e-5)


@FORMS
@pytest.mark.parametrize("shape", [(20, 20), (12, 30), (30, 12)])
def test_against_the_svd(rational, shape):
    rng = np.random.default_rng(0)
    s = 7.0 * np.geomspace(1, 1e-3, 12 if 12 in shape else 20)
    w = jnp.asarray(with_singular_values(rng, shape, s), "float32")
    found = polar_by_iteration(w, rational=rational)
    assert found.dtype == jnp.float32 and found.shape == shape
    # 3e-4 of the last polynomial and 3e-8 / 4e-4 of rounding.
    assert np.linalg.norm(found - exact_polar(w), 2) < 4e-4


@FORMS
def test_small_directions_keep_their_place(rational):
    # A singular value of 1e-5 of the norm, one of 1e-8, which counts in part, and exact zeros.
    rng = np.random.default_rng(1)
    w = with_singular_values(rng, (8, 8), np.array([3.0, 1.0, 1.0, 0.5, 3e-5, 3e-8, 0.0, 0.0]))
    found = np.asarray(polar_by_iteration(jnp.asarray(w), rational=rational))
    u, _, vt = np.linalg.svd(w)
    seen = np.diag(u.T @ found @ vt.T)
    np.testing.assert_allclose(seen[:5], 1, atol=4e-4)
    assert 0.001 < seen[5] < 0.5
    assert np.all(np.abs(seen[6:]) < 1e-3)
    assert not np.any(polar_by_iteration(jnp.zeros((3, 4)), rational=rational))


@FORMS
@pytest.mark.parametrize("share", [1e-3, 1e-4, 1e-5])
def test_in_float32_small_directions_are_as_good_as_by_svd(rational, share):
    """Five large values and 35 small ones: the error of a direction, over many of them."""
    rng = np.random.default_rng(4)
    off = {"polar": [], "svd": []}
    for _ in range(5):
        s = np.concatenate([rng.uniform(0.5, 2, 5), share * rng.uniform(0.5, 2, 35)])
        w = jnp.asarray(with_singular_values(rng, (40, 40), np.sort(s)[::-1]), "float32")
        u, _, vt = jnp.linalg.svd(w)
        for name, found in (("polar", polar_by_iteration(w, rational=rational)), ("svd", u @ vt)):
            off[name].append(np.linalg.norm(found - exact_polar(w)) / np.sqrt(40))
    assert np.median(off["polar"]) < 3e-4 + 5e-8 / share
    assert np.median(off["polar"]) < 3e-4 + np.median(off["svd"])


def test_bad_shares_are_refused():
    for smallest in (0.0, 1.0, -1e-3, np.nan):
        with pytest.raises(ValueError, match="smallest"):
            polar_by_iteration(jnp.eye(2), smallest)


# In the ratio penalty


@pytest.mark.parametrize("form", ["rational", "polynomial"])
def test_the_ratio_has_the_svd_gradient(form):
    rng = np.random.default_rng(2)
    w = jnp.asarray(with_singular_values(rng, (15, 15), np.geomspace(5, 0.01, 15)), "float32")
    fast = gf.astype(gf.NuclearFrobeniusRatio(0.3, polar=form), "float32").gradient(w)
    exact = gf.NuclearFrobeniusRatio(0.3).gradient(jnp.asarray(w, "float64"))
    assert fast.dtype == jnp.float32
    assert np.linalg.norm(fast - exact) < 4e-4 * np.linalg.norm(exact)
    zero = gf.NuclearFrobeniusRatio(0.3, polar=form).gradient(jnp.zeros((3, 3)))
    assert not np.any(zero)


def test_the_form_depends_on_the_precision():
    w = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4)))

    def svds(form, dtype):
        penalty = gf.astype(gf.NuclearFrobeniusRatio(1.0, polar=form), dtype)
        return "svd" in str(jax.make_jaxpr(penalty.gradient)(w.astype(dtype)))

    assert svds("auto", "float64") and svds("svd", "float32")
    assert not svds("auto", "float32") and not svds("polynomial", "float64")
    with pytest.raises(ValueError, match="polar must be one of"):
        gf.NuclearFrobeniusRatio(1.0, polar="qr")


def test_descents_by_both_forms_agree():
    problem = gf.synthetic.matrix_completion(
        jax.random.key(0), (20, 20), 2, 200, loss="sum", norm=20.0
    )
    model = gf.MatrixProduct.of((20, 20), 1)
    start = model.gaussian(jax.random.key(1), std=1e-3)
    found = {}
    for form in ("svd", "rational", "polynomial"):
        objective = gf.Objective(problem, model, gf.NuclearFrobeniusRatio(0.05, polar=form))
        found[form] = gf.run_descent(
            *gf.astype((objective, start), "float32"), optimizers.adam, learning_rate=1e-3,
            max_steps=4000, record=[1000], observe=["product", "effective_rank"],
        )  # fmt: skip
    wanted = found.pop("svd")
    for run in found.values():
        for k in (1, 2):
            apart = np.linalg.norm(run["product"][k] - wanted["product"][k])
            assert apart < 5e-3 * np.linalg.norm(wanted["product"][k])
    # The control: without the penalty one ends elsewhere.
    plain = gf.run_descent(
        *gf.astype((gf.Objective(problem, model), start), "float32"), optimizers.adam,
        learning_rate=1e-3, max_steps=4000, observe=["product"],
    )  # fmt: skip
    apart = np.linalg.norm(plain["product"][-1] - wanted["product"][-1])
    assert apart > 0.1 * np.linalg.norm(wanted["product"][-1])
