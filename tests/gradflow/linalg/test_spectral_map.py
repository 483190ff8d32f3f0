"""Derivatives of penalties' gradients: high precision, differences, closed forms, null values."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.linalg.spectral_map import spectral_map
from tests.helpers import with_singular_values

RNG = np.random.default_rng(0)
WEIGHT = 0.5
PENALTIES = {
    "nuclear": gf.NuclearNorm(WEIGHT),
    "ratio": gf.NuclearFrobeniusRatio(WEIGHT),
    "Schatten 1/3": gf.SchattenNorm(1 / 3, WEIGHT),
    "Schatten 1/2": gf.SchattenNorm(0.5, WEIGHT),
    "Schatten 2": gf.SchattenNorm(2, WEIGHT),
    "Schatten 7/2": gf.SchattenNorm(3.5, WEIGHT),
    "Schatten 1/2 : 1": gf.SchattenRatio(0.5, 1, WEIGHT),
    "Schatten 1 : 3": gf.SchattenRatio(1, 3, WEIGHT),
    "Schatten 3/2 : 2": gf.SchattenRatio(1.5, 2, WEIGHT),
}
MATRICES = {
    "square": RNG.normal(size=(4, 4)),
    "tall": with_singular_values(RNG, (5, 3), [2.0, 1.0, 0.3]),
    "wide": with_singular_values(RNG, (2, 4), [2.0, 0.3]),
    "column": RNG.normal(size=(3, 1)),
    "identity": np.eye(4),
    "reflection": np.diag([1.0, -1.0, 1.0]),
    "a pair": with_singular_values(RNG, (4, 3), [2.0, 1.0, 1.0]),
    "a triple, tall": with_singular_values(RNG, (6, 4), [1.0, 1.0, 1.0, 0.3]),
    **{f"at {gap}": np.diag([1.0, 1.0 - gap, 0.5]) for gap in (1e-3, 1e-5, 1e-8, 1e-12, 1e-15)},
    **{f"turned, at {gap}": with_singular_values(RNG, (3, 4), [1.0, 1 - gap, 0.5])
       for gap in (1e-4, 1e-8, 1e-12)},
    "one small": with_singular_values(RNG, (4, 3), [1.0, 0.6, 1e-3]),
}  # fmt: skip


def slopes_over_values(name, s):
    """Of the penalty without its weight, each derivative over its singular value, by hand."""

    def power(p):
        return [x**p for x in s]

    def norm(p):
        return sum(power(p)) ** (1 / mpmath.mpf(p))

    def of_log(p):
        return [x ** (p - 2) / sum(power(p)) for x in s]

    penalty = PENALTIES[name]
    if name == "nuclear":
        return [1 / x for x in s]
    if isinstance(penalty, gf.SchattenNorm):
        return [norm(penalty.p) * x for x in of_log(penalty.p)]
    p, q = (1, 2) if name == "ratio" else (penalty.p, penalty.q)
    return [
        norm(p) / norm(q) * (a - b) for a, b in zip(of_log(p), of_log(q), strict=True)
    ]  # fmt: skip


def precise_gradient(name, w):
    """W V diag(slope / s) V^T, with eigenvectors V of W^T W."""
    if w.rows < w.cols:
        return precise_gradient(name, w.T).T
    squares, v = mpmath.eigsy(w.T * w)
    shares = slopes_over_values(name, [mpmath.sqrt(x) for x in squares])
    return w * v * mpmath.diag([WEIGHT * x for x in shares]) * v.T


def precise_derivative(name, w, direction):
    """By central differences of step 1e-25 in 80 digits: exact to 50, less a few for close values.

    The eigenvectors of close values lose 2 * 15 of the 80 digits at most, before 25 more go.
    """
    with mpmath.workdps(100):
        a, d = (mpmath.matrix(np.asarray(x, dtype=float).tolist()) for x in (w, direction))
        h = mpmath.mpf(10) ** -25
        change = precise_gradient(name, a + h * d) - precise_gradient(name, a - h * d)
        return np.array((change / (2 * h)).tolist(), dtype=float)


def derivative(penalty, w, direction, ramp=None):
    w, direction = jnp.asarray(w), jnp.asarray(direction)
    return np.asarray(jax.jvp(lambda x: penalty.gradient(x, ramp), (w,), (direction,))[1])


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", PENALTIES)
def test_the_derivative_agrees_with_high_precision(name, matrix):
    """At single, repeated and close singular values, of matrices of all shapes."""
    w = MATRICES[matrix]
    direction = np.random.default_rng(1).normal(size=w.shape)
    wanted = precise_derivative(name, w, direction)
    found = derivative(PENALTIES[name], w, direction)
    # The singular values themselves are known to a few eps of the largest: 1e-3 loses 3 digits.
    # Where the derivative is zero (ratios of a column), terms of size 1 cancel.
    s = np.linalg.svd(w, compute_uv=False)
    size = max(np.abs(wanted).max(), 1.0)
    np.testing.assert_allclose(found, wanted, atol=2e-14 * size * s[0] / s[-1])


@pytest.mark.parametrize("matrix", ["square", "tall", "wide", "a pair", "at 1e-05"])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_derivative_is_the_limit_of_differences(name, matrix):
    """With an error that falls like the square of the step."""
    w, penalty = MATRICES[matrix], PENALTIES[name]
    direction = np.random.default_rng(1).normal(size=w.shape)
    wanted = derivative(penalty, w, direction)
    errors = []
    for h in (1e-2, 1e-3, 1e-4):
        ends = [np.asarray(penalty.gradient(jnp.asarray(w + k * h * direction))) for k in (1, -1)]
        errors.append(np.abs((ends[0] - ends[1]) / (2 * h) - wanted).max())
    size = np.abs(wanted).max()
    for coarse, fine in itertools.pairwise(errors):
        # A factor of 100, less where the coarse step is long; round-off is 1e-16 over the step.
        assert fine < max(coarse / 30, 1e-10 * size)


def test_the_derivative_at_the_identity_in_closed_form():
    """W = I: that of U V^T is the antisymmetric part, that of ||W||_p by hand, exactly."""
    n = 4
    d = jnp.asarray(RNG.normal(size=(n, n)))
    even, odd = (d + d.T) / 2, (d - d.T) / 2
    found = derivative(gf.NuclearNorm(1.0), jnp.eye(n), d)
    np.testing.assert_allclose(found, odd, atol=1e-15)
    for p in (0.5, 2.0, 3.5):
        # Slopes n^(1/p - 1) all; their changes (p - 1) (ds_i - mean ds) n^(1/p - 1).
        wanted = n ** (1 / p - 1) * ((p - 1) * (even - jnp.trace(d) / n * jnp.eye(n)) + odd)
        np.testing.assert_allclose(
            derivative(gf.SchattenNorm(p, 1.0), jnp.eye(n), d), wanted, rtol=1e-13, atol=1e-14
        )


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_the_derivative_scales_with_the_matrix(name, scale):
    """The gradient has degree k - 1 and its derivative k - 2; without over- or underflow."""
    w, penalty = MATRICES["a pair"], PENALTIES[name]
    direction = np.random.default_rng(1).normal(size=w.shape)
    wanted = derivative(penalty, w, direction)
    found = derivative(penalty, scale * w, scale * direction) * scale ** (1 - penalty.degree)
    np.testing.assert_allclose(found, wanted, atol=1e-13 * np.abs(wanted).max())
    radial = derivative(penalty, w, w)
    wanted = (penalty.degree - 1) * np.asarray(penalty.gradient(jnp.asarray(w)))
    np.testing.assert_allclose(radial, wanted, atol=1e-13)


@pytest.mark.parametrize("matrix", ["tall", "wide", "a pair", "at 1e-12"])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_hessian_is_symmetric_backwards_too(name, matrix):
    w, penalty = jnp.asarray(MATRICES[matrix]), PENALTIES[name]
    a, b = (jnp.asarray(RNG.normal(size=w.shape)) for _ in range(2))
    forward = derivative(penalty, w, a)
    (backward,) = jax.vjp(penalty.gradient, w)[1](a)
    np.testing.assert_allclose(backward, forward, atol=1e-13 * np.abs(forward).max())
    np.testing.assert_allclose(
        jnp.sum(b * forward), np.sum(a * derivative(penalty, w, b)), atol=1e-12
    )


def test_columns_of_a_jacobian_are_derivatives():
    w, penalty = jnp.asarray(MATRICES["a pair"]), PENALTIES["ratio"]
    jacobian = jax.jit(jax.jacfwd(penalty.gradient))(w)
    unit = jnp.zeros(w.shape).at[1, 2].set(1.0)
    np.testing.assert_allclose(jacobian[:, :, 1, 2], derivative(penalty, w, unit), atol=1e-14)


def test_the_weight_has_a_derivative_too():
    w = jnp.asarray(MATRICES["a pair"])

    def gradient(weight):
        return eqx.tree_at(lambda p: p.weight, PENALTIES["ratio"], weight).gradient(w)

    value, found = jax.jvp(gradient, (2.0,), (1.0,))
    np.testing.assert_allclose(found, PENALTIES["ratio"].gradient(w) / WEIGHT, rtol=1e-14)
    np.testing.assert_allclose(value, 2 * found, rtol=1e-14)


# Null singular values


LOW = {
    "square": with_singular_values(RNG, (4, 4), [2.0, 0.5]),
    "tall": with_singular_values(RNG, (5, 3), [1.0, 1.0]),
    "wide": with_singular_values(RNG, (3, 4), [1.0]),
    "zero": np.zeros((3, 2)),
    "zero, square": np.zeros((2, 2)),
}


@pytest.mark.parametrize("ramp", [None, 1e-8])
@pytest.mark.parametrize("matrix", LOW)
@pytest.mark.parametrize("name", PENALTIES)
def test_at_null_values_derivatives_are_finite(name, matrix, ramp):
    w = LOW[matrix]
    assert np.all(np.isfinite(derivative(PENALTIES[name], w, np.ones(w.shape), ramp)))


@pytest.mark.parametrize("matrix", ["square", "tall", "wide"])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_derivative_is_that_along_matrices_of_the_same_rank(name, matrix):
    """Null directions get no gradient, so nothing else moves there."""
    w, penalty = LOW[matrix], PENALTIES[name]
    turns = [np.random.default_rng(2).normal(size=(n, n)) for n in w.shape]

    def along(t):
        left, right = (np.eye(len(turn)) + t * turn for turn in turns)
        return left @ w @ right

    h = 1e-5
    ends = [np.asarray(penalty.gradient(jnp.asarray(along(t)))) for t in (h, -h)]
    wanted = (ends[0] - ends[1]) / (2 * h)
    found = derivative(penalty, w, turns[0] @ w + w @ turns[1])
    np.testing.assert_allclose(found, wanted, atol=1e-8 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("matrix", ["square", "tall", "wide"])
def test_the_frobenius_norm_is_smooth_at_low_rank(matrix):
    """d(W / ||W||) = dW / ||W|| - W <W, dW> / ||W||^3, null directions included."""
    w = LOW[matrix]
    d = RNG.normal(size=w.shape)
    size = np.linalg.norm(w)
    found = derivative(gf.SchattenNorm(2, 1.0), w, d)
    np.testing.assert_allclose(found, d / size - w * np.sum(w * d) / size**3, atol=1e-14)


# The ramp


RAMP = 0.1
RAMPED = {
    "above": [1.0, 0.6, 0.3],
    "one below": [1.0, 0.5, 0.04],
    "two below": [1.0, 0.05, 0.03],
    "two below, equal": [1.0, 0.05, 0.05],
    "at either side": [1.0, 0.11, 0.09],
}


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 5)])
@pytest.mark.parametrize("values", RAMPED)
@pytest.mark.parametrize("name", ["nuclear", "ratio", "Schatten 1/2", "Schatten 1/2 : 1"])
def test_the_derivative_with_a_ramp_is_the_limit_of_differences(name, values, shape):
    w, penalty = with_singular_values(RNG, shape, RAMPED[values]), PENALTIES[name]
    direction = np.random.default_rng(1).normal(size=shape)
    h = 1e-6
    ends = [penalty.gradient(jnp.asarray(w + k * h * direction), RAMP) for k in (1, -1)]
    wanted = np.asarray((ends[0] - ends[1]) / (2 * h))
    found = derivative(penalty, w, direction, RAMP)
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("name", ["nuclear", "ratio", "Schatten 1/2"])
def test_a_ramp_bends_slopes_below_it_and_no_others(name, scale):
    """On a diagonal: s (ramp s_1)^(e - 1) takes the place of s^e."""
    penalty = PENALTIES[name]
    s = scale * np.array([1.0, 0.4, 0.05])
    plain, ramped = (
        np.diagonal(penalty.gradient(jnp.diag(jnp.asarray(s)), ramp)) for ramp in (None, RAMP)
    )
    np.testing.assert_allclose(ramped[:2], plain[:2], rtol=1e-13)
    exponents = {"nuclear": [0], "ratio": [0, 1], "Schatten 1/2": [-0.5]}[name]
    bent = [(0.05 / RAMP) ** (1 - e) for e in exponents]
    if name == "ratio":
        # slope = (1 - s ||s||_1 / ||s||_2^2) / ||s||_2, of which only the first term is bent.
        size = np.linalg.norm(s)
        wanted = WEIGHT * (bent[0] - s[2] * np.sum(s) / size**2) / size
        np.testing.assert_allclose(ramped[2], wanted, rtol=1e-13)
    else:
        np.testing.assert_allclose(ramped[2], plain[2] * bent[0], rtol=1e-13)


def test_a_ramp_goes_to_zero_without_a_jump():
    """The field turns round with the singular value, in proportion to it."""
    penalty = gf.NuclearNorm(1.0)
    for least in (1e-9, -1e-9, 0.0):
        found = penalty.gradient(jnp.diag(jnp.array([1.0, least])), 1e-8)
        np.testing.assert_allclose(found, np.diag([1.0, least * 1e8]), atol=1e-15)


def test_single_precision_stays_single():
    w = jnp.asarray(MATRICES["a pair"], jnp.float32)
    polar = lambda x: spectral_map(lambda s: ((jnp.ones((), s.dtype), 0.0),), x, 0, 1e-6)  # noqa: E731
    value, moved = jax.jvp(polar, (w,), (jnp.ones_like(w),))
    assert value.dtype == moved.dtype == jnp.float32
    wanted = derivative(gf.NuclearNorm(1.0), MATRICES["a pair"], np.ones(w.shape))
    np.testing.assert_allclose(moved, wanted, atol=1e-5)
