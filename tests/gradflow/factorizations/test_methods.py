"""Starts and balance as methods: of matrix products (as the functions), of CP tensors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize

import gradflow as gf
from gradflow.factorizations import relative_unbalancedness
from tests.gradflow.factorizations.test_factorizations import cp_oracle, draw
from tests.helpers import refuses

RNG = np.random.default_rng(0)
KEY = jax.random.key(3)
CP = gf.CPTensor((3, 4, 2), 5)
FACTORS = draw(CP.factor_shapes)


def test_those_of_matrix_products_are_the_functions():
    sizes = (3, 4, 4, 5)
    model, w = gf.MatrixProduct(sizes), RNG.normal(size=(5, 3))
    pairs = [
        (model.gaussian(KEY, std=0.3), gf.gaussian_factors(KEY, sizes, std=0.3)),
        (model.gaussian(KEY, product_std=0.3), gf.gaussian_factors(KEY, sizes, product_std=0.3)),
        (model.balanced(w), gf.balanced_factors(w, sizes)),
        (model.balanced(w, KEY), gf.balanced_factors(w, sizes, KEY)),
        (model.random_balanced(KEY, 0.1), gf.random_balanced(KEY, sizes, 0.1)),
        (model.identity(0.2), gf.identity_factors(sizes, 0.2)),
    ]
    start = pairs[0][0]
    pairs.append((model.nearest_balanced(start), gf.nearest_balanced(start)))
    for found, wanted in pairs:
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    both = [(model.unbalancedness, gf.unbalancedness)]
    both += [(model.relative_unbalancedness, relative_unbalancedness)]
    for method, function in both:
        np.testing.assert_allclose(method(start), function(start), rtol=1e-14)
    assert model.degree == 3


def lengths(factors):
    return np.array([np.linalg.norm(f, axis=0) for f in factors])


def test_balanced_components_have_vectors_of_one_length_and_the_same_tensor():
    found = CP.balanced(FACTORS)
    np.testing.assert_allclose(lengths(found), [np.prod(lengths(FACTORS), 0) ** (1 / 3)] * 3)
    np.testing.assert_allclose(CP.product(found), cp_oracle(FACTORS), atol=1e-13)
    assert CP.unbalancedness(found) < 1e-13
    for a, b in zip(CP.balanced(found), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_a_component_with_a_vector_of_zeros_is_balanced_as_zero():
    factors = (FACTORS[0].at[:, 1].set(0.0), *FACTORS[1:])
    for factor in CP.balanced(factors):
        assert not jnp.any(factor[:, 1]) and jnp.all(jnp.isfinite(factor))


def test_the_product_of_lengths_may_overflow():
    found = lengths(CP.balanced(tuple(1e120 * f for f in FACTORS)))
    wanted = 1e120 * np.prod(lengths(FACTORS), 0) ** (1 / 3)
    np.testing.assert_allclose(found, [wanted] * 3, rtol=1e-12)


def test_unbalancedness_is_the_largest_difference_of_squared_lengths():
    squares = lengths(FACTORS) ** 2
    wanted = max(np.max(np.abs(a - b)) for a, b in itertools.combinations(squares, 2))
    np.testing.assert_allclose(CP.unbalancedness(FACTORS), wanted, rtol=1e-14)
    largest = max(np.sum(np.asarray(f) ** 2) for f in FACTORS)
    np.testing.assert_allclose(CP.relative_unbalancedness(FACTORS), wanted / largest, rtol=1e-14)


def test_unbalancedness_of_cp_factors_is_observed_as_theirs():
    """A matrix chain's number was recorded where shapes allowed it, else a TypeError came."""
    for shape, rank in [((3, 3, 3), 3), ((3, 4, 2), 2)]:
        model = gf.CPTensor(shape, rank)
        problem = gf.TensorCompletion(shape, [[0, 0, 0], [1, 1, 1]], [1.0, 0.5])
        start = draw(model.factor_shapes)
        run = gf.run_descent(
            gf.Objective(problem, model), start, optax.sgd(1e-3), steps=1,
            observe=["unbalancedness"],
        )  # fmt: skip
        np.testing.assert_allclose(run["unbalancedness"][0], model.unbalancedness(start))


