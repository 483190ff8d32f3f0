"""Descent against NumPy loops and the flow; misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.trajectory import Outcome
from tests.gradflow.descent.problems import (
    OBJECTIVE,
    OBSERVE,
    START,
    adam,
    numpy_gradients,
    numpy_loss,
    numpy_run,
    sgd,
)
from tests.helpers import chain


def clipped(rate, at):
    def rule(factors, gradients, state, step):
        return [
            f - rate * np.clip(g, -at, at) for f, g in zip(factors, gradients, strict=True)
        ], None

    return rule


RUNS = {
    "sgd": (optax.sgd, 0.05, sgd(0.05)),
    "sgd, made": (optax.sgd(0.05), None, sgd(0.05)),
    "sgd with momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 0.01, sgd(0.01, 0.9)),
    "adam": (optax.adam, 0.01, adam(0.01)),
    "chain, made": (optax.chain(optax.clip(0.05), optax.sgd(0.1)), None, clipped(0.1, 0.05)),
}


@pytest.mark.parametrize("name", RUNS)
def test_two_hundred_iterations_agree_with_a_loop_in_numpy(name):
    optimizer, rate, rule = RUNS[name]
    record = np.arange(0, 200, 7)
    run = gf.run_descent(
        OBJECTIVE,
        START,
        optimizer,
        learning_rate=rate,
        max_steps=200,
        record=record,
        observe=OBSERVE,
    )
    wanted = numpy_run(rule, 200)
    np.testing.assert_array_equal(run.times, [*record, 200])
    for k, (t, w) in enumerate(zip(run.times, run["product"], strict=True)):
        # 200 iterations of round-off, on a path that contracts.
        np.testing.assert_allclose(w, chain(wanted[t]), rtol=0, atol=1e-12 * np.abs(w).max())
        np.testing.assert_allclose(run["loss"][k], numpy_loss(wanted[t]), rtol=1e-11)
    for k, factor in enumerate(wanted[-1], 1):
        np.testing.assert_allclose(run.final[f"W_{k}"], factor, atol=1e-12 * np.abs(factor).max())
        np.testing.assert_array_equal(run.initial[f"W_{k}"], START[k - 1])
    assert run.outcome is Outcome.OUT_OF_STEPS
    assert run.stats["steps"] == 200


def test_depth_one_is_plain_regression():
    """Gradient descent on a quadratic: the error is multiplied by 1 - 2 rate X^T X each time."""
    x = np.random.default_rng(0).normal(size=(5, 2)) / 3
    best = np.array([[1.0], [-2.0]])
    objective = gf.Objective(gf.LeastSquares(x, x @ best, loss="sum"), gf.MatrixProduct((1, 2)))
    run = gf.run_descent(
        objective,
        (np.zeros((2, 1)),),
        optax.sgd,
        learning_rate=0.1,
        max_steps=50,
        observe=["product"],
    )
    power = np.linalg.matrix_power(np.eye(2) - 0.2 * x.T @ x, 50)
    np.testing.assert_allclose(run.final["W_1"], best - power @ best, atol=1e-13)


def test_a_tensor_descends():
    problem = synthetic.tensor_completion(jax.random.key(2), (3, 2, 2), 1, 9)
    objective = gf.Objective(problem, gf.CPTensor((3, 2, 2), 2))
    start = tuple(
        0.5 * jax.random.normal(jax.random.key(k), (n, 2)) for k, n in enumerate((3, 2, 2))
    )
    run = gf.run_descent(
        objective,
        start,
        optax.sgd,
        learning_rate=0.1,
        max_steps=20,
        record=range(20),
        observe=["factors"],
    )
    before = tuple(run[f"factors_{n}"][:-1] for n in (1, 2, 3))
    gradients = jax.vmap(jax.grad(objective.loss))(before)
    for n, (factor, gradient) in enumerate(zip(before, gradients, strict=True), 1):
        np.testing.assert_allclose(run[f"factors_{n}"][1:], factor - 0.1 * gradient, atol=1e-14)
    assert np.all(np.diff(run["loss"]) < 0)


def test_gradient_descent_tends_to_the_flow_at_first_order():
    end = 2.0
    flow = gf.solve_flow(
        OBJECTIVE, START, record=[end], horizon=end, observe=["product"], rtol=1e-11
    )
    rates = end / np.array([100, 200, 400, 800])
    errors = []
    for rate in rates:
        run = gf.run_descent(
            OBJECTIVE, START, optax.sgd, learning_rate=rate, max_steps=round(end / rate),
                record=[1],
            observe=OBSERVE,
        )  # fmt: skip
        errors.append(np.linalg.norm(run["product"][-1] - flow["product"][-1]))
    slopes = np.diff(np.log(errors)) / np.diff(np.log(rates))
    assert np.all(np.abs(slopes - 1) < 0.1)


@pytest.mark.parametrize("optimizer", [optax.lbfgs(), optax.polyak_sgd()], ids=["lbfgs", "polyak"])
def test_optimizers_that_ask_for_the_loss_get_it(optimizer):
    run = gf.run_descent(
        OBJECTIVE, START, optimizer, max_steps=300, stop_loss=1e-3, observe=OBSERVE
    )
    assert run.outcome is Outcome.REACHED_LOSS


def test_the_polyak_rule_uses_the_current_loss():
    """Its first rate is loss / |gradient|^2."""
    run = gf.run_descent(
        OBJECTIVE, START, optax.polyak_sgd(max_learning_rate=100.0), max_steps=1, observe=OBSERVE
    )
    factors = [np.asarray(f) for f in START]
    gradients = numpy_gradients(factors)
    rate = numpy_loss(factors) / sum(np.sum(g**2) for g in gradients)
    np.testing.assert_allclose(run.final["W_2"], factors[1] - rate * gradients[1], rtol=1e-12)


def refused(start=START, optimizer=optax.sgd, **asked):
    asked = {"max_steps": 10, "learning_rate": 0.1} | asked
    return lambda: gf.run_descent(OBJECTIVE, start, optimizer, **asked)


REFUSED = {
    "two precisions": (
        refused(gf.astype(START, jnp.float32)), "start is float32", "gradflow.astype"),
    "missing factor": (refused(START[:2]), "((3, 3), (3, 3))", "factors[0] is W_1"),
    "not finite": (
        refused((*START[:2], jnp.full((4, 3), jnp.nan))), "start[2][0, 0] is nan", "replace"),
    "text": (refused(("a", "b", "c")), "'a'", "convert"),
    "no steps": (refused(max_steps=0), "max_steps", "at least 1, but it is 0"),
    "half a step": (refused(max_steps=2.5), "2.5", "whole number"),
    "steps as text": (refused(max_steps="ten"), "'ten'", "whole number"),
    "stop_loss": (refused(stop_loss=-1.0), "stop_loss", "above 0, but it is -1.0"),
    "rate": (refused(learning_rate=0.0), "learning_rate", "above 0, but it is 0.0"),
    "rate not finite": (refused(learning_rate=np.nan), "learning_rate", "but it is nan"),
    "rate as text": (refused(learning_rate="fast"), "learning_rate", "'fast'"),
    "no rate": (refused(learning_rate=None), "Give learning_rate", "function of one"),
    "rate twice": (refused(optimizer=optax.sgd(0.1)), "already has", "leave learning_rate away"),
    "no rule": (refused(optimizer=lambda rate: rate), "makes 0.1 of 0.1", "as optax.sgd does"),
    "no optimizer": (refused(optimizer="sgd"), "'sgd'", "optax transformation"),
    "record falling": (refused(record=[3, 2]), "[3, 2]", "rise from 0"),
    "record negative": (refused(record=[-1, 2]), "[-1, 2]", "rise from 0"),
    "record of fractions": (refused(record=[0.5]), "[0.5]", "whole numbers"),
    "no record": (refused(record=[]), "[]", "whole numbers"),
    "unknown observable": (refused(observe=["rank"]), "'rank'", "known are"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refusal:
        call()
    assert value in str(refusal.value)
    assert remedy in str(refusal.value)


@pytest.mark.parametrize("opaque", [False, True])
def test_sharpness_aware_steps_are_those_of_numpy(opaque):
    """They take other things beside the gradient than optax's line searches do."""
    rule = optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05), sync_period=2, opaque_mode=opaque)
    run = gf.run_descent(OBJECTIVE, START, rule, max_steps=10 if opaque else 20)
    pure = gf.descent.descend(OBJECTIVE, START, rule, 10 if opaque else 20)
    factors = [np.asarray(f) for f in START]
    for _ in range(10):
        up = [f + 0.05 * g for f, g in zip(factors, numpy_gradients(factors), strict=True)]
        factors = [f - 0.1 * g for f, g in zip(factors, numpy_gradients(up), strict=True)]
    for k, wanted in enumerate(factors, start=1):
        np.testing.assert_allclose(run.final[f"W_{k}"], wanted, rtol=1e-12)
        np.testing.assert_allclose(pure.factors[k - 1], wanted, rtol=1e-12)
