"""Muon, Shampoo and sign descent: their rules in NumPy, optax, limits, derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import optimizers
from tests.gradflow.optimizers.test_optimizers import OBJECTIVE, START, gradients, paths
from tests.helpers import central_gradient, refuses

STEPS = 60


def newton_schulz(u, eps):
    x = u / max(np.linalg.norm(u), eps)
    for _ in range(5):
        x = 3.4445 * x - 4.775 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x


def polar(u, eps):
    del eps
    left, _, right = np.linalg.svd(u, full_matrices=False)
    return left @ right


def muon(lr, momentum=0.95, nesterov=True, weight_decay=0.1, eps=1e-7, make=newton_schulz):
    """torch.optim.Muon."""
    mean = 0.0

    def step(f, g):
        nonlocal mean
        mean = momentum * mean + (1 - momentum) * g
        u = (1 - momentum) * g + momentum * mean if nesterov else mean
        m, n = f.shape
        f = f * (1 - lr * weight_decay)
        return f - lr * np.sqrt(max(1, m / n)) * make(u, eps)

    return step


def shampoo(lr, eps=1e-4, weight_decay=0.0):
    """Algorithm 1 of Gupta, Koren and Singer."""
    left = right = None

    def quartic(a):
        values, vectors = np.linalg.eigh(a)
        return vectors @ np.diag(values**-0.25) @ vectors.T

    def step(f, g):
        nonlocal left, right
        g = g + weight_decay * f
        left = (eps * np.eye(len(g)) if left is None else left) + g @ g.T
        right = (eps * np.eye(g.shape[1]) if right is None else right) + g.T @ g
        return f - lr * quartic(left) @ g @ quartic(right)

    return step


def sign_descent(lr, momentum=0.0, weight_decay=0.0):
    """Signum, Algorithm 2 of Bernstein and others; without momentum Algorithm 1 (signSGD)."""
    mean = 0.0

    def step(f, g):
        nonlocal mean
        mean = momentum * mean + (1 - momentum) * g
        return f - lr * (np.sign(mean) + weight_decay * f)

    return step


CASES = {
    "muon": ("muon", muon, 0.02, {}),
    "muon, plain": ("muon", muon, 0.02, {"nesterov": False, "momentum": 0.8, "weight_decay": 0.0}),
    "shampoo": ("shampoo", shampoo, 0.1, {}),
    "shampoo, all": ("shampoo", shampoo, 0.1, {"eps": 0.1, "weight_decay": 0.2}),
    "sign": ("sign_descent", sign_descent, 0.01, {}),
    "signum": ("sign_descent", sign_descent, 0.01, {"momentum": 0.9, "weight_decay": 0.3}),
}


def numpy_path(make, rate, options):
    factors = [np.asarray(f) for f in START]
    rules, seen = [make(rate, **options) for _ in factors], []
    for _ in range(STEPS):
        slopes = gradients(factors)
        factors = [
            rule(f, np.asarray(g)) for rule, f, g in zip(rules, factors, slopes, strict=True)
        ]
        seen.append(np.concatenate([f.ravel() for f in factors]))
    return np.array(seen)


@pytest.fixture(scope="module", name="found")
def _found():
    """All paths by one program."""
    makes = {c: partial(optimizers.named(n), **more) for c, (n, _, _, more) in CASES.items()}
    makes |= {
        "exact": partial(optimizers.muon, polar="exact"),
        # PyTorch's and our matrices are optax's transposed; its mean is corrected for its start,
        # which without Nesterov's step is a factor that the polar factor does not see.
        "optax": lambda rate: optax.contrib.muon(
            rate,
            beta=0.8,
            nesterov=False,
            eps=0.0,
            muon_weight_dimension_numbers=lambda params: jax.tree.map(
                lambda _: optax.contrib.MuonDimensionNumbers(1, 0), params
            ),
        ),
    }
    rates = {c: rate for c, (_, _, rate, _) in CASES.items()} | {"exact": 0.02, "optax": 0.02}
    return paths(makes, rates, START, STEPS)


@pytest.mark.parametrize("case", CASES)
def test_sixty_steps_are_those_of_the_rule_in_numpy(found, case):
    _, make, rate, options = CASES[case]
    wanted = numpy_path(make, rate, options)
    np.testing.assert_allclose(found[case], wanted, rtol=0, atol=1e-9)
    for option in options:
        without = numpy_path(make, rate, {k: v for k, v in options.items() if k != option})
        assert np.abs(without - wanted).max() > 1e-3, f"{option} changes nothing"


def test_muon_is_that_of_optax_on_the_transposed_factors(found):
    np.testing.assert_allclose(found["muon, plain"], found["optax"], rtol=0, atol=1e-9)


def test_exact_muon_steps_along_the_polar_factor(found):
    wanted = numpy_path(partial(muon, make=polar), 0.02, {})
    np.testing.assert_allclose(found["exact"], wanted, rtol=0, atol=1e-9)
    assert np.abs(found["exact"] - found["muon"]).max() > 0.05


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_exact_muon_takes_small_singular_values_in_full_and_leaves_rounding(dtype):
    random = np.random.default_rng(5)
    left, right = (np.linalg.qr(random.normal(size=(n, 3)))[0] for n in (6, 5))
    small = 1e-4 if dtype == jnp.float32 else 1e-9
    g = (jnp.asarray((left * [1.0, 0.1, small]) @ right.T, dtype),)  # rank 3: two are rounding
    rule = optimizers.muon(1.0, momentum=0.0, nesterov=False, weight_decay=0.0, polar="exact")
    step = jax.jit(rule.update)(g, rule.init(g))[0][0]
    found = np.linalg.svd(np.asarray(step, float), compute_uv=False) / np.sqrt(6 / 5)
    np.testing.assert_allclose(found, [1, 1, 1, 0, 0], atol=8 * jnp.finfo(dtype).eps)
    # Directions of a singular value s are known to eps / s.
    wanted = -np.sqrt(6 / 5) * left @ right.T
    np.testing.assert_allclose(step, wanted, atol=8 * float(jnp.finfo(dtype).eps) / small)


def test_newton_schulz_leaves_singular_values_near_one():
    at = np.geomspace(1 / 400, 1, 2000)
    for _ in range(5):
        at = 3.4445 * at - 4.775 * at**3 + 2.0315 * at**5
    assert at.min() > 0.68
    assert at.max() < 1.21


def test_the_first_step_of_shampoo_tends_to_the_polar_factor():
    g = np.random.default_rng(0).normal(size=(5, 3))
    rule = optimizers.shampoo(1.0, eps=1e-12)
    step, _ = jax.jit(rule.update)((jnp.asarray(g),), rule.init((jnp.asarray(g),)))
    np.testing.assert_allclose(step[0], -polar(g, 0.0), atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (3, 2, 2)])
def test_shampoo_takes_any_number_of_axes(shape):
    g = np.random.default_rng(1).normal(size=shape)
    rule = optimizers.shampoo(1.0, eps=0.5)
    step, _ = jax.jit(rule.update)((jnp.asarray(g),), rule.init((jnp.asarray(g),)))
    wanted = g
    for k, n in enumerate(shape):
        rows = np.moveaxis(g, k, 0).reshape(n, -1)
        values, vectors = np.linalg.eigh(0.5 * np.eye(n) + rows @ rows.T)
        root = vectors @ np.diag(values ** (-0.5 / len(shape))) @ vectors.T
        wanted = np.moveaxis(np.tensordot(root, wanted, (1, k)), 0, k)
    np.testing.assert_allclose(step[0], -wanted, atol=1e-13)


def test_steps_have_derivatives():
    random = np.random.default_rng(3)
    g, bent = random.normal(size=(2, 3, 2))

    def steps(t):
        rules = optimizers.muon(0.1), optimizers.shampoo(0.1)
        at = (g + t * bent,)
        return jnp.stack([jnp.sum(rule.update(at, rule.init(at), at)[0][0]) for rule in rules])

    slopes, steps = jax.jit(jax.jacrev(steps))(0.3), jax.jit(steps)
    for k, slope in enumerate(slopes):
        wanted = central_gradient(lambda t, k=k: steps(t)[k], 0.3)
        np.testing.assert_allclose(slope, wanted, rtol=1e-7)


def test_float32_stays_so_and_near_float64(found):
    names = ("muon", "shampoo", "sign")
    makes = {name: optimizers.named(CASES[name][0]) for name in names}
    rates = {name: jnp.asarray(CASES[name][2], jnp.float32) for name in names}
    narrow = paths(makes, rates, gf.astype(START, jnp.float32), STEPS)
    for name, seen in narrow.items():
        assert seen.dtype == jnp.float32
        np.testing.assert_allclose(seen[:20], found[name][:20], atol=1e-3, err_msg=name)


def test_a_run_takes_them_and_goes_on_to_the_same_bits():
    asked = {"learning_rate": 0.05, "observe": ["loss"]}
    whole = gf.run_descent(OBJECTIVE, START, optimizers.shampoo, max_steps=40, **asked)
    half = gf.run_descent(OBJECTIVE, START, optimizers.shampoo, max_steps=15, **asked)
    rest = gf.run_descent(OBJECTIVE, half, optimizers.shampoo, max_steps=40, **asked)
    np.testing.assert_array_equal(rest.final["W_2"], whole.final["W_2"])
    assert whole["loss"][-1] < 0.5 * whole["loss"][0]


def test_muon_without_a_gradient_moves_nothing():
    zero = (jnp.zeros((2, 3)),)
    for polar_by in ("newton_schulz", "exact"):
        rule = optimizers.muon(0.1, polar=polar_by)
        assert np.all(np.asarray(rule.update(zero, rule.init(zero), zero)[0][0]) == 0)


def test_misuse_is_refused_by_value_and_remedy():
    refuses(lambda: optimizers.muon(0.1).init((jnp.ones(3),)), "shape (3,)", "shampoo")
    refuses(lambda: optimizers.muon(0.1, polar="svd"), "'svd'", "'exact'")
    refuses(lambda: optimizers.muon(0.1, momentum=1.0), "momentum", "below 1, but it is 1.0")
    refuses(lambda: optimizers.shampoo(0.1, eps=0.0), "eps", "above 0, but it is 0.0")
    refuses(lambda: optimizers.sign_descent(0.1, momentum=-1.0), "momentum", "but it is -1.0")