def test_the_nearest_balanced_components_are_the_nearest():
    """Against SciPy: over lengths and directions of one component, each from several starts."""
    model = gf.CPTensor((2, 3, 2), 1)
    factors = draw(model.factor_shapes, seed=4)
    found = model.nearest_balanced(factors)
    assert model.unbalancedness(found) < 1e-14
    sizes = [f.size for f in factors]

    def distance(x):
        parts = np.split(x[1:], np.cumsum(sizes)[:-1])
        return sum(
            np.sum((np.ravel(f) - x[0] * p / np.linalg.norm(p)) ** 2)
            for f, p in zip(factors, parts, strict=True)
        )

    best = min(minimize(distance, RNG.normal(size=1 + sum(sizes))).fun for _ in range(5))
    ours = sum(np.sum((np.asarray(a) - b) ** 2) for a, b in zip(factors, found, strict=True))
    np.testing.assert_allclose(ours, best, rtol=1e-9)


def test_the_nearest_to_a_vector_of_zeros_has_the_mean_length():
    zero = (jnp.zeros((2, 1)), jnp.ones((2, 1)))
    found = gf.CPTensor((2, 2), 1).nearest_balanced(zero)
    np.testing.assert_allclose(lengths(found), [[0.5**0.5], [0.5**0.5]])


def test_component_norms_are_those_of_the_components():
    found = CP.component_norms(FACTORS)
    for r in range(CP.rank):
        alone = cp_oracle([f[:, r : r + 1] for f in FACTORS])
        np.testing.assert_allclose(found[r], np.linalg.norm(alone), rtol=1e-13)


def test_gaussian_components_give_tensors_of_the_given_deviation():
    model = gf.CPTensor((4, 3, 5), 6)

    def first(key):
        return model.product(model.gaussian(key, product_std=0.2))[0, 0, 0]

    samples = np.asarray(jax.vmap(first)(jax.random.split(KEY, 20_000))) ** 2
    error = samples.std() / len(samples) ** 0.5
    assert error < 0.1 * 0.04  # else the gate would say nothing
    assert abs(samples.mean() - 0.04) < 4 * error


def test_random_balanced_components_are_balanced_and_of_the_keys_directions():
    found, drawn = CP.random_balanced(KEY, 0.1), CP.gaussian(KEY, std=0.1)
    assert CP.relative_unbalancedness(found) < 1e-14
    np.testing.assert_allclose(CP.product(found), CP.product(drawn), atol=1e-17)


REFUSED = {
    "tensor": (lambda: CP.balanced(np.ones((3, 4, 2))), "single array", "tuple"),
    "shapes": (lambda: CP.balanced(FACTORS[:2]), "((3, 5), (4, 5))", "needs"),
    "identity": (lambda: CP.identity(1.0), "CPTensor", "gaussian(key"),
    "not finite": (
        lambda: CP.balanced((FACTORS[0].at[0, 0].set(jnp.nan), *FACTORS[1:])), "w[0][0, 0] is nan",
        "replace"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


@pytest.mark.parametrize(
    "model",
    [
        gf.MatrixProduct((3, 4, 4, 5)),
        CP,
        gf.SymmetricProduct(4, 3),
        gf.HierarchicalTensor((2, 3, 2), 2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_starts_at_deviations_whose_squares_underflow_are_scaled_ones(model):
    large, small = (model.gaussian(KEY, product_std=std) for std in (1.0, 1e-200))
    order = getattr(model, "degree", None) or len(model.factor_shapes)
    for one, other in zip(large, small, strict=True):
        np.testing.assert_allclose(other, one * 1e-200 ** (1 / order), rtol=1e-12)


def test_components_with_vectors_whose_squares_underflow_are_balanced_and_have_lengths():
    large, small = (CP.random_balanced(KEY, std=std) for std in (1.0, 1e-170))
    for one, other in zip(large, small, strict=True):
        np.testing.assert_allclose(other, one * 1e-170, rtol=1e-12)
    some = (1e-170 * FACTORS[0], *FACTORS[1:])
    wanted = 1e-170 * np.asarray(CP.component_norms(FACTORS))
    np.testing.assert_allclose(CP.component_norms(some), wanted, rtol=1e-12)
    for one, other in zip(CP.balanced(FACTORS), CP.balanced(some), strict=True):
        np.testing.assert_allclose(other, one * 1e-170 ** (1 / 3), rtol=1e-12)
