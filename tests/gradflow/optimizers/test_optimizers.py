"""Optimisers: against PyTorch's trajectories, closed forms, NumPy; precisions, batches, loops."""

import math
import sys
import types
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import optimizers
from tests.golden.make_optimizers import CASES, FILE, SIZES, STEPS, TORCH, main, problems

GOLDEN = dict(np.load(FILE))
INDICES = np.argwhere(GOLDEN["deep_mask"])
VALUES = GOLDEN["deep_target"][tuple(INDICES.T)]
OBJECTIVE = gf.Objective(gf.MatrixCompletion((6, 5), INDICES, VALUES), gf.MatrixProduct(SIZES))
START = tuple(jnp.asarray(GOLDEN[f"deep_start_{k}"]) for k in (1, 2, 3))
BOTH = (*START, jnp.asarray(GOLDEN["weighted_start_1"]))  # the two problems side by side
OTHERWISE = ("group_rmsprop", "muon", "shampoo", "sign_descent")  # tested against other rules
NAMES = [name for name in optimizers.BY_NAME if name != "muon"]  # which is for matrices


def gradients(factors):
    """Of the deep problem in the first three, and of the weighted one in the fourth, if any."""
    a, b, c, *others = factors
    mask, target, weights, aim = (
        GOLDEN[name].astype(a.dtype)
        for name in ("deep_mask", "deep_target", "weighted_weights", "weighted_target")
    )
    g = mask * (c @ b @ a - target)
    return ((c @ b).T @ g, c.T @ g @ a.T, g @ (b @ a).T, *(weights * (w - aim) for w in others))


def flat(factors):
    return np.concatenate([np.ravel(f) for f in factors])


@eqx.filter_jit
def paths(makes, rates, start, steps=100):
    """Factors after each step, flattened, for each optimiser; one program, the rates traced."""
    rules = {label: make(rates[label]) for label, make in makes.items()}

    def step(carry, _):
        moved = {}
        for label, (factors, state) in carry.items():
            change, state = rules[label].update(gradients(factors), state, factors)
            moved[label] = jax.tree.map(jnp.add, factors, change), state
        seen = {
            label: jnp.concatenate([f.ravel() for f in factors])
            for label, (factors, _) in moved.items()
        }
        return moved, seen

    begun = {label: (start, rule.init(start)) for label, rule in rules.items()}
    return jax.lax.scan(step, begun, None, length=steps)[1]


def rates_of(labels, dtype=float):
    return {label: jnp.asarray(CASES[label].rate, dtype) for label in labels}


# Against PyTorch


@pytest.fixture(scope="module")
def all_paths():
    makes = {
        label: partial(optimizers.named(case.name), **case.options) for label, case in CASES.items()
    }
    return paths(makes, rates_of(CASES), BOTH)


def golden(label):
    return np.hstack([GOLDEN[f"deep/{label}"], GOLDEN[f"weighted/{label}"]])


@pytest.mark.parametrize("label", CASES)
def test_a_hundred_steps_are_those_of_pytorch(all_paths, label):
    # Entries are about 1, so this is round-off of 1e-16, grown in 100 steps: measured 5e-15 with
    # the defaults, 1e-13 at worst (Adadelta with rho = 1/2).
    found = all_paths[label][np.array(STEPS) - 1]
    np.testing.assert_allclose(found, golden(label), rtol=0, atol=1e-12)
    for problem, start in (("deep", START), ("weighted", BOTH[3:])):
        assert np.abs(GOLDEN[f"{problem}/{label}"][-1] - flat(start)).max() > 0.3


# What optax has where we have our own, or with its own defaults: the data must tell them apart.
OTHERS = {
    "amsgrad": optax.amsgrad,
    "adagrad": lambda rate: optax.adagrad(rate, initial_accumulator_value=0.0, eps=1e-10),
    "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.99),
    "adamw": optax.adamw,
    "nadam": optax.nadam,
    "radam": optax.radam,
}


def test_the_trajectories_tell_other_rules_apart():
    for name, seen in paths(OTHERS, rates_of(OTHERS), BOTH).items():
        distance = np.abs(seen[np.array(STEPS) - 1] - golden(name)).max()
        assert distance > 1e-3, name


