"""Gradients in float32 against those in float64, and against a computation with 40 digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

import gradflow as gf
from tests.helpers import with_singular_values

POWERS = {
    "third": gf.SchattenNorm(1 / 3, 1.0),
    "half": gf.SchattenNorm(1 / 2, 1.0),
    "nuclear": gf.NuclearNorm(1.0),
    "ratio": gf.SchattenRatio(1 / 3, 2 / 3, 1.0),
}


def near_rank_5(n, tail):
    """A float32 matrix with 5 singular values near 1, and n - 5 near `tail`.

    Always the same: rounding moves the errors below by a half from one draw to the next.
    """
    s = np.concatenate([np.linspace(2, 1, 5), tail * np.geomspace(5, 0.2, n - 5)])
    return with_singular_values(np.random.default_rng(1), (n, n), s).astype(np.float32)


def error(found, wanted):
    wanted = np.asarray(wanted)
    return np.linalg.norm(np.asarray(found, np.float64) - wanted) / np.linalg.norm(wanted)


def by_svd_of_all(w, p):
    """PyTorch's rule: sum_i s_i^(p-1) u_i v_i^T over all singular values that an SVD gives."""
    u, s, vt = scipy.linalg.svd(w, full_matrices=False)  # NumPy's computes in float64
    assert s.dtype == np.float32
    return np.sum(s**p) ** (1 / p - 1) * (u * s ** (p - 1)) @ vt


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("n, tail, most", [(30, 1e-4, 0.01), (30, 1e-5, 0.1), (100, 1e-5, 0.3)])
def test_small_singular_values_have_their_slopes(name, n, tail, most):
    w = near_rank_5(n, tail)
    single = gf.astype(POWERS[name], jnp.float32).gradient(jnp.asarray(w))
    double = POWERS[name].gradient(jnp.asarray(w, jnp.float64))
    assert single.dtype == jnp.float32
    assert error(single, double) < most


@pytest.mark.parametrize("tail", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("name, p", [("third", 1 / 3), ("half", 1 / 2), ("nuclear", 1.0)])
def test_it_is_the_rule_of_pytorch(name, p, tail):
    """As an SVD in float32 has it; where it knows the vectors, to rounding."""
    w = near_rank_5(30, tail)
    found = gf.astype(POWERS[name], jnp.float32).gradient(jnp.asarray(w))
    theirs = by_svd_of_all(w, p)
    double = POWERS[name].gradient(jnp.asarray(w, jnp.float64))
    assert error(found, double) < 1.5 * error(theirs, double) + 1e-5


def test_double_precision_agrees_with_40_digits():
    w = near_rank_5(8, 1e-6)
    with mpmath.workdps(40):
        u, s, vt = mpmath.svd_r(mpmath.matrix(w.astype(float).tolist()))
        p = mpmath.mpf(1) / 3
        slopes = mpmath.diag([x ** (p - 1) for x in s])
        wanted = sum(x**p for x in s) ** (1 / p - 1) * (u * slopes * vt)
        wanted = np.array(wanted.tolist(), dtype=float)
    assert error(POWERS["third"].gradient(jnp.asarray(w, jnp.float64)), wanted) < 1e-8


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize(
    "model",
    [
        gf.MatrixProduct((60, 4, 60)),
        gf.MatrixProduct((60, 30, 4, 60)),
        gf.factorizations.SymmetricProduct(60, 4),
        gf.CPTensor((60, 60), 4),
    ],
    ids=["depth 2", "depth 3", "symmetric", "CP"],
)
def test_rounding_beyond_the_rank_of_the_factors_has_no_slope(model, name):
    factors = gf.astype(model.gaussian(jax.random.key(0), std=0.3), jnp.float32)
    problem = gf.MatrixCompletion((60, 60), [[0, 0]], [0.0])
    found, wanted = (
        gf.astype(gf.Objective(problem, model, POWERS[name]), dtype).gradient(
            gf.astype(factors, dtype)
        )
        for dtype in (jnp.float32, jnp.float64)
    )
    assert max(map(error, found, wanted)) < 2e-5


def test_the_highest_rank_is_that_of_the_narrowest_place():
    assert gf.MatrixProduct((5, 3, 4, 6)).highest_rank == 3
    assert gf.MatrixProduct((5, 9, 4)).highest_rank == 4
    assert gf.factorizations.SymmetricProduct(5, 2).highest_rank == 2
    assert gf.CPTensor((5, 4), 3).highest_rank == 3


@pytest.mark.parametrize("polar", ["svd", "rational", "polynomial"])
@pytest.mark.parametrize("scale", [1e-25, 1e22])
def test_the_ratio_has_the_gradient_of_its_shape_at_sizes_whose_squares_are_no_numbers(
    polar, scale
):
    penalty = gf.NuclearFrobeniusRatio(1.0, polar)
    w = np.random.default_rng(0).normal(size=(5, 4))
    wanted = gf.NuclearFrobeniusRatio(1.0, "svd").gradient(w)
    found = penalty.gradient(jnp.asarray(scale * w, jnp.float32))
    assert error(np.asarray(found, np.float64) * scale, wanted) < 1e-3
