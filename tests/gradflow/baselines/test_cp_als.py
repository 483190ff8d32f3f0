"""CP by alternating least squares: exact tensors, another implementation, first order, scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.baselines import cp_als
from tests.helpers import central_gradient, refuses

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(3, 4, 5))


def outer(factors):
    """The sum of outer products, term by term."""
    total = 0
    for columns in zip(*(np.asarray(f).T for f in factors), strict=True):
        term = columns[0]
        for column in columns[1:]:
            term = np.multiply.outer(term, column)
        total = total + term
    return total


def low_rank(shape, rank, seed=0):
    rng = np.random.default_rng(seed)
    return outer([rng.normal(size=(n, rank)) for n in shape])


@pytest.mark.parametrize(
    ("shape", "rank"), [((8, 8, 8), 1), ((8, 8, 8), 3), ((6, 7, 5), 4), ((4, 5, 3, 4), 3)]
)
def test_tensors_of_low_rank_come_back(shape, rank):
    w = low_rank(shape, rank)
    found = cp_als(w, rank, key=KEY)
    assert found.converged and found.sweeps < 1000
    assert [f.shape for f in found.factors] == [(n, rank) for n in shape]
    gap = np.linalg.norm(outer(found.factors) - w)
    assert gap < 1e-10 * np.linalg.norm(w)
    np.testing.assert_allclose(found.residual, gap, atol=1e-14 * np.linalg.norm(w))
    np.testing.assert_allclose(found.relative_residual * np.linalg.norm(w), found.residual)
    np.testing.assert_allclose(found.product, w, atol=1e-9)


def test_a_matrix_gets_the_distance_of_its_svd():
    w = RNG.normal(size=(7, 5))
    found = cp_als(w, 2, key=KEY)
    np.testing.assert_allclose(found.residual, np.linalg.norm(np.linalg.svd(w)[1][2:]), rtol=1e-9)


def test_what_converged_is_stationary():
    found = cp_als(NOISE, 2, key=KEY, tolerance=1e-15)
    assert found.converged
    first = np.asarray(found.factors[0])
    slope = central_gradient(
        lambda a: 0.5 * np.sum((outer((a, *found.factors[1:])) - NOISE) ** 2), first
    )
    assert np.linalg.norm(slope) < 1e-6 * np.sum(NOISE**2)


def test_the_residual_never_grows_with_sweeps():
    start = tuple(RNG.normal(size=(n, 3)) for n in NOISE.shape)
    residuals = [cp_als(NOISE, 3, start=start, sweeps=k).residual for k in range(1, 30)]
    assert np.all(np.diff(residuals) <= 1e-13)


def test_it_agrees_with_another_implementation():
    tensorly = pytest.importorskip("tensorly")
    from tensorly.decomposition import parafac

    for w, rank in ((low_rank((6, 7, 5), 3), 3), (NOISE, 1), (NOISE, 2)):
        start = [RNG.normal(size=(n, rank)) for n in w.shape]
        theirs = parafac(
            w, rank, init=tensorly.cp_tensor.CPTensor((np.ones(rank), [f.copy() for f in start])),
            n_iter_max=5000, tol=1e-14)  # fmt: skip
        gap = np.linalg.norm(tensorly.cp_to_tensor(theirs) - w)
        ours = cp_als(w, rank, start=start)
        assert ours.residual <= gap + 1e-6 * np.linalg.norm(w)


def test_it_begins_at_the_start():
    factors = [RNG.normal(size=(n, 2)) for n in (3, 4, 5)]
    found = cp_als(outer(factors), 2, start=factors)
    assert found.converged and found.sweeps == 0
    for given, kept in zip(factors, found.factors, strict=True):
        np.testing.assert_allclose(
            given / np.linalg.norm(given, axis=0), kept / np.linalg.norm(kept, axis=0)
        )


def test_a_key_gives_the_same_again_and_another_key_another_start():
    one, same, other = (
        cp_als(NOISE, 2, key=jax.random.key(k), sweeps=1).residual for k in (0, 0, 1)
    )
    assert one == same != other


def test_ranks_above_what_gram_matrices_hold():
    found = cp_als(NOISE, 20, key=KEY)
    assert found.relative_residual < 1e-9
    assert all(np.all(np.isfinite(f)) for f in found.factors)
    twice = [np.repeat(RNG.normal(size=(n, 1)), 3, axis=1) for n in NOISE.shape]
    same = cp_als(NOISE, 3, start=twice)
    assert same.residual <= cp_als(NOISE, 1, key=KEY).residual


@pytest.mark.parametrize("exponent", [-900, 900])
def test_powers_of_two_change_the_result_by_them_alone(exponent):
    large = np.ldexp(NOISE, exponent)
    one, other = (cp_als(w, 2, key=KEY, sweeps=50) for w in (NOISE, large))
    assert other.residual == np.ldexp(one.residual, exponent)
    assert one.relative_residual == other.relative_residual
    # Each factor carries a third: products of two of them stay in range.
    np.testing.assert_array_equal(
        outer([np.ldexp(f, -exponent // 3) for f in other.factors]), outer(one.factors)
    )


def test_the_zero_tensor_and_terms_of_zeros():
    none = cp_als(np.zeros((2, 3, 2)), 2, key=KEY)
    assert none.converged and none.residual == none.relative_residual < 1e-14
    zero = [np.zeros((n, 1)) for n in NOISE.shape]
    found = cp_als(NOISE, 1, start=zero)
    assert found.relative_residual == 1


def test_too_few_sweeps_are_said():
    found = cp_als(NOISE, 3, key=KEY, sweeps=2)
    assert not found.converged and found.sweeps == 2


def test_float32_is_converted():
    w = jnp.asarray(NOISE, jnp.float32)
    assert cp_als(w, 1, key=KEY).factors[0].dtype == jnp.float64


REFUSED = {
    "vector": (lambda: cp_als(np.ones(3), 1, key=KEY), "(3,)", "a matrix of one column"),
    "empty": (lambda: cp_als(np.ones((3, 0)), 1, key=KEY), "(3, 0)", "an entry"),
    "not finite": (
        lambda: cp_als(np.full((2, 2), np.inf), 1, key=KEY), "tensor[0, 0] is inf", "remove"),
    "text": (lambda: cp_als("abc", 1, key=KEY), "tensor", "convert"),
    "rank": (lambda: cp_als(NOISE, 0, key=KEY), "rank", "at least 1"),
    "rank by half": (lambda: cp_als(NOISE, 1.5, key=KEY), "1.5", "whole number"),
    "rank huge": (lambda: cp_als(NOISE, 10**9, key=KEY), "1000000000", "at most"),
    "sweeps": (lambda: cp_als(NOISE, 1, key=KEY, sweeps=0), "sweeps", "at least 1"),
    "tolerance": (lambda: cp_als(NOISE, 1, key=KEY, tolerance=-1.0), "tolerance", "above 0"),
    "neither": (lambda: cp_als(NOISE, 1), "none is given", "exactly one of key and start"),
    "both": (
        lambda: cp_als(NOISE, 1, key=KEY, start=[np.ones((n, 1)) for n in (3, 4, 5)]),
        "both is given", "exactly one of key and start"),
    "start": (
        lambda: cp_als(NOISE, 2, start=[np.ones((n, 1)) for n in (3, 4, 5)]), "(3, 1)", "(3, 2)"),
    "start huge": (
        lambda: cp_als(NOISE, 1, start=[np.full((n, 1), 1e200) for n in (3, 4, 5)]),
        "not finite", "scale it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


def test_float64_is_asked_for():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="jax_enable_x64"):
            cp_als(NOISE, 1, key=KEY)
    finally:
        jax.config.update("jax_enable_x64", True)


def test_the_factors_are_those_of_a_cp_tensor():
    found = cp_als(NOISE, 2, key=KEY)
    model = gf.CPTensor(NOISE.shape, 2)
    np.testing.assert_allclose(
        np.linalg.norm(model.product(found.factors) - NOISE), found.residual, rtol=1e-12
    )
    lengths = np.array([np.linalg.norm(f, axis=0) for f in found.factors])
    assert np.all(lengths.max(0) < 2.1 * lengths.min(0))