def test_the_trajectories_are_those_of_the_script():
    assert str(GOLDEN["torch"]) == TORCH
    assert FILE.stat().st_size < 300_000
    for name, value in problems().items():
        np.testing.assert_array_equal(GOLDEN[name], value)
    assert {case.name for case in CASES.values()} == set(NAMES) - set(OTHERWISE)


def test_the_script_refuses_another_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.12.1+cpu"))
    with pytest.raises(SystemExit, match=r"2\.12\.1.*install torch==2\.13\.0"):
        main()


# Closed forms: steps under a constant gradient g, where means corrected for their start are g, g^2


def nadam_factor(t, b1=0.9, decay=4e-3):
    mu = [b1 * (1 - 0.5 * 0.96 ** (s * decay)) for s in range(1, t + 2)]
    first, both = math.prod(mu[:-1]), math.prod(mu)
    return (1 - mu[-2]) / (1 - first) + mu[-1] * (1 - b1**t) / (1 - both)


def radam_factor(t, b2=0.999):
    limit = 2 / (1 - b2) - 1
    rho = limit - 2 * t * b2**t / (1 - b2**t)
    if t <= 5:
        return None  # rho <= 5: no denominator
    return math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))


G = np.array([3.0, -0.5])
CONSTANT = {
    "gd": lambda t: G,
    "momentum": lambda t: G * (1 - 0.9**t) / 0.1,
    "adam": lambda t: np.sign(G),
    "amsgrad": lambda t: np.sign(G),
    "adagrad": lambda t: np.sign(G) / np.sqrt(t),
    "adamax": lambda t: np.sign(G),
    "rmsprop": lambda t: np.sign(G) / np.sqrt(1 - 0.99**t),
    "adamw": lambda t: np.sign(G) + 1e-2 * np.array([2.0, 1.0]),
    "nadam": lambda t: np.sign(G) * nadam_factor(t),
    "radam": lambda t: G if t <= 5 else np.sign(G) * radam_factor(t),
    "group_rmsprop": lambda t: G / np.linalg.norm(G),
}


@eqx.filter_jit
def steps_under(makes, gradient, place, steps):
    """The updates, one after the other, where neither gradient nor place changes."""
    rules = {name: make(0.25) for name, make in makes.items()}

    def step(states, _):
        found = {name: rule.update(gradient, states[name], place) for name, rule in rules.items()}
        return {name: pair[1] for name, pair in found.items()}, found

    return jax.lax.scan(step, {n: r.init(place) for n, r in rules.items()}, None, length=steps)[1]


def test_steps_under_a_constant_gradient():
    makes = {name: optimizers.BY_NAME[name] for name in CONSTANT}
    found = steps_under(makes, jnp.asarray(G), jnp.array([2.0, 1.0]), 8)
    for name, factor in CONSTANT.items():
        wanted = [-0.25 * factor(t) for t in range(1, 9)]
        # eps = 1e-8 over |g| = 0.5, and 1e-4 over ||g|| = 3 for the group; over sqrt(v) = 0.04,
        # without correction, for RAdam.
        tolerance = 1e-4 if name == "group_rmsprop" else 1e-6
        np.testing.assert_allclose(found[name][0], wanted, rtol=tolerance, err_msg=name)


def test_adadelta_begins_with_the_ratio_of_roots():
    rule = optimizers.adadelta(0.5)
    step, _ = rule.update(jnp.asarray(G), rule.init(jnp.asarray(G)))
    wanted = -0.5 * G * np.sqrt(1e-6 / (0.1 * G**2 + 1e-6))
    np.testing.assert_allclose(step, wanted, rtol=1e-13)


# One rate for all factors


GROUPS = {"arora": (0.99, 1e-4, 0.02), "razin": (0.99, 1e-6, 0.05), "none": (0.0, 0.3, 0.02)}


