"""Charts: one flow in four coordinates, wherever each of them is defined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import factorizations, synthetic
from gradflow.coordinates.base import growth_of_errors
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import refusal_of_product
from gradflow.coordinates.singular import SingularCoordinates
from tests.helpers import all_coordinates, assert_same_flow, moved_by_factors, with_singular_values

RNG = np.random.default_rng(0)


def sensing(shape, seed=0, loss="half_sum"):
    rng = np.random.default_rng(seed)
    return gf.MatrixSensing(rng.normal(size=(4, *shape)), rng.normal(size=4), loss=loss)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (3, 1)])
@pytest.mark.parametrize("name", ["factors", "product", "singular"])
def test_charts_agree_at_a_balanced_state(name, shape, depth):
    problem = sensing(shape)
    w = with_singular_values(RNG, shape, [2.0, 1.0, 0.4][: min(shape)])
    chart, y = all_coordinates(problem, w, depth)[name]
    assert_same_flow(problem, chart, y, w, moved_by_factors(problem, w, depth))


@pytest.mark.parametrize("name", ["factors", "product"])
def test_depth_one_moves_against_the_gradient(name):
    problem = sensing((3, 2))
    w = RNG.normal(size=(3, 2))
    chart, y = all_coordinates(problem, w, 1)[name]
    assert_same_flow(problem, chart, y, w, -np.asarray(problem.gradient(w)))


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("name", ["factors", "product"])
@pytest.mark.parametrize("s", [[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
def test_factors_and_product_agree_at_repeated_and_zero_singular_values(name, s, depth):
    problem = sensing((3, 3))
    w = with_singular_values(RNG, (3, 3), s)
    chart, y = all_coordinates(problem, w, depth)[name]
    product, found = jax.jvp(chart.product, (y,), (chart.velocity(y),))
    np.testing.assert_allclose(product, w, atol=1e-14)
    # Zeros are found as 1e-17, and enter to the power 2/depth.
    np.testing.assert_allclose(
        found, moved_by_factors(problem, w, depth), atol=1e-13 + 100 * 1e-16 ** (2 / depth)
    )


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", ["factors", "product", "singular"])
def test_logarithm_and_sign_of_the_determinant(name, sign, depth):
    w = RNG.normal(size=(3, 3))
    w *= np.sign(np.linalg.det(w)) * sign  # odd size: the sign goes through
    chart, y = all_coordinates(sensing((3, 3)), w, depth)[name]
    found_sign, found_log = chart.slogdet(y)
    assert found_sign == sign
    np.testing.assert_allclose(found_log, np.linalg.slogdet(w)[1], atol=1e-12)


def test_the_factors_know_a_determinant_that_the_product_has_lost():
    """Each factor has determinant 1e-12; the product's entries agree in all but 1e-24."""
    objective = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    factor = jnp.array([[1.0, 0.0], [0.0, 1e-12]])
    turn = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    sign, log = FactorCoordinates(objective).slogdet((factor @ turn, turn @ factor))
    assert sign == 1
    np.testing.assert_allclose(log, 2 * np.log(1e-12), rtol=1e-4)  # 1e-12 is known to 1e-4


def test_determinant_of_factors_that_are_not_square_is_that_of_the_product():
    problem = sensing((2, 2))
    objective = gf.Objective(problem, gf.MatrixProduct((2, 3, 2)))
    factors = (jnp.asarray(RNG.normal(size=(3, 2))), jnp.asarray(RNG.normal(size=(2, 3))))
    sign, log = FactorCoordinates(objective).slogdet(factors)
    wanted = np.linalg.slogdet(objective.product(factors))
    np.testing.assert_allclose([sign, log], wanted, rtol=1e-13)


def test_only_the_factor_chart_knows_the_factors():
    charts = all_coordinates(sensing((2, 2)), np.diag([2.0, 1.0]), 2)
    chart, y = charts["factors"]
    assert chart.factors(y) is y
    assert charts["product"][0].factors(charts["product"][1]) is None
    assert charts["singular"][0].factors(charts["singular"][1]) is None


