"""Where penalties have no gradient: subgradients, crossings of zero."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import penalties
from tests.gradflow.penalties.examples import DEFICIENT, PENALTIES, numpy_value, objective
from tests.helpers import central_gradient

RNG = np.random.default_rng(0)
KINKED = [name for name, penalty in PENALTIES.items() if penalty.exponent <= 1]
CONVEX = ["nuclear", "Schatten 1", "Schatten 2", "Schatten 7/2"]


@pytest.mark.parametrize("matrix", DEFICIENT)
@pytest.mark.parametrize("name", PENALTIES)
def test_smooth_says_where_a_gradient_exists(name, matrix):
    assert PENALTIES[name].smooth(jnp.asarray(DEFICIENT[matrix])) == (name not in KINKED)


@pytest.mark.parametrize("matrix", DEFICIENT)
@pytest.mark.parametrize("name", KINKED)
def test_null_directions_get_no_gradient(name, matrix):
    """The rest of it is that of the singular values above zero, by NumPy at full precision."""
    w = DEFICIENT[matrix]
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    r = int(np.sum(s > 1e-10))
    # On the rank-r part alone the matrix has full rank, and the gradient is known.
    core = PENALTIES[name].gradient(jnp.diag(jnp.asarray(s[:r])))
    np.testing.assert_allclose(
        PENALTIES[name].gradient(jnp.asarray(w)), u[:, :r] @ core @ vt[:r], atol=1e-13
    )


@pytest.mark.parametrize("matrix", DEFICIENT)
def test_the_nuclear_norm_has_the_smallest_subgradient(matrix):
    w, penalty = DEFICIENT[matrix], gf.NuclearNorm(1.0)
    g = np.asarray(penalty.gradient(jnp.asarray(w)))
    # All subgradients are U_r V_r^T + M, with M orthogonal to it in rows and columns.
    np.testing.assert_allclose(np.sum(g**2), np.linalg.matrix_rank(w), rtol=1e-13)


@pytest.mark.parametrize("matrix", [*DEFICIENT, "zero"])
@pytest.mark.parametrize("name", CONVEX)
def test_subgradients_of_norms_support_them_from_below(name, matrix):
    w, penalty = (DEFICIENT | {"zero": np.zeros((3, 2))})[matrix], PENALTIES[name]
    g = np.asarray(penalty.gradient(jnp.asarray(w)))
    for size in (1e-3, 1.0, 10.0):
        moved = w + size * RNG.normal(size=w.shape)
        gap = numpy_value(name, moved) - float(penalty.value(w)) - np.sum(g * (moved - w))
        assert gap > -1e-14


@pytest.mark.parametrize("name", [n for n in PENALTIES if n not in KINKED])
def test_powers_above_one_have_gradients_at_low_rank(name):
    w = DEFICIENT["rank 2, square"]
    found = np.asarray(PENALTIES[name].gradient(jnp.asarray(w)))
    # The power p of a singular value of size h: the error is h^(p - 1), p = 3/2 at the least.
    wanted = central_gradient(lambda x: numpy_value(name, x), w, 1e-8)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", KINKED)
def test_where_smooth_says_no_the_sides_differ(name):
    w = DEFICIENT["rank 2, square"]
    u, _, vt = np.linalg.svd(w)
    null = 1e-6 * np.outer(u[:, -1], vt[-1])
    forward = numpy_value(name, w + null) - numpy_value(name, w)
    backward = numpy_value(name, w) - numpy_value(name, w - null)
    assert abs(forward - backward) > 1e-7


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (1, 1)])
def test_at_zero_there_is_no_gradient_but_a_convention(name, shape):
    penalty, zero = PENALTIES[name], jnp.zeros(shape)
    assert penalty.value(zero) == 0
    np.testing.assert_array_equal(penalty.gradient(zero), zero)
    assert not penalty.smooth(zero)


@pytest.mark.parametrize(("least", "smooth"), [(1e-12, True), (8e-13, False), (0.0, False)])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("name", KINKED)
def test_smooth_goes_by_the_smallest_singular_value_next_to_the_largest(name, scale, least, smooth):
    w = scale * jnp.diag(jnp.array([1.0, 0.5, least]))
    assert PENALTIES[name].smooth(w) == smooth
    assert math.isclose(penalties.resolution(w.dtype), 9.09e-13, rel_tol=1e-3)


@pytest.mark.parametrize("shape", [(2, 2), (20, 30), (100, 100)])
def test_products_of_low_rank_are_found_to_be_so(shape):
    """Their null singular values are rounding, and must not enter the gradient."""
    a, b = RNG.normal(size=(shape[0], 1)), RNG.normal(size=(1, shape[1]))
    w = jnp.asarray(a @ b)
    found = gf.NuclearNorm(1.0).gradient(w)
    np.testing.assert_allclose(found, a @ b / np.linalg.norm(a @ b), atol=1e-14)
    assert not gf.NuclearNorm(1.0).smooth(w)


def test_a_matrix_that_is_not_a_number_is_not_smooth():
    assert not gf.NuclearNorm(1.0).smooth(jnp.full((2, 2), jnp.nan))
    assert not gf.SchattenNorm(2, 1.0).smooth(jnp.full((2, 2), jnp.nan))


@pytest.mark.parametrize("tolerance", [1e-10, 1e-3])
@pytest.mark.parametrize("name", ["nuclear", "Schatten 1/2"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 4), (3, 1), (1, 1)])
def test_a_singular_value_that_goes_through_zero_has_crossed(shape, name, tolerance):
    rng, penalty = np.random.default_rng(3), PENALTIES[name]
    k = min(shape)
    u, v = (np.linalg.qr(rng.normal(size=(n, k)))[0] for n in shape)
    turn = (np.eye(n) + 0.1 * rng.normal(size=(n, n)) for n in shape)
    left, right = turn

    def matrix(least):
        s = np.append(np.linspace(2, 1, k - 1), least)
        return (u * s) @ v.T

    before = matrix(0.02)
    for least, crossed in [(0.03, False), (0.01, False), (-0.01, True), (-0.02, True)]:
        after = left @ matrix(least) @ right
        assert penalty.crossed(before, after, tolerance) == crossed, least
    # The whole of it, which keeps the sign of a determinant of even order.
    assert penalty.crossed(before, -before, tolerance)
    assert not penalty.crossed(before, before, tolerance)


def test_null_singular_values_do_not_cross():
    before, after = (np.diag([1.0, 0.5, least]) for least in (1e-5, -1e-5))
    assert gf.NuclearNorm(1.0).crossed(before, after, 1e-6)
    assert not gf.NuclearNorm(1.0).crossed(before, after, 1e-4)
    for end in (0.0, 1e-7, -1e-7):
        assert not gf.NuclearNorm(1.0).crossed(before, np.diag([1.0, 0.5, end]), 1e-6)


def test_turning_singular_vectors_do_not_cross():
    """A quarter turn, and an exchange of two singular values."""
    w = np.diag([1.0, 0.5, 0.2])
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for after in (quarter @ w, quarter @ w @ quarter.T, w @ quarter):
        assert not gf.NuclearNorm(1.0).crossed(w, after, 1e-8)


def test_only_penalties_with_a_kink_are_asked():
    """Else the answer is known before any number is."""
    for penalty, known in [
        (None, True), (gf.SchattenNorm(2, 0.3), True), (gf.NuclearNorm(0.3), False)
    ]:  # fmt: skip
        model = objective(1, penalty)
        before = (jnp.eye(4),)
        trace = jax.make_jaxpr(lambda a, b, m=model: m.crossed(a, b, 1e-8))(before, (-jnp.eye(4),))
        assert (len(trace.eqns) == 0) == known
        assert model.crossed(before, (-jnp.eye(4),), 1e-8) != known
