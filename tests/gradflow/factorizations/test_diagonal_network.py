"""Diagonal networks: differentiation, SciPy, invariants, the implicit bias at depth 2."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradflow as gf
from tests.helpers import flow_by_scipy, refuses

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
DEPTHS = [2, 3, 4, 5]
X, Y = RNG.normal(size=(3, 5)), RNG.normal(size=3)
PROBLEM = gf.LeastSquares(X, Y)


@pytest.mark.parametrize("depth", DEPTHS)
def test_product_and_pullback(depth):
    model = gf.DiagonalNetwork(5, depth)
    plus, minus = (jnp.asarray(RNG.normal(size=5)) for _ in range(2))
    beta, partial = model.forward((plus, minus))
    np.testing.assert_allclose(beta, np.asarray(plus) ** depth - np.asarray(minus) ** depth)
    g = jnp.asarray(RNG.normal(size=5))
    wanted = jax.grad(lambda f: jnp.sum(g * model.product(f)))((plus, minus))
    for a, b in zip(model.pullback((plus, minus), partial, g), wanted, strict=True):
        # Differentiation of (w_+ - w_-) (w_+^(D-1) + ...) cancels where an entry is small.
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        model.product((2 * plus, 2 * minus)), 2**model.degree * beta, rtol=1e-12
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_equal_parameters_give_zero_and_close_ones_keep_their_digits(depth):
    model, w = gf.DiagonalNetwork(5, depth), jnp.asarray(RNG.normal(size=5))
    assert not jnp.any(jax.jit(model.product)((w, w)))
    near = w * (1 + 1e-9)
    with mpmath.workdps(40):
        wanted = [
            float(mpmath.mpf(float(a)) ** depth - mpmath.mpf(float(b)) ** depth)
            for a, b in zip(near, w, strict=True)
        ]
    np.testing.assert_allclose(model.product((near, w)), wanted, rtol=1e-14)


@pytest.mark.parametrize("depth", [2, 3])
def test_the_flow_agrees_with_scipy_and_keeps_its_invariants(depth):
    model = gf.DiagonalNetwork(5, depth)
    start = tuple(jnp.asarray(RNG.uniform(0.2, 1.0, size=5)) for _ in range(2))
    flow = gf.solve_flow(gf.Objective(PROBLEM, model), start, horizon=2.0, rtol=1e-10)

    def velocity(factors):
        plus, minus = factors
        g = depth * X.T @ (X @ (plus**depth - minus**depth) - Y)
        return -g * plus ** (depth - 1), g * minus ** (depth - 1)

    for k, wanted in enumerate(flow_by_scipy(velocity, start, 2.0), 1):
        np.testing.assert_allclose(flow.final[f"W_{k}"], wanted, atol=1e-8)
    assert flow.stats["invariant_drift"] < 1e-9


@settings(max_examples=60, deadline=None)
@given(
    depth=st.sampled_from(DEPTHS),
    pair=st.tuples(*[st.floats(0.1, 10.0)] * 2),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 2),
    g=st.floats(-3.0, 3.0),
)
def test_invariants_do_not_change_along_any_gradient(depth, pair, signs, g):
    model = gf.DiagonalNetwork(1, depth)
    y = tuple(jnp.array([p * s]) for p, s in zip(pair, signs, strict=True))
    velocity = tuple(-v for v in model.pullback(y, None, jnp.array([g])))
    (value,), (change,) = jax.jvp(model.invariants, (y,), (velocity,))
    # Relative to what each of the two contributes: a rate of about D w^(D-2) g.
    rate = depth * max(pair) ** (depth - 2) * max(abs(g), 1e-3)
    assert abs(float(change[0])) <= 1e-13 * rate * max(pair) ** 2
    assert (depth % 2 and signs[0] != signs[1]) or value[0] != 0


def test_the_invariant_is_a_squared_power_mean():
    y = (jnp.array([2.0]), jnp.array([0.5]))
    for depth, wanted in ((2, 1.0), (3, 0.8**2), (4, 1 / ((0.25 + 4) / 2))):
        (found,) = gf.DiagonalNetwork(1, depth).invariants(y)
        np.testing.assert_allclose(found, [wanted], rtol=1e-14)
    for depth in DEPTHS:
        model = gf.DiagonalNetwork(3, depth)
        np.testing.assert_allclose(model.invariants(model.identity(0.3))[0], 0.09, rtol=1e-14)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_at_depth_two_the_limit_minimises_the_potential_of_woodworth(scale):
    """X beta = y, and arcsinh(beta / (2 alpha^2)) is a combination of the rows of X."""
    model = gf.DiagonalNetwork(5, 2)
    flow = gf.solve_flow(
        gf.Objective(PROBLEM, model), model.identity(scale), stop_loss=1e-12, rtol=1e-10,
        observe=["product"],
    )  # fmt: skip
    assert not flow["product"][0].any()  # alpha is a scale of the parameters: beta starts at 0
    beta = flow["product"][-1]
    np.testing.assert_allclose(X @ beta, Y, atol=2e-6)
    # The second condition holds at every time, so that the end need not be close.
    dual = np.arcsinh(beta / (2 * scale**2))
    rest = dual - X.T @ np.linalg.lstsq(X.T, dual, rcond=None)[0]
    # Errors of rtol in the parameters count 1 / (2 alpha^2) times where beta is small.
    np.testing.assert_allclose(rest, 0, atol=1e-8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_starts_and_balance(depth):
    model = gf.DiagonalNetwork(4, depth)
    beta = np.array([2.0, -0.5, 0.0, 1e-3])
    balanced = model.balanced(beta)
    np.testing.assert_allclose(model.product(balanced), beta, rtol=1e-14)
    assert model.unbalancedness(balanced) == 0 == model.relative_unbalancedness(balanced)
    near = model.nearest_balanced((jnp.array([1.0, 0.5, -3.0, 0.0]), jnp.array([0.3, -2.0, 1, 0])))
    np.testing.assert_array_equal(near, [[1.0, 0.0, -3.0, 0.0], [0.0, -2.0, 0.0, 0.0]])
    assert model.unbalancedness(near) == 0
    np.testing.assert_allclose(model.unbalancedness(model.identity(0.3)), 0.09, rtol=1e-14)
    drawn = model.product(model.random_balanced(KEY, 0.1))
    np.testing.assert_allclose(drawn, 0.1 * jax.random.normal(KEY, (4,)), rtol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_gaussian_parameters_give_entries_of_the_given_deviation(depth):
    model = gf.DiagonalNetwork(200_000, depth)
    samples = np.asarray(model.product(model.gaussian(KEY, product_std=0.2))) ** 2
    error = samples.std() / len(samples) ** 0.5
    assert error < 0.1 * 0.04 and abs(samples.mean() - 0.04) < 4 * error


REFUSED = {
    "depth one": (lambda: gf.DiagonalNetwork(3, 1), "1", "MatrixProduct"),
    "depth a half": (lambda: gf.DiagonalNetwork(3, 2.5), "2.5", "whole number"),
    "size": (lambda: gf.DiagonalNetwork(0, 2), "size", "at least 1"),
    "beta": (lambda: gf.DiagonalNetwork(3, 2).balanced([1.0]), "(1,)", "(3,)"),
    "scale": (lambda: gf.DiagonalNetwork(3, 2).identity(0), "scale", "above 0"),
    "std": (lambda: gf.DiagonalNetwork(3, 2).random_balanced(KEY, -1.0), "-1.0", "above 0"),
    "a matrix problem": (
        lambda: gf.Objective(gf.norm_blowup(), gf.DiagonalNetwork(2, 2)), "(2, 2)", "(2,)"),
    "a spectral penalty": (
        lambda: gf.Objective(PROBLEM, gf.DiagonalNetwork(5, 2), gf.NuclearNorm(1.0)), "(5,)",
        "penalty on matrices"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
