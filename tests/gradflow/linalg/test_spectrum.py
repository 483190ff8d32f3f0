"""Spectrum: closed forms, high precision, gradients, the analytic SVD."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

import gradflow as gf
from gradflow.linalg import analytic_svd, spectrum
from tests.helpers import central_gradient, orthonormal, precise_power, with_singular_values

RNG = np.random.default_rng(0)
SHAPES = [(3, 3), (4, 2), (2, 5), (1, 3), (1, 1)]


# Singular values and effective rank


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_agree_with_numpy(shape):
    w = RNG.normal(size=shape)
    np.testing.assert_allclose(
        spectrum.singular_values(w), np.linalg.svd(w, compute_uv=False), rtol=1e-13
    )


@pytest.mark.parametrize(
    ("s", "wanted"),
    [
        ([1.0, 1.0, 1.0], 3.0),
        ([5.0, 0.0, 0.0], 1.0),
        ([2.0, 2.0, 0.0], 2.0),
        # p = (1/2, 1/4, 1/4): entropy 3/2 ln 2.
        ([2.0, 1.0, 1.0], 2**1.5),
        ([1e-200, 1e-200], 2.0),
        ([1e200, 1e200], 2.0),
        ([1.0, 1e-320], 1.0),
    ],
)
def test_effective_rank_has_its_closed_forms(s, wanted):
    np.testing.assert_allclose(spectrum.effective_rank_of(jnp.array(s)), wanted, rtol=1e-13)
    np.testing.assert_allclose(spectrum.effective_rank(jnp.diag(jnp.array(s))), wanted, rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_effective_rank_is_invariant_and_bounded(shape):
    w = RNG.normal(size=shape)
    found = spectrum.effective_rank(w)
    assert 1 - 1e-12 <= found <= min(shape) + 1e-12
    u, v = orthonormal(RNG, shape[0], shape[0]), orthonormal(RNG, shape[1], shape[1])
    np.testing.assert_allclose(spectrum.effective_rank(3e-7 * u @ w @ v), found, rtol=1e-12)


def test_effective_rank_of_the_zero_matrix_is_undefined():
    assert math.isnan(spectrum.effective_rank(jnp.zeros((2, 2))))


# name -> a matrix at which gradients must be finite
CORNERS = {
    "identity": np.eye(3),
    "multiple of the identity": 1e-2 * np.eye(2),
    "repeated": np.diag([2.0, 1.0, 1.0]),
    "rank 1": np.diag([1.0, 0.0, 0.0]),
    "rank 1, repeated zero, not square": np.eye(1, 4).repeat(3, axis=0),
    "repeated and zero": np.diag([1.0, 1.0, 0.0]),
}
FUNCTIONS = {
    "singular values": lambda w: spectrum.singular_values(w) @ jnp.arange(1.0, min(w.shape) + 1),
    "effective rank": spectrum.effective_rank,
    "spectral": lambda w: spectrum.schatten_norm(w, math.inf),
    "Frobenius": lambda w: spectrum.schatten_norm(w, 2),
    "nuclear": lambda w: spectrum.schatten_norm(w, 1),
    "Schatten 1/2": lambda w: spectrum.schatten_norm(w, 0.5),
    "distance from rank 1": lambda w: spectrum.distance_from_rank(w, 1),
    "distance from rank 0": lambda w: spectrum.distance_from_rank(w, 0),
}  # fmt: skip


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_finite_at_zero_and_repeated_singular_values(name, corner):
    gradient = jax.grad(FUNCTIONS[name])(jnp.asarray(CORNERS[corner]))
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_gradients_agree_with_differences(name, shape):
    w = with_singular_values(
        np.random.default_rng(5), shape, np.array([2.0, 1.0, 0.4])[: min(shape)]
    )
    # Fourth-order differences with step 1e-3: error about 1e-11 at gaps of 0.4.
    np.testing.assert_allclose(
        jax.grad(FUNCTIONS[name])(jnp.asarray(w)),
        central_gradient(FUNCTIONS[name], w, 1e-3),
        atol=1e-8,
    )


def test_gradient_of_the_effective_rank_at_repeated_values_agrees_with_differences():
    """It is smooth there (it is symmetric), although single singular values are not."""
    w = with_singular_values(RNG, (3, 3), [2.0, 1.0, 1.0])
    np.testing.assert_allclose(
        jax.grad(spectrum.effective_rank)(jnp.asarray(w)),
        central_gradient(spectrum.effective_rank, w, 1e-3),
        atol=1e-8,
    )


def test_the_effective_rank_is_stationary_at_the_identity():
    gradient = jax.grad(spectrum.effective_rank)(1e-3 * jnp.eye(3))
    # It is homogeneous of degree 0: gradients have size 1/|W| = 1e3, round-off 1e-12 of that.
    np.testing.assert_allclose(gradient, 0, atol=1e-11)


# Schatten norms and distances


@pytest.mark.parametrize("shape", SHAPES)
def test_schatten_norms_agree_with_numpy(shape):
    w = RNG.normal(size=shape)
    s = np.linalg.svd(w, compute_uv=False)
    for p, wanted in [
        (math.inf, np.linalg.norm(w, 2)),
        (2, np.linalg.norm(w)),
        (1, np.linalg.norm(w, "nuc")),
        (0.5, np.sum(np.sqrt(s)) ** 2),
        (3.7, np.linalg.norm(s, 3.7)),
    ]:
        np.testing.assert_allclose(spectrum.schatten_norm(w, p), wanted, rtol=1e-13)


@pytest.mark.parametrize("p", [0.1, 0.5, 1, 2, 10, math.inf])
@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_schatten_norms_neither_overflow_nor_underflow(p, scale):
    s = jnp.array([3.0, 2.0, 0.0])
    np.testing.assert_allclose(
        spectrum.schatten_norm_of(scale * s, p), scale * spectrum.schatten_norm_of(s, p), rtol=1e-13
    )


@pytest.mark.parametrize("p", [0.5, 1, 2, math.inf])
def test_schatten_norm_of_the_zero_matrix_is_zero_with_a_finite_gradient(p):
    value, gradient = jax.value_and_grad(lambda w: spectrum.schatten_norm(w, p))(jnp.zeros((2, 3)))
    assert value == 0
    assert jnp.all(jnp.isfinite(gradient))


def test_schatten_norms_fall_with_p():
    w = RNG.normal(size=(4, 3))
    found = [float(spectrum.schatten_norm(w, p)) for p in (0.3, 0.5, 1, 2, 5, math.inf)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("p", [0, -1, math.nan])
def test_schatten_norm_refuses_p_that_is_not_above_zero(p):
    with pytest.raises(ValueError, match=f"above 0 .*but it is {p}"):
        spectrum.schatten_norm(jnp.eye(2), p)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [0, 1, 2, 7])
def test_distance_from_rank_is_that_of_the_truncated_svd(shape, rank):
    w = RNG.normal(size=shape)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    truncated = (u[:, :rank] * s[:rank]) @ vt[:rank]
    np.testing.assert_allclose(
        spectrum.distance_from_rank(w, rank), np.linalg.norm(w - truncated), atol=1e-13
    )


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_distance_from_rank_neither_overflows_nor_underflows(scale):
    s = scale * jnp.array([7.0, 4.0, 3.0])
    np.testing.assert_allclose(spectrum.distance_from_rank_of(s, 1), 5 * scale, rtol=1e-14)


def test_distance_from_rank_refuses_a_negative_rank():
    with pytest.raises(ValueError, match="0 or more, but it is -1"):
        spectrum.distance_from_rank(jnp.eye(2), -1)


# Powers and polar factors

DEFICIENT = {
    "rank 1": [[1.0, 2.0], [2.0, 4.0]],
    "rank 1, tall": [[1.0, 2.0], [-2.0, -4.0], [3.0, 6.0]],
    "rank 2 of 3": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
    "wide": [[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 3.0]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
}


@pytest.mark.parametrize("name", DEFICIENT)
@pytest.mark.parametrize("exponent", [0.2, 0.25, 1 / 3, 0.5, 0.8, 1, 1.5])
def test_powers_of_deficient_matrices_agree_with_high_precision(name, exponent):
    w = np.array(DEFICIENT[name])
    size = max(np.linalg.norm(w, 2), 1e-300)
    # Where the singular value is 0 the SVD finds about eps |W|: to the power 2 exponent of that.
    floor = (4e-16 * size) ** (2 * exponent) + 1e-14 * size ** (2 * exponent)
    np.testing.assert_allclose(
        spectrum.left_power(w, exponent), precise_power(w, exponent), rtol=0, atol=floor
    )
    np.testing.assert_allclose(
        spectrum.right_power(w, exponent), precise_power(w.T, exponent), rtol=0, atol=floor
    )


def test_the_svd_keeps_digits_that_the_eigenvalues_of_the_square_lose():
    w = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
    exact = precise_power(w, 0.2)
    values, vectors = np.linalg.eigh(w @ w.T)
    by_eigh = (vectors * np.abs(values) ** 0.2) @ vectors.T
    assert np.max(np.abs(spectrum.left_power(w, 0.2) - exact)) < 1e-5
    assert np.max(np.abs(by_eigh - exact)) > 1e-4  # so this matrix does tell the two apart


@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_powers_multiply_by_adding_exponents(shape):
    w = RNG.normal(size=shape)
    np.testing.assert_allclose(
        spectrum.left_power(w, 0.3) @ spectrum.left_power(w, 0.7), w @ w.T, rtol=1e-12, atol=1e-13
    )


def test_the_zeroth_power_is_the_identity_even_of_zero():
    np.testing.assert_array_equal(spectrum.left_power(jnp.zeros((2, 3)), 0), np.eye(2))
    np.testing.assert_array_equal(spectrum.right_power(jnp.zeros((2, 3)), 0), np.eye(3))


def test_powers_refuse_a_negative_exponent():
    with pytest.raises(ValueError, match=r"0 or more, but it is -0\.5"):
        spectrum.left_power(jnp.eye(2), -0.5)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_polar_factor_agrees_with_scipy_and_is_orthonormal(shape):
    w = RNG.normal(size=shape)
    found = np.asarray(spectrum.polar_factor(w))
    side = "right" if shape[0] >= shape[1] else "left"
    np.testing.assert_allclose(found, scipy.linalg.polar(w, side)[0], atol=1e-12)
    gram = found.T @ found if shape[0] >= shape[1] else found @ found.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-14)


# The analytic SVD


def make_path(curves, shape, turning, seed=0, count=41):
    """Matrices U(x) diag(curves(x)) V(x)^T with frames that turn, over x in [-1, 1]."""
    rng = np.random.default_rng(seed)
    k = len(curves(0.0))
    u0, v0 = orthonormal(rng, shape[0], k), orthonormal(rng, shape[1], k)
    a, b = (rng.normal(size=(n, n)) for n in shape)
    a, b = turning * (a - a.T), turning * (b - b.T)
    x = np.linspace(-1, 1, count)
    s = np.array([curves(t) for t in x], dtype=float)
    u = np.array([scipy.linalg.expm(t * a) @ u0 for t in x])
    v = np.array([scipy.linalg.expm(t * b) @ v0 for t in x])
    return np.einsum("tik,tk,tjk->tij", u, s, v), s


CURVES = {
    "apart": lambda x: (3 + x, 1 + 0.2 * x, 0.5),
    "one through zero, at a sample": lambda x: (2, 1.1, x),
    "one through zero, between samples": lambda x: (2, 1.1, x - 0.013),
    "two cross, at a sample": lambda x: (2, 1, 1 + 0.5 * x),
    "two cross, between samples": lambda x: (2, 1, 1.006 + 0.5 * x),
    "a negative one passes a positive one": lambda x: (2, 0.5, -0.5 + 0.3 * x),
    "two negative ones cross": lambda x: (2, -0.5 - 0.987 * x, -0.5 - 1.413 * x),
    "two through zero at once": lambda x: (2, x, 1.5 * x),
    "three meet": lambda x: (1 + 0.2 * x, 1 + 0.1 * x, 1 - 0.3 * x),
    "all equal at the start": lambda x: (1 + 0.2 * (x + 1), 1 + 0.1 * (x + 1), 1 - 0.3 * (x + 1)),
    "all zero at the start": lambda x: (x + 1, 2 * (x + 1), 3 * (x + 1)),
    "rank 1 throughout": lambda x: (1 + 0.2 * x, 0, 0),
}


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (4, 3)])
@pytest.mark.parametrize("turning", [0.0, 0.2], ids=["fixed", "turning"])
@pytest.mark.parametrize("name", CURVES)
def test_follow_svd_recovers_the_curves_and_smooth_vectors(name, turning, shape):
    path, s = make_path(CURVES[name], shape, turning)
    found = analytic_svd.follow_svd(path)
    np.testing.assert_allclose(
        np.einsum("tik,tk,tjk->tij", found.u, found.s, found.v), path, atol=1e-13
    )
    np.testing.assert_allclose(
        np.einsum("tik,til->tkl", found.u, found.u), [np.eye(3)] * 41, atol=1e-13
    )
    np.testing.assert_allclose(
        np.einsum("tik,til->tkl", found.v, found.v), [np.eye(3)] * 41, atol=1e-13
    )
    assert np.all(found.s[0] >= -1e-15)
    # Each found curve is one of the true ones, up to one sign for all times.
    true = s.T * np.where(s[0] < 0, -1.0, 1.0)[:, None]
    left = list(range(3))
    for curve in found.s.T:
        gaps = [min(np.max(np.abs(curve - c * true[k])) for c in (1, -1)) for k in left]
        assert min(gaps) < 1e-13
        left.pop(int(np.argmin(gaps)))
    # The frames turn by at most 0.05 * |a| a step, |a| below 4: what jumps moves by about 1.
    moves = [np.max(np.abs(np.diff(frames, axis=0))) for frames in (found.u, found.v)]
    assert max(moves) < (0.2 if turning else 1e-7)


def test_follow_svd_refuses_what_is_not_finite():
    path = np.ones((5, 3, 3))
    path[3, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"path\[3\] has entries that are not finite.*path\[:3\]"):
        analytic_svd.follow_svd(path)


def test_follow_svd_from_a_multiple_of_the_identity():
    """alpha I + t A with A symmetric: values alpha + t lambda, vectors those of A throughout."""
    a = RNG.normal(size=(3, 3))
    a = a + a.T
    t = np.linspace(0, 1, 30)
    found = analytic_svd.follow_svd(0.1 * np.eye(3) + t[:, None, None] * a)
    wanted = 0.1 + np.outer(t, np.linalg.eigvalsh(a))
    order = np.argsort(found.s[-1])
    np.testing.assert_allclose(found.s[:, order], wanted, atol=1e-13)
    assert np.min(wanted) < 0  # a sign change is part of this


def test_follow_svd_of_one_matrix_is_its_svd():
    w = RNG.normal(size=(2, 4))
    found = analytic_svd.follow_svd(w[None])
    np.testing.assert_allclose(found.s[0], np.linalg.svd(w, compute_uv=False), rtol=1e-13)
    assert found.u.shape == (1, 2, 2)
    assert found.v.shape == (1, 4, 2)


def test_follow_svd_of_zeros_is_zero():
    found = analytic_svd.follow_svd(np.zeros((3, 2, 4)))
    np.testing.assert_array_equal(found.s, 0)
    np.testing.assert_array_equal(found.v[0], found.v[2])


@pytest.mark.parametrize("shape", [(2, 2), (0, 2, 2)])
def test_follow_svd_refuses_what_is_no_path(shape):
    with pytest.raises(ValueError, match=r"\(time, m, n\), but its shape is"):
        analytic_svd.follow_svd(np.zeros(shape))


# 2x2 with a tiny determinant


def precise_logs(frobenius_squared, log_det):
    with mpmath.workdps(60):
        f, d = mpmath.mpf(frobenius_squared), mpmath.exp(mpmath.mpf(log_det))
        gap = mpmath.sqrt((f - 2 * d) * (f + 2 * d))
        first = mpmath.log((f + gap) / 2) / 2
        return float(first), float(mpmath.mpf(log_det) - first)


@pytest.mark.parametrize(
    ("frobenius_squared", "log_det"),
    [(3.0, 0.1), (2.0, -1.0), (2.5, -50.0), (1e4, -1e6), (1e-200, -500.0), (1e250, 500.0)],
)
def test_log_singular_values_agree_with_high_precision(frobenius_squared, log_det):
    found = spectrum.log_singular_values_2x2(jnp.array(frobenius_squared), jnp.array(log_det))
    wanted = precise_logs(frobenius_squared, log_det)
    # Relative to the logarithm, whose own rounding is the floor.
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_log_singular_values_where_both_coincide():
    value = spectrum.log_singular_values_2x2(jnp.array(2e-4), jnp.log(1e-4))
    # The gap is the root of a rounding of log det: 1e-7.
    np.testing.assert_allclose(value, np.log(1e-2), atol=1e-7)
    jacobian = jax.jacobian(spectrum.log_singular_values_2x2, argnums=(0, 1))(
        jnp.array(2.0), jnp.array(0.0)
    )
    assert all(jnp.all(jnp.isfinite(j)) for j in jacobian)


def test_the_names_are_public():
    assert gf.linalg.effective_rank is spectrum.effective_rank
    assert gf.linalg.follow_svd is analytic_svd.follow_svd
