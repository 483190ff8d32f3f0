"""Descent: against NumPy loops and the flow; stops, records, precisions, compilation."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.helpers import chain

PROBLEM = gf.matrix_completion(jax.random.key(0), (4, 3), 2, 8, norm=2.0)
MODEL = gf.MatrixProduct((3, 3, 3, 4))
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
START = tuple(0.7 * f for f in gf.gaussian_factors(jax.random.key(1), MODEL.sizes, std=1.0))
MASK, TARGET = np.asarray(PROBLEM.mask), np.asarray(PROBLEM.target)
TRACED = []


def traced_product(state):
    """The product; Python comes by only where a program is traced."""
    TRACED.append(None)
    return state.product


OBSERVE = {"product": traced_product}


# Against loops in NumPy


def numpy_loss(factors):
    return 0.5 * np.sum((MASK * (chain(factors) - TARGET)) ** 2)


def numpy_gradients(factors):
    a, b, c = factors
    g = MASK * (c @ b @ a - TARGET)
    return [(c @ b).T @ g, c.T @ g @ a.T, g @ (b @ a).T]


def sgd(rate, momentum=0.0):
    def rule(factors, gradients, state, step):
        trace = [g + momentum * v for g, v in zip(gradients, state or [0.0] * 3, strict=True)]
        return [f - rate * v for f, v in zip(factors, trace, strict=True)], trace

    return rule


def adam(rate, b1=0.9, b2=0.999, eps=1e-8):
    def rule(factors, gradients, state, step):
        m, v = state or ([0.0] * 3, [0.0] * 3)
        m = [b1 * old + (1 - b1) * g for old, g in zip(m, gradients, strict=True)]
        v = [b2 * old + (1 - b2) * g**2 for old, g in zip(v, gradients, strict=True)]
        moved = []
        for f, first, second in zip(factors, m, v, strict=True):
            first, second = first / (1 - b1**step), second / (1 - b2**step)
            moved.append(f - rate * first / (np.sqrt(second) + eps))
        return moved, (m, v)

    return rule


def clipped(rate, at):
    def rule(factors, gradients, state, step):
        return [
            f - rate * np.clip(g, -at, at) for f, g in zip(factors, gradients, strict=True)
        ], None

    return rule


def numpy_run(rule, steps):
    """Factors at iterations 0, ..., steps."""
    factors, state = [np.asarray(f) for f in START], None
    seen = [factors]
    for step in range(1, steps + 1):
        factors, state = rule(factors, numpy_gradients(factors), state, step)
        seen.append(factors)
    return seen


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
        OBJECTIVE, START, optimizer, learning_rate=rate, steps=200, record=record, observe=OBSERVE
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
    assert run.stats["iterations"] == 200


def test_depth_one_is_plain_regression():
    """Gradient descent on a quadratic: the error is multiplied by 1 - 2 rate X^T X each time."""
    x = np.random.default_rng(0).normal(size=(5, 2)) / 3
    best = np.array([[1.0], [-2.0]])
    objective = gf.Objective(gf.LeastSquares(x, x @ best, loss="sum"), gf.MatrixProduct((1, 2)))
    run = gf.run_descent(
        objective, (np.zeros((2, 1)),), optax.sgd, learning_rate=0.1, steps=50, observe=["product"]
    )
    power = np.linalg.matrix_power(np.eye(2) - 0.2 * x.T @ x, 50)
    np.testing.assert_allclose(run.final["W_1"], best - power @ best, atol=1e-13)


def test_a_tensor_descends():
    problem = gf.tensor_completion(jax.random.key(2), (3, 2, 2), 1, 9)
    objective = gf.Objective(problem, gf.CPTensor((3, 2, 2), 2))
    start = tuple(
        0.5 * jax.random.normal(jax.random.key(k), (n, 2)) for k, n in enumerate((3, 2, 2))
    )
    run = gf.run_descent(
        objective,
        start,
        optax.sgd,
        learning_rate=0.1,
        steps=20,
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
        OBJECTIVE, START, times=[end], horizon=end, observe=["product"], rtol=1e-11
    )
    rates = end / np.array([100, 200, 400, 800])
    errors = []
    for rate in rates:
        run = gf.run_descent(
            OBJECTIVE, START, optax.sgd, learning_rate=rate, steps=round(end / rate), record=[1],
            observe=OBSERVE,
        )  # fmt: skip
        errors.append(np.linalg.norm(run["product"][-1] - flow["product"][-1]))
    slopes = np.diff(np.log(errors)) / np.diff(np.log(rates))
    assert np.all(np.abs(slopes - 1) < 0.1)


@pytest.mark.parametrize("optimizer", [optax.lbfgs(), optax.polyak_sgd()], ids=["lbfgs", "polyak"])
def test_optimizers_that_ask_for_the_loss_get_it(optimizer):
    run = gf.run_descent(OBJECTIVE, START, optimizer, steps=300, stop_loss=1e-3, observe=OBSERVE)
    assert run.outcome is Outcome.REACHED_LOSS


def test_the_polyak_rule_uses_the_current_loss():
    """Its first rate is loss / |gradient|^2."""
    run = gf.run_descent(
        OBJECTIVE, START, optax.polyak_sgd(max_learning_rate=100.0), steps=1, observe=OBSERVE
    )
    factors = [np.asarray(f) for f in START]
    gradients = numpy_gradients(factors)
    rate = numpy_loss(factors) / sum(np.sum(g**2) for g in gradients)
    np.testing.assert_allclose(run.final["W_2"], factors[1] - rate * gradients[1], rtol=1e-12)


# Stops


@pytest.mark.parametrize("target", [0.3, 0.1, 0.031])
def test_it_stops_at_the_very_iteration(target):
    losses = np.array([numpy_loss(f) for f in numpy_run(sgd(0.05), 400)])
    first = int(np.argmax(losses <= target))
    assert 0 < first < 400
    # The wanted iteration is between records.
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=400, stop_loss=target,
        record=[1, 399], observe=OBSERVE,
    )  # fmt: skip
    assert run.outcome is Outcome.REACHED_LOSS
    assert run.times.tolist() == [0, 1, first]
    assert run.stats["iterations"] == first
    np.testing.assert_allclose(run["loss"][-1], losses[first], rtol=1e-12)
    np.testing.assert_allclose(chain([run.final[f"W_{k}"] for k in (1, 2, 3)]), run["product"][-1])


def test_it_stops_at_once_where_the_start_is_below_the_loss():
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=400, stop_loss=1e3, observe=OBSERVE
    )
    assert run.outcome is Outcome.REACHED_LOSS
    assert run.times.tolist() == [0]
    np.testing.assert_array_equal(run.final["W_1"], START[0])


def test_no_nan_is_made_on_the_way():
    """Not even in place of records that are not due: people look for their own with debug_nans."""
    with jax.debug_nans(True):
        run = gf.run_descent(
            OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=400, stop_loss=1e-2
        )
    assert run.outcome is Outcome.REACHED_LOSS
    assert all(np.all(np.isfinite(values)) for values in run.observables.values())


def test_divergence_is_detected_at_its_iteration():
    with np.errstate(over="ignore", invalid="ignore"):
        losses = np.array([numpy_loss(f) for f in numpy_run(sgd(5.0), 30)])
    first = int(np.argmax(~(losses < np.inf)))
    assert 1 < first < 30
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=5.0, steps=400, record=[399], observe=OBSERVE
    )
    assert run.outcome is Outcome.DIVERGED
    assert run.times.tolist() == [0, first]
    assert not run["loss"][-1] < math.inf


def test_one_iteration():
    run = gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=1, observe=OBSERVE)
    assert run.times.tolist() == [0, 1]


# Records


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ([0, 3, 5], [0, 3, 5, 100]),
        ([3, 100], [0, 3, 100]),
        ([3, 100, 5000], [0, 3, 100]),
        (range(100), list(range(101))),  # several chunks
        ([100], [0, 100]),
    ],
)
def test_what_is_asked_is_recorded_with_both_ends(record, wanted):
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=100, record=record, observe=OBSERVE
    )
    assert run.times.tolist() == wanted
    assert run["product"].shape == (len(wanted), 4, 3)


def test_records_do_not_change_the_run():
    runs = [
        gf.run_descent(
            OBJECTIVE,
            START,
            optax.sgd,
            learning_rate=0.05,
            steps=2000,
            record=record,
            observe=OBSERVE,
        )
        for record in (None, [1999], range(0, 2000, 3))
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.final["W_3"], runs[0].final["W_3"])


def test_default_records_are_about_twenty_a_decade():
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=2000, observe=OBSERVE
    )
    assert run.times[:9].tolist() == list(range(9))
    assert run.times[-1] == 2000
    assert 18 <= np.sum((run.times >= 100) & (run.times < 1000)) <= 22


def test_default_observables_are_those_of_the_problem():
    run = gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=5)
    wanted = ["loss", "gradient_norm", "singular_values", "effective_rank", "test_error"]
    assert list(run.observables) == [*wanted, "unobserved_entries"]
    assert run.config["observe"] == list(run.observables)


# Precision, compilation, configuration


def test_float32_stays_float32():
    objective, start = gf.astype((OBJECTIVE, START), jnp.float32)
    run = gf.run_descent(objective, start, optax.adam, learning_rate=0.01, steps=200)
    assert all(array.dtype == np.float32 for array in run.observables.values())
    assert all(array.dtype == np.float32 for array in run.final.values())
    assert run.config["dtype"] == "float32"
    wanted = chain(numpy_run(adam(0.01), 200)[-1])
    found = chain([run.final[f"W_{k}"] for k in (1, 2, 3)])
    error = np.abs(found - wanted).max()
    assert 1e-9 < error < 1e-4  # 200 iterations of round-off of 1e-7, and not of 1e-16


def test_other_rates_data_steps_and_records_do_not_compile_again():
    gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=20, observe=OBSERVE)
    count = len(TRACED)
    assert count > 0
    other = gf.Objective(
        gf.MatrixCompletion(
            PROBLEM.shape, PROBLEM.indices, 2 * PROBLEM.values, truth=PROBLEM.truth
        ),
        MODEL,
    )
    for objective, asked in [
        (OBJECTIVE, {"learning_rate": 0.01, "steps": 20}),
        (OBJECTIVE, {"learning_rate": 0.05, "steps": 1000, "record": [1, 7]}),
        (OBJECTIVE, {"learning_rate": 0.05, "steps": 100, "stop_loss": 0.1}),
        (other, {"learning_rate": 0.05, "steps": 20}),
    ]:
        gf.run_descent(objective, START, optax.sgd, observe=OBSERVE, **asked)
    assert len(TRACED) == count
    gf.run_descent(OBJECTIVE, START, optax.sgd(0.017), steps=20, observe=OBSERVE)
    assert len(TRACED) > count  # another optimizer is another program: the count does count


def test_the_configuration_says_what_was_asked():
    config = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=20, stop_loss=1e-3, observe=OBSERVE
    ).config
    wanted = {"kind": "descent", "learning_rate": 0.05, "steps": 20, "stop_loss": 1e-3,
              "dtype": "float64", "optimizer": "sgd", "observe": ["loss", "product"]}  # fmt: skip
    assert {key: config[key] for key in wanted} == wanted
    assert config["objective"]["observations"] == 8
    assert json.loads(json.dumps(dict(config))) == dict(config)


def test_progress_is_shown(capsys):
    gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, steps=20, observe=OBSERVE, progress=True
    )
    shown = capsys.readouterr().out
    assert "20/20" in shown
    assert "loss =" in shown


# Refusals


def refused(start=START, optimizer=optax.sgd, **asked):
    asked = {"steps": 10, "learning_rate": 0.1} | asked
    return lambda: gf.run_descent(OBJECTIVE, start, optimizer, **asked)


REFUSED = {
    "two precisions": (
        refused(gf.astype(START, jnp.float32)), "start is float32", "gradflow.astype"),
    "missing factor": (refused(START[:2]), "((3, 3), (3, 3))", "factors[0] is W_1"),
    "not finite": (
        refused((*START[:2], jnp.full((4, 3), jnp.nan))), "start[2][0, 0] is nan", "replace"),
    "text": (refused(("a", "b", "c")), "'a'", "convert"),
    "no steps": (refused(steps=0), "steps", "at least 1, but it is 0"),
    "half a step": (refused(steps=2.5), "2.5", "whole number"),
    "steps as text": (refused(steps="ten"), "'ten'", "whole number"),
    "stop_loss": (refused(stop_loss=-1.0), "stop_loss", "above 0, but it is -1.0"),
    "rate": (refused(learning_rate=0.0), "learning_rate", "above 0, but it is 0.0"),
    "rate not finite": (refused(learning_rate=np.nan), "learning_rate", "but it is nan"),
    "rate as text": (refused(learning_rate="fast"), "learning_rate", "'fast'"),
    "no rate": (refused(learning_rate=None), "Give learning_rate", "function of one"),
    "rate twice": (refused(optimizer=optax.sgd(0.1)), "already has", "leave learning_rate away"),
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