def test_the_group_agrees_with_a_loop_in_numpy():
    makes = {
        label: partial(optimizers.group_rmsprop, decay=decay, eps=eps)
        for label, (decay, eps, _) in GROUPS.items()
    }
    found = paths(makes, {label: jnp.asarray(case[2]) for label, case in GROUPS.items()}, START)
    for label, (decay, eps, rate) in GROUPS.items():
        factors, mean = [np.asarray(f) for f in START], 0.0
        for t in range(100):
            gradient = gradients(factors)
            mean = decay * mean + (1 - decay) * sum(np.sum(g**2) for g in gradient)
            speed = rate / (np.sqrt(mean / (1 - decay ** (t + 1))) + eps)
            factors = [f - speed * g for f, g in zip(factors, gradient, strict=True)]
            # 100 steps of round-off.
            np.testing.assert_allclose(found[label][t], flat(factors), rtol=0, atol=1e-12)


def test_the_group_moves_along_the_gradient_and_first_by_the_rate():
    gradient = gradients(START)
    rule = optimizers.group_rmsprop(0.01, eps=0.0)
    update = jax.jit(rule.update)
    step, state = update(gradient, rule.init(gradient))
    np.testing.assert_allclose(np.linalg.norm(flat(step)), 0.01, rtol=1e-14)
    # The second gradient is ten times larger: the means are of 1 and 100, weights 0.0099 and 0.01.
    step, _ = update(tuple(10 * g for g in gradient), state)
    wanted = 0.1 / np.sqrt((0.0099 + 0.01 * 100) / (1 - 0.99**2))
    down = -wanted * flat(gradient) / np.linalg.norm(flat(gradient))
    np.testing.assert_allclose(flat(step), down, rtol=1e-12)


# Edges


def test_without_a_gradient_nothing_moves_and_nothing_is_nan():
    makes = {name: optimizers.named(name) for name in NAMES} | {
        "no eps": partial(optimizers.group_rmsprop, eps=0.0)
    }
    zero = (jnp.zeros((2, 3)), jnp.zeros(2))
    for name, (steps, state) in steps_under(makes, zero, zero, 7).items():
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state)), name
        assert all(np.all(np.asarray(step) == 0) for step in steps), name


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamax", "nadam", "radam"])
def test_without_memory_steps_are_signs(name):
    rule = optimizers.BY_NAME[name](0.1, b1=0.0, b2=0.0)
    state = rule.init(jnp.zeros(2))
    for gradient in (4.0, -2.0):
        step, state = rule.update(jnp.array([gradient, 8.0]), state)
    wanted = [0.2, -0.8] if name == "radam" else [0.1, -0.1]  # RAdam: never enough gradients
    if name == "amsgrad":
        wanted = [0.05, -0.1]  # the largest square was 16
    np.testing.assert_allclose(step, wanted, rtol=1e-7)


def test_a_schedule_is_a_rate():
    rule = optimizers.gd(lambda count: 1.0 / (count + 1))
    state = rule.init(jnp.zeros(1))
    for t in (1, 2, 3):
        step, state = rule.update(jnp.ones(1), state)
        np.testing.assert_allclose(step, -1 / t, rtol=1e-15)


# Precision, batches, loops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_no_dtype_is_promoted(name, dtype):
    wide = np.float64(1e-3)  # NumPy's and traced float64 numbers would promote float32
    options = {"weight_decay": wide} if name == "adamw" else {}
    options |= {} if name in ("gd", "momentum", "sign_descent") else {"eps": wide}
    params = (jnp.ones((2, 3), dtype), jnp.ones(4, dtype))

    def both(rate):
        rule = optimizers.BY_NAME[name](rate, **options)
        state = rule.init(params)
        return state, *rule.update(params, state, params)

    for rate in (wide, jnp.asarray(1e-3)):
        call = partial(both, rate) if rate is wide else both
        begun, step, state = jax.eval_shape(call, *(() if rate is wide else (rate,)))
        assert state == begun
        assert [leaf.dtype for leaf in jax.tree.leaves(step)] == [dtype, dtype]
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(state)} <= {dtype, "int32"}


def test_float32_stays_near_float64():
    defaults = [name for name in NAMES if name in CASES]
    makes = {name: optimizers.BY_NAME[name] for name in defaults}
    start = gf.astype(START, jnp.float32)
    for name, seen in paths(makes, rates_of(defaults, jnp.float32), start).items():
        assert seen.dtype == jnp.float32
        error = np.abs(seen[np.array(STEPS) - 1] - GOLDEN[f"deep/{name}"]).max()
        assert 1e-8 < error < 1e-5, name  # round-off of 6e-8, grown: measured 4e-7 to 2e-6


