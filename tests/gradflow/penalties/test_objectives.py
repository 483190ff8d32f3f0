"""Objectives with a penalty: their value, their kinks, flows along them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow._util.provenance import describe
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.state import State
from tests.gradflow.penalties.examples import PENALTIES, PROBLEM, numpy_value, objective, start
from tests.helpers import central_gradient, chain, with_singular_values

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", PENALTIES)
def test_an_objective_is_loss_and_penalty(name, depth):
    model, penalty = objective(depth, PENALTIES[name]), PENALTIES[name]
    factors = start(model)
    loss, gradient = model.loss_and_gradient(factors)
    assert loss == objective(depth).loss(factors) == model.loss(factors)
    np.testing.assert_allclose(
        model.value(factors), loss + numpy_value(name, chain(factors)), rtol=1e-13
    )
    assert model.penalty_at(factors) == penalty.value(model.product(factors))
    assert model.smooth(factors)
    for found, wanted in zip(gradient, jax.grad(model.value)(factors), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)


def test_an_objective_without_a_penalty_has_none():
    model = objective(2)
    factors = start(model)
    assert model.penalty_at(factors) == 0
    assert model.value(factors) == model.loss(factors)
    assert model.smooth(factors)


def test_a_matrix_written_as_a_cp_tensor_takes_a_penalty():
    model = gf.Objective(PROBLEM, gf.CPTensor((4, 4), 4), gf.NuclearNorm(0.1))
    factors = tuple(jnp.asarray(RNG.normal(size=(4, 4))) for _ in range(2))
    for found, wanted in zip(model.gradient(factors), jax.grad(model.value)(factors), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)
    assert model.smooth(factors)
    assert not model.smooth((factors[0], jnp.zeros((4, 4))))


def test_a_vector_problem_has_no_penalty_on_matrices():
    problem = gf.LeastSquares(np.eye(2), [1.0, 2.0])
    with pytest.raises(ValueError, match="shape"):
        gf.Objective(problem, gf.MatrixProduct((1, 2)), gf.NuclearNorm(1.0))


LOW = with_singular_values(np.random.default_rng(1), (4, 4), [2.0, 0.5])


TURN = np.linalg.qr(np.arange(16.0).reshape(4, 4) ** 0.5)[0]


def jump_of_slope(model, factors, step=1e-6):
    """How far the slopes ahead and behind along a line differ: O(step) without a kink."""
    rng = np.random.default_rng(2)
    line = [rng.normal(size=f.shape) for f in factors]
    behind, here, ahead = (
        float(model.value(tuple(f + k * step * d for f, d in zip(factors, line, strict=True))))
        for k in (-1, 0, 1)
    )
    return abs(ahead + behind - 2 * here) / step


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("penalty", [gf.NuclearNorm(0.3), gf.NuclearFrobeniusRatio(0.3)])
def test_balanced_factors_of_low_rank_have_no_kink(penalty, depth):
    model = objective(depth, penalty)
    factors = model.factorization.balanced(LOW)
    assert not penalty.smooth(model.product(factors))
    assert model.smooth(factors)
    assert jump_of_slope(model, factors) < 1e-4
    for j, found in enumerate(model.gradient(factors)):

        def value(x, j=j):
            return model.value((*factors[:j], jnp.asarray(x), *factors[j + 1 :]))

        np.testing.assert_allclose(found, central_gradient(value, factors[j], 1e-3), atol=1e-10)


KINKS = {
    "depth 1": (1, gf.NuclearNorm(0.3), lambda: (LOW,)),
    "full rank beside": (2, gf.NuclearNorm(0.3), lambda: (LOW, TURN)),
    "little beside": (
        2, gf.NuclearFrobeniusRatio(0.3), lambda: (LOW, LOW @ LOW.T + 1e-2 * np.eye(4))),
    "power below one": (
        2, gf.SchattenNorm(0.5, 0.3), lambda: gf.factorizations.balanced_factors(LOW, (4, 4, 4))),
}  # fmt: skip


@pytest.mark.parametrize("case", KINKS)
def test_other_factors_of_low_rank_have_one(case):
    depth, penalty, make = KINKS[case]
    model, factors = objective(depth, penalty), tuple(map(jnp.asarray, make()))
    assert not model.smooth(factors)
    assert jump_of_slope(model, factors) > 5e-4


def test_a_kink_beyond_the_singular_vectors_of_a_tall_product_is_seen():
    """W = e_1 e_1^T, and W_1 also reaches e_4, which need be no singular vector of W."""
    problem = gf.MatrixCompletion((4, 2), [[0, 0]], [1.0])
    model = gf.Objective(problem, gf.MatrixProduct((2, 4, 4)), gf.NuclearNorm(0.3))
    first = jnp.zeros((4, 2)).at[0, 0].set(1.0)
    for reach, smooth in [(1.0, False), (0.0, True)]:
        factors = (first, jnp.diag(jnp.array([1.0, 0.0, 0.0, reach])))
        assert model.smooth(factors) == smooth
        assert (jump_of_slope(model, factors) < 1e-4) == smooth


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_zero_factors_are_not_smooth(depth):
    model = objective(depth, gf.NuclearNorm(0.3))
    zeros = tuple(jnp.zeros((4, 4)) for _ in range(depth))
    assert not model.smooth(zeros)
    assert all(jnp.all(jnp.isfinite(g)) for g in model.gradient(zeros))


def test_neighbours_are_the_products_on_either_side():
    model = gf.MatrixProduct((2, 3, 4, 5))
    a, b, c = (RNG.normal(size=s) for s in model.factor_shapes)
    left, right = model.neighbours(tuple(map(jnp.asarray, (a, b, c))))
    for found, wanted in zip(left, (c @ b, c, np.eye(5)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-14)
    for found, wanted in zip(right, (np.eye(2), a, b @ a), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-14)


@pytest.mark.parametrize("name", ["nuclear", "ratio", "Schatten 1/2"])
def test_the_value_falls_along_the_flow(name):
    model = objective(3, PENALTIES[name])
    factors, chart = start(model), FactorCoordinates(model)
    value, falling = jax.jvp(chart.value, (factors,), (chart.velocity(factors),))
    np.testing.assert_allclose(chart.squared_gradient_norm(factors), -falling, rtol=1e-11)
    np.testing.assert_allclose(value, model.value(factors), rtol=1e-15)
    assert chart.penalty(factors) == model.penalty_at(factors)
    assert chart.loss(factors) == model.loss(factors)
    assert chart.smooth(factors)
    assert not chart.smooth(tuple(0 * f for f in factors))


def test_observables_tell_loss_penalty_and_value_apart():
    model = objective(2, gf.NuclearNorm(0.3))
    factors = start(model)
    state = State(FactorCoordinates(model), factors)
    names = ("loss", "penalty", "value")
    found = [float(getattr(gf.observables, name)(state)) for name in names]
    np.testing.assert_allclose(found[2], found[0] + found[1], rtol=1e-15)
    np.testing.assert_allclose(found[1], numpy_value("nuclear", chain(factors)), rtol=1e-13)


def test_a_stored_run_says_its_penalty():
    assert describe(objective(1))["penalty"] is None
    assert describe(objective(1, gf.NuclearNorm(0.3)))["penalty"] == {
        "kind": "NuclearNorm", "weight": 0.3
    }  # fmt: skip
    assert describe(objective(1, gf.SchattenRatio(0.5, 1, 0.3)))["penalty"] == {
        "kind": "SchattenRatio", "p": 0.5, "q": 1.0, "weight": 0.3
    }  # fmt: skip
