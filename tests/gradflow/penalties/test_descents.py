"""Descents with a penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from tests.gradflow.penalties.examples import PENALTIES, PROBLEM, numpy_value, objective, start
from tests.helpers import chain, with_singular_values

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["nuclear", "ratio", "Schatten 1/2 : 2/3"])
def test_penalised_descent_agrees_with_a_loop_over_differentiation(name):
    model = objective(2, PENALTIES[name])
    factors = start(model)
    run = gf.run_descent(
        model, factors, optax.sgd, learning_rate=0.01, steps=50, observe=["product", "value"]
    )
    gradient = jax.jit(jax.grad(model.value))
    for _ in range(50):
        factors = tuple(f - 0.01 * g for f, g in zip(factors, gradient(factors), strict=True))
    w = chain(factors)
    np.testing.assert_allclose(run["product"][-1], w, atol=1e-12)
    np.testing.assert_allclose(run["loss"][-1], PROBLEM.loss(w), rtol=1e-11)
    np.testing.assert_allclose(run["value"][-1], run["loss"][-1] + numpy_value(name, w), rtol=1e-11)
    assert run.config["objective"]["penalty"]["weight"] == 0.3


def test_an_optimiser_that_asks_gets_the_whole_value():
    """The step goes by `value` and `value_fn`, in different proportions."""

    def update(gradient, state, parameters, *, value, value_fn, grad, **_):
        rate = 1e-3 * (value + 3 * value_fn(parameters))
        return jax.tree.map(lambda g: -rate * g, grad), state

    asking = optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)
    model = objective(2, gf.NuclearNorm(0.3))
    factors = start(model)
    run = gf.run_descent(model, factors, asking, steps=5, observe=["product"])
    for _ in range(5):
        value, gradient = jax.value_and_grad(model.value)(factors)
        factors = tuple(f - 4e-3 * value * g for f, g in zip(factors, gradient, strict=True))
    np.testing.assert_allclose(run["product"][-1], chain(factors), atol=1e-12)


def test_the_stop_is_decided_by_the_loss_alone():
    model = objective(1, gf.NuclearNorm(0.01))
    run = gf.run_descent(
        model, start(model), optax.sgd, learning_rate=0.1, steps=1000, stop_loss=1e-2,
        observe=["loss", "value"],
    )  # fmt: skip
    assert run.outcome is gf.Outcome.REACHED_LOSS
    assert run["loss"][-1] <= 1e-2 < run["value"][-1]


def test_the_nuclear_norm_shrinks_singular_values_by_half_its_weight():
    """Where ||W - B||_F^2 + weight ||W||_* is least, W has max(s - weight / 2, 0) for each s."""
    b = with_singular_values(RNG, (3, 3), [2.0, 1.0, 0.1])
    where = [[i, j] for i in range(3) for j in range(3)]
    problem = gf.MatrixCompletion((3, 3), where, b.ravel(), loss="sum")
    model = gf.Objective(problem, gf.MatrixProduct((3, 3)), gf.NuclearNorm(0.5))
    rate = 1e-2
    run = gf.run_descent(
        model, (jnp.asarray(b),), optax.sgd, learning_rate=rate, steps=2000,
        observe=["singular_values"],
    )  # fmt: skip
    # The third would fall below zero; it hops about zero by single steps.
    np.testing.assert_allclose(run["singular_values"][-1][:2], [1.75, 0.75], atol=1e-10)
    assert run["singular_values"][-1][2] < rate