def test_side_by_side_is_one_by_one():
    names = ["adam", "amsgrad", "adagrad", "nadam", "radam", "group_rmsprop"]  # one of optax's
    makes = {name: optimizers.BY_NAME[name] for name in names}

    def run(rate, scale):
        start = jax.tree.map(lambda f: scale * f, START)
        return paths(makes, dict.fromkeys(names, rate), start, steps=20)

    rates, scales = jnp.array([0.02, 0.005]), jnp.array([1.0, 0.5])
    together = jax.vmap(run)(rates, scales)
    for k in range(2):
        single = run(rates[k], scales[k])
        for name in names:
            # Two programs may order additions differently.
            np.testing.assert_allclose(together[name][k], single[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["adam", "group_rmsprop"])
def test_a_run_takes_the_function_and_a_rate(name):
    make = optimizers.BY_NAME[name]
    run = gf.run_descent(
        OBJECTIVE, START, make, learning_rate=1e-3, max_steps=20, record=[20], observe=["loss"]
    )
    assert run.config["optimizer"] == name
    wanted = paths({name: make}, {name: jnp.asarray(1e-3)}, START, steps=20)[name]
    np.testing.assert_allclose(flat(run.final.values()), wanted[-1], rtol=0, atol=1e-13)
    assert run["loss"][-1] < run["loss"][0]


def test_a_float32_run_stays_float32():
    objective, start = gf.astype((OBJECTIVE, START), jnp.float32)
    run = gf.run_descent(
        objective, start, optimizers.nadam, learning_rate=0.02, max_steps=100, observe=["loss"]
    )
    assert all(array.dtype == np.float32 for array in run.final.values())
    found, wanted = flat(run.final.values()), GOLDEN["deep/nadam"][-1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)  # as above
    assert run["loss"][-1] < 1e-4


# Refusals

REFUSED = {
    "unknown": (lambda: optimizers.named("sgd"), "'sgd'", "known are gd, momentum, adam"),
    "negative rate": (lambda: optimizers.adam(-0.1), "learning_rate", "above 0, but it is -0.1"),
    "rate not finite": (lambda: optimizers.gd(np.inf), "inf", "finite number above 0"),
    "rate as text": (lambda: optimizers.gd("fast"), "'fast'", "finite number above 0"),
    "many rates": (lambda: optimizers.gd(np.ones(2)), "[1., 1.]", "finite number above 0"),
    "momentum of 1": (
        lambda: optimizers.momentum(0.1, momentum=1.0), "momentum", "below 1, but it is 1.0"),
    "b1": (lambda: optimizers.adam(0.1, b1=-0.5), "b1", "below 1, but it is -0.5"),
    "b2": (lambda: optimizers.amsgrad(0.1, b2=1.5), "b2", "below 1, but it is 1.5"),
    "b2 as text": (lambda: optimizers.adamax(0.1, b2="long"), "'long'", "leave it away"),
    "b2 missing": (lambda: optimizers.radam(0.1, b2=math.nan), "nan", "leave it away"),
    "no eps": (lambda: optimizers.adagrad(0.1, eps=0.0), "eps", "above 0, but it is 0.0"),
    "negative sum": (
        lambda: optimizers.adagrad(0.1, initial_accumulator_value=-1.0), "-1.0", "at least 0"),
    "negative decay": (
        lambda: optimizers.rmsprop(0.1, decay=-0.1), "decay", "at least 0 and below 1"),
    "rho": (lambda: optimizers.adadelta(0.1, rho=2.0), "rho", "below 1, but it is 2.0"),
    "negative weight decay": (
        lambda: optimizers.adamw(0.1, weight_decay=-1e-2), "weight_decay", "-0.01; leave"),
    "negative momentum decay": (
        lambda: optimizers.nadam(0.1, momentum_decay=-1.0), "momentum_decay", "-1.0; leave"),
    "group decay": (
        lambda: optimizers.group_rmsprop(0.1, decay=1.0), "decay", "below 1, but it is 1.0"),
    "group eps": (
        lambda: optimizers.group_rmsprop(0.1, eps=-1e-4), "eps", "at least 0, but it is -0.0001"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refusal:
        call()
    assert value in str(refusal.value)
    assert remedy in str(refusal.value)