def test_factor_chart_takes_a_cp_tensor():
    problem = synthetic.tensor_completion(jax.random.key(0), (2, 3, 2), 1, 8)
    objective = gf.Objective(problem, gf.CPTensor((2, 3, 2), 2))
    factors = tuple(jnp.asarray(RNG.normal(size=s)) for s in objective.factorization.factor_shapes)
    chart = FactorCoordinates(objective)
    for found, wanted in zip(
        chart.velocity(factors), jax.grad(objective.loss)(factors), strict=True
    ):
        np.testing.assert_allclose(found, -wanted, atol=1e-13)
    falling = jax.jvp(chart.loss, (factors,), (chart.velocity(factors),))[1]
    np.testing.assert_allclose(chart.squared_gradient_norm(factors), -falling, rtol=1e-12)


def test_singular_chart_is_not_finite_where_values_coincide():
    """It must not go on silently: the solver rejects infinite steps."""
    problem = sensing((2, 2))
    y = (jnp.zeros(2), jnp.eye(2), jnp.eye(2))
    assert not all(jnp.all(jnp.isfinite(v)) for v in SingularCoordinates(problem, 2).velocity(y))


@pytest.mark.parametrize(("smallest", "held"), [(1e-13, True), (1e-17, False), (0.0, False)])
def test_singular_coordinates_hold_no_value_that_is_round_off(smallest, held):
    """The flow from rank one keeps the rank; a value of 1e-17 beside 0.5 may be that or not."""
    w = with_singular_values(RNG, (3, 2), [0.5, smallest])
    model = gf.MatrixProduct.of(w.shape, 3)
    objective = gf.Objective(sensing(w.shape), model)
    reason = SingularCoordinates.refusal(objective, gf.GradientFlow(), model.balanced(w))
    assert reason is None if held else "above round-off" in reason


def test_the_product_tells_the_flow_of_balanced_factors():
    model = gf.MatrixProduct((2, 3, 2))
    objective, start = gf.Objective(sensing((2, 2)), model), model.balanced(np.eye(2))
    assert refusal_of_product(objective, gf.GradientFlow(), start) is None
    assert "momentum" in refusal_of_product(objective, gf.MomentumFlow(1.0), start)


REFUSED = {
    "unbalanced": (
        gf.MatrixProduct((2, 2, 2)), lambda: (jnp.eye(2), 2 * jnp.eye(2)),
        "relative unbalancedness 0.75", "coordinates='factors', or start from the factorisation"),
    "narrow": (
        gf.MatrixProduct((2, 1, 2)), lambda: factorizations.balanced_factors(np.ones((2, 2)), (2,
            1, 2)),
        "Hidden size 1", "coordinates='factors'"),
    "tensor": (
        gf.CPTensor((2, 2), 2), lambda: (jnp.eye(2), jnp.eye(2)),
        "CPTensor", "coordinates='factors'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_product_does_not_tell_is_refused_by_value_and_remedy(case):
    model, factors, value, remedy = REFUSED[case]
    objective = gf.Objective(sensing((2, 2)), model)
    reason = refusal_of_product(objective, gf.GradientFlow(), factors())
    assert value in reason
    assert remedy in reason
    with pytest.raises(ValueError, match="cannot hold this start"):
        gf.solve_flow(objective, factors(), coordinates="product", horizon=1.0)


@pytest.mark.parametrize(
    ("goal", "size", "expected"), [(0.0, 0.0, 1.0), (8.0, 1.0, 2.0), (1.0, 8.0, 1.0)]
)
def test_errors_grow_with_the_rise_still_to_come(goal, size, expected):
    growth = growth_of_errors(jnp.asarray(goal), jnp.full((1, 1), size), depth=3)
    np.testing.assert_allclose(growth, expected, rtol=1e-15)
