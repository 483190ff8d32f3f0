"""Initialisations: products, balancedness, statistics."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import factorizations
from gradflow.factorizations.balance import relative_unbalancedness
from tests.helpers import chain, refuses, with_singular_values

RNG = np.random.default_rng(0)
# name -> (matrix, sizes)
MATRICES = {
    "square": (RNG.normal(size=(3, 3)), (3, 3, 3)),
    "tall": (RNG.normal(size=(5, 2)), (2, 2, 2, 5)),
    "wide": (RNG.normal(size=(2, 5)), (5, 2, 2)),
    "wide hidden sizes": (RNG.normal(size=(3, 4)), (4, 7, 5, 9, 3)),
    "rank 1, hidden size 1": (np.outer([1.0, 2.0, 3.0], [1.0, -1.0]), (2, 1, 1, 3)),
    "rank 2, hidden size 2": (with_singular_values(RNG, (4, 4), [3.0, 0.1]), (4, 2, 4)),
    "repeated singular values": (0.3 * np.eye(3), (3, 3, 3, 3)),
    "zero": (np.zeros((2, 3)), (3, 2, 2)),
    "depth 1": (RNG.normal(size=(2, 3)), (3, 2)),
    "tiny": (1e-8 * RNG.normal(size=(2, 2)), (2, 2, 2)),
    "one entry": (np.array([[-2.0]]), (1, 1, 1)),
}


@pytest.fixture(params=MATRICES, name="matrix")
def _matrix(request):
    return MATRICES[request.param]


@pytest.mark.parametrize("key", [None, 3], ids=["unit frames", "random frames"])
def test_balanced_factors_multiply_to_the_matrix_and_are_balanced(matrix, key):
    w, sizes = matrix
    factors = factorizations.balanced_factors(
        w, sizes, None if key is None else jax.random.key(key)
    )
    assert tuple(f.shape for f in factors) == gf.MatrixProduct(sizes).factor_shapes
    size = max(np.linalg.norm(w, 2), 1e-300)
    np.testing.assert_allclose(chain(factors), w, atol=1e-12 * size)
    for low, high in itertools.pairwise(factors):
        # The factors' squares have size s^(2/N); some roundings of it.
        floor = 1e-13 * size ** (2 / len(factors))
        np.testing.assert_allclose(high.T @ high, low @ low.T, atol=floor)


def test_each_balanced_factor_has_the_roots_of_the_singular_values():
    w = with_singular_values(RNG, (4, 3), [8.0, 1.0, 0.125])
    for factor in factorizations.balanced_factors(w, (3, 5, 3, 4)):
        s = np.linalg.svd(factor, compute_uv=False)[:3]
        np.testing.assert_allclose(s, [2.0, 1.0, 0.5], rtol=1e-12)


def test_random_frames_depend_on_the_key_alone():
    w, sizes = MATRICES["square"]
    a, b, c = (factorizations.balanced_factors(w, sizes, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(a[0], b[0])
    assert jnp.max(jnp.abs(a[0] - c[0])) > 0.1


def test_a_single_factor_is_the_matrix_itself():
    w = RNG.normal(size=(2, 3))
    np.testing.assert_array_equal(factorizations.balanced_factors(w, (3, 2))[0], w)


def test_precision_of_the_matrix_is_kept():
    assert (
        factorizations.balanced_factors(np.eye(2, dtype=np.float32), (2, 2, 2))[0].dtype
        == jnp.float32
    )
    assert factorizations.balanced_factors([[1, 2], [3, 4]], (2, 2, 2))[0].dtype == jnp.float64


REFUSED = {
    "hidden below the rank": (
        lambda: factorizations.balanced_factors(np.eye(3), (3, 2, 3)),
        "rank 3, but the smallest hidden size is 2", "larger hidden sizes"),
    "shapes": (
        lambda: factorizations.balanced_factors(np.ones((2, 3)), (2, 2, 3)),
        "(2, 3)", "columns, hidden"),
    "not finite": (
        lambda: factorizations.balanced_factors([[1.0, np.nan], [0.0, 1.0]], (2, 2, 2)),
        "w[0, 1] is nan", "replace"),
    "vector": (lambda: factorizations.balanced_factors(np.ones(3), (3, 2, 3)), "(3,)", "reshape"),
    "both scales": (
        lambda: factorizations.gaussian_factors(jax.random.key(0), (2, 2), std=1.0,
            product_std=2.0),
        "1.0 and 2.0", "exactly one"),
    "no scale": (lambda: factorizations.gaussian_factors(jax.random.key(0), (2, 2)), "None",
        "exactly one"),
    "scale zero": (
        lambda: factorizations.gaussian_factors(jax.random.key(0), (2, 2), std=0.0), "0.0",
            "above 0"),
    "scale negative": (
        lambda: factorizations.gaussian_factors(jax.random.key(0), (2, 2), product_std=-1.0),
        "-1.0", "above 0"),
    "random balanced": (
        lambda: factorizations.random_balanced(jax.random.key(0), (3, 2, 3), 1.0), "rank 3",
            "larger hidden"),
    "identity": (lambda: factorizations.identity_factors((2, 2), -0.5), "-0.5", "above 0"),
    "identity, no factor": (
        lambda: factorizations.identity_factors((2,), 1.0),
        "(2,)",
        "N >= 1",
    ),
    "random, no factor": (
        lambda: factorizations.random_balanced(jax.random.key(0), (2,), 1.0),
        "(2,)",
        "N >= 1",
    ),
    "identity, no number": (lambda: factorizations.identity_factors((2, 2), "half"), "'half'",
        "above 0"),
    "identity of no matrix": (
        lambda: factorizations.identity_factors((2,), 1.0), "(2,)", "N >= 1"),
    "Gaussian factors of no matrix": (
        lambda: factorizations.gaussian_factors(jax.random.key(0), (2,), std=1.0), "(2,)",
        "N >= 1"),
    "shrinking factors": (
        lambda: factorizations.nearest_balanced((jnp.ones((3, 3)), jnp.ones((2, 3)))),
        "W_2 has shape (2, 3)", "square"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


def within_four_standard_errors(samples, wanted):
    samples = np.asarray(samples, dtype=float).ravel()
    error = samples.std(ddof=1) / np.sqrt(samples.size)
    assert abs(samples.mean() - wanted) < 4 * error
    assert error < 0.1 * wanted  # else the gate would say nothing


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_balanced_draws_entries_of_the_given_deviation(seed):
    factors = factorizations.random_balanced(jax.random.key(seed), (30, 30, 40), 0.02)
    w = chain(factors)
    assert w.shape == (40, 30)
    within_four_standard_errors(w**2, 0.02**2)
    assert relative_unbalancedness(factors) < 1e-13


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (2, 3, 5, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_gaussian_factors_give_products_of_the_given_deviation(sizes, seed):
    model = gf.MatrixProduct(sizes)

    @jax.vmap
    def first_entry(key):
        return model.product(factorizations.gaussian_factors(key, sizes, product_std=0.3))[0, 0]

    # One entry a draw, so that the samples are independent.
    within_four_standard_errors(
        first_entry(jax.random.split(jax.random.key(seed), 20000)) ** 2, 0.09
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gaussian_factors_have_weights_of_the_given_deviation(seed):
    factors = factorizations.gaussian_factors(jax.random.key(seed), (40, 30, 50), std=0.7)
    assert tuple(f.shape for f in factors) == ((30, 40), (50, 30))
    for factor in factors:
        within_four_standard_errors(factor**2, 0.49)
    # Different factors are independent draws.
    overlap = np.asarray(factors[0]).ravel()[:1200] * np.asarray(factors[1]).ravel()[:1200]
    assert abs(overlap.mean()) < 4 * 0.49 / np.sqrt(1200)


@pytest.mark.parametrize("sizes", [(2, 2), (2, 2, 2), (3, 3, 3, 3), (4, 2, 3), (2, 5, 3)])
def test_identity_factors_multiply_to_a_multiple_of_the_identity(sizes):
    w = chain(factorizations.identity_factors(sizes, 1e-3))
    wanted = np.zeros_like(w)
    wanted[range(min(sizes)), range(min(sizes))] = 1e-3
    np.testing.assert_allclose(w, wanted, rtol=1e-14, atol=1e-18)


def test_identity_factors_of_equal_sizes_are_exactly_balanced():
    assert factorizations.unbalancedness(factorizations.identity_factors((3, 3, 3, 3), 0.2)) == 0


def random_factors(sizes, seed):
    rng = np.random.default_rng(seed)
    shapes = gf.MatrixProduct(sizes).factor_shapes
    return tuple(jnp.asarray(rng.normal(size=s)) for s in shapes)


@pytest.mark.parametrize("sizes", [(3, 3, 3), (2, 4, 3, 5), (5, 1, 2)])
def test_unbalancedness_is_the_largest_nuclear_norm(sizes):
    factors = random_factors(sizes, 0)
    arrays = [np.asarray(f) for f in factors]
    wanted = max(
        np.linalg.norm(high.T @ high - low @ low.T, "nuc")
        for low, high in itertools.pairwise(arrays)
    )
    np.testing.assert_allclose(factorizations.unbalancedness(factors), wanted, rtol=1e-13)
    largest = max(np.sum(f**2) for f in arrays)
    np.testing.assert_allclose(relative_unbalancedness(factors), wanted / largest, rtol=1e-13)


def test_unbalancedness_does_not_see_a_rotation_of_the_hidden_space():
    w1, w2 = random_factors((3, 4, 2), 1)
    q = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    np.testing.assert_allclose(
        factorizations.unbalancedness((q @ w1, w2 @ q.T)),
        factorizations.unbalancedness((w1, w2)),
        rtol=1e-13,
    )


def test_unbalancedness_of_one_factor_and_of_zeros_is_zero():
    assert factorizations.unbalancedness((jnp.ones((2, 3)),)) == 0
    assert relative_unbalancedness((jnp.zeros((2, 2)), jnp.zeros((2, 2)))) == 0


def test_relative_unbalancedness_does_not_see_the_scale():
    factors = random_factors((2, 3, 2), 2)
    scaled = tuple(1e-5 * f for f in factors)
    np.testing.assert_allclose(
        relative_unbalancedness(scaled), relative_unbalancedness(factors), rtol=1e-12
    )


@pytest.mark.parametrize("sizes", [(3, 3, 3), (2, 2, 2, 2), (3, 3, 3, 3, 3), (4, 2, 3, 3, 5)])
@pytest.mark.parametrize("seed", range(5))
def test_nearest_balanced_keeps_the_bound_of_lemma_1(sizes, seed):
    factors = random_factors(sizes, seed)
    close = factorizations.nearest_balanced(factors)
    assert relative_unbalancedness(close) < 1e-13
    root = np.sqrt(factorizations.unbalancedness(factors))
    for j, (a, b) in enumerate(zip(factors, close, strict=True)):
        assert a.shape == b.shape
        assert jnp.linalg.norm(a - b) <= j * root * (1 + 1e-12)


def test_nearest_balanced_keeps_what_is_balanced():
    factors = factorizations.balanced_factors(
        RNG.normal(size=(3, 3)), (3, 3, 3, 3), jax.random.key(0)
    )
    for a, b in zip(factors, factorizations.nearest_balanced(factors), strict=True):
        # Polar factors: round-off times the condition number of the factor, below 100.
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_nearest_balanced_meets_the_bound_with_equality_beside_a_zero_factor():
    """||W_2 - W'_2||_F^2 = ||W_1||_F^2 = ||W_1 W_1^T||_nuclear for W_2 = 0."""
    w1 = jnp.asarray(RNG.normal(size=(3, 3)))
    factors = (w1, jnp.zeros((3, 3)))
    close = factorizations.nearest_balanced(factors)
    np.testing.assert_allclose(
        jnp.linalg.norm(close[1]), jnp.sqrt(factorizations.unbalancedness(factors)), rtol=1e-13
    )
    assert relative_unbalancedness(close) < 1e-13
