"""Weight decay: closed forms, balance that decays, optax's, the Schatten norm it induces."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.state import State
from tests.helpers import refuses, with_singular_values

RNG = np.random.default_rng(0)
PROBLEM = gf.MatrixCompletion((3, 3), [[0, 0], [1, 1], [2, 2], [0, 2]], [1.0, -0.5, 2.0, 0.3])
MODEL = gf.MatrixProduct.of((3, 3), 3)
START = MODEL.gaussian(jax.random.key(1), std=0.7)
DECAYED = gf.Objective(PROBLEM, MODEL, gf.WeightDecay(0.3))


def test_value_and_gradient_in_closed_form():
    penalty = gf.WeightDecay(0.3)
    np.testing.assert_allclose(
        penalty.value(START), 0.15 * sum(np.sum(np.asarray(f) ** 2) for f in START), rtol=1e-14
    )
    gradient = jax.grad(penalty.value)(START)
    for found, wanted in zip(penalty.gradient(START), gradient, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    np.testing.assert_array_equal(DECAYED.penalty_at(START), penalty.value(START))
    for found, wanted in zip(DECAYED.gradient(START), jax.grad(DECAYED.value)(START), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-13)
    assert DECAYED.smooth(START)


def invariants(state: State):
    return MODEL.invariants(state.factors)


def test_along_the_flow_the_imbalance_decays_like_exp_minus_two_weight_t():
    flow = gf.solve_flow(DECAYED, START, horizon=2.0, rtol=1e-11, observe={"imbalance": invariants})
    for k, start in enumerate(MODEL.invariants(START), 1):
        left = np.exp(-0.6 * flow.times)[:, None, None] * np.asarray(start)
        np.testing.assert_allclose(flow[f"imbalance_{k}"], left, atol=1e-8)
    assert "invariant_drift" not in flow.stats
    plain = gf.solve_flow(gf.Objective(PROBLEM, MODEL), START, horizon=2.0)
    assert plain.stats["invariant_drift"] < 1e-6


def test_descent_is_that_of_optax_with_decayed_weights():
    options = {"steps": 50, "observe": ["loss", "product"]}
    ours = gf.run_descent(DECAYED, START, optax.sgd(0.02), **options)
    rule = optax.chain(optax.add_decayed_weights(0.3), optax.sgd(0.02))
    theirs = gf.run_descent(gf.Objective(PROBLEM, MODEL), START, rule, **options)
    for name in ("loss", "product"):
        # One sum in another order an iteration.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_over_all_factors_it_is_a_schatten_norm_attained_by_balanced_ones(depth):
    w = with_singular_values(RNG, (3, 3), [2.0, 1.0, 0.4])
    model, penalty = gf.MatrixProduct.of((3, 3), depth), gf.WeightDecay(0.3)
    least = 0.15 * depth * np.sum(np.array([2.0, 1.0, 0.4]) ** (2 / depth))
    factors = model.balanced(w)
    np.testing.assert_allclose(penalty.value(factors), least, rtol=1e-12)
    if depth > 1:
        moved = (2 * factors[0], factors[1] / 2, *factors[2:])
        assert penalty.value(moved) > 1.1 * least


def test_tensors_and_adams_model_take_it_too():
    tensor = gf.TensorCompletion((2, 2, 2), [[0, 0, 0], [1, 1, 1]], [1.0, -1.0])
    model = gf.CPTensor((2, 2, 2), 2)
    objective = gf.Objective(tensor, model, gf.WeightDecay(0.1))
    start = model.gaussian(jax.random.key(0), std=0.5)
    for found, wanted in zip(
        objective.gradient(start), jax.grad(objective.value)(start), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-13)
    adam = gf.AdamFlow(smoothing=1e9)  # so large that it is gradient flow, slowed
    velocity = adam.prepared(objective, start).velocity(objective, start)
    for found, wanted in zip(velocity, objective.gradient(start), strict=True):
        np.testing.assert_allclose(1e9 * found, -wanted, rtol=1e-9)


REFUSED = {
    "zero": (lambda: gf.WeightDecay(0.0), "0.0", "above 0"),
    "text": (lambda: gf.WeightDecay("much"), "'much'", "above 0"),
    "product coordinates": (
        lambda: gf.solve_flow(DECAYED, START, horizon=1.0, coordinates="product"),
        "WeightDecay", "coordinates='factors'"),
    "closed form": (
        lambda: gf.exact.aligned_flow(DECAYED, START, [1.0]), "WeightDecay", "solve_flow"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


def test_precision_follows_astype():
    half = gf.astype(DECAYED, jnp.float32)
    loss, gradient = half.loss_and_gradient(gf.astype(START, jnp.float32))
    assert loss.dtype == gradient[0].dtype == jnp.float32
