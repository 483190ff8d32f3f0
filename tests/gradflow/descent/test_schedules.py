"""Learning rates as functions of the iteration: NumPy, optax, batches, resumed runs; misuse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent.rates import gather_rates
from gradflow.state import FactorsView, State
from gradflow.trajectory import Trajectory
from tests.gradflow.descent.problems import (
    OBJECTIVE,
    START,
    adam,
    numpy_gradients,
    sgd,
)
from tests.helpers import in_mode, refuses

STEPS = 60
WARM = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, STEPS)
HALVED = optax.piecewise_constant_schedule(0.08, {15: 0.5, 40: 0.5})
SCHEDULES = {
    "warm-up and cosine": (WARM, lambda t: (
        0.1 * t / 10 if t < 10 else 0.05 * (1 + np.cos(np.pi * (t - 10) / (STEPS - 10))))),
    "halved twice": (HALVED, lambda t: 0.08 / 2 ** sum(t >= at for at in (15, 40))),
    "own": (lambda count: 0.1 / jnp.sqrt(count + 1.0), lambda t: 0.1 / np.sqrt(t + 1)),
}  # fmt: skip
RULES = {"gd": (gf.optimizers.gd, sgd), "adam": (optax.adam, adam)}
ASKED = {"max_steps": STEPS, "record": [1, 12, 30, 45], "observe": ["loss", "learning_rate"]}
descend = partial(gf.run_descent, OBJECTIVE, START)


def numpy_run(rule, rate):
    factors, state = [np.asarray(f) for f in START], None
    for t in range(STEPS):
        factors, state = rule(rate(t))(factors, numpy_gradients(factors), state, t + 1)
    return factors


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", RULES)
def test_sixty_iterations_agree_with_a_loop_in_numpy_and_with_optax(kind, name):
    (make, rule), (schedule, rate) = RULES[kind], SCHEDULES[name]
    run = descend(make, learning_rate=schedule, **ASKED)
    for k, wanted in enumerate(numpy_run(rule, rate), start=1):
        np.testing.assert_allclose(run.final[f"W_{k}"], wanted, rtol=1e-11, atol=1e-13)
    rates = [rate(t) for t in run.times]
    np.testing.assert_allclose(run["learning_rate"], rates, rtol=1e-13, atol=1e-17)
    # optax counts in int32, so that without this its rates were rounded to float32.
    exactly = make(lambda count: schedule(count.astype(float)))
    made = descend(exactly, **ASKED | {"observe": ["loss"]})
    np.testing.assert_allclose(run["loss"], made["loss"], rtol=1e-11)
    constant = descend(make, learning_rate=0.1, **ASKED)
    assert np.abs(constant.final["W_2"] - run.final["W_2"]).max() > 1e-2
    assert set(constant["learning_rate"]) == {0.1}


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_batch_of_schedules_and_numbers_is_single_runs_and_goes_on_to_the_same_bits(
    mode, monkeypatch
):
    in_mode(monkeypatch, mode)
    starts = [tuple(scale * f for f in START) for scale in (1.0, 0.9, 0.8, 1.1)]
    rates = [WARM, 0.05, HALVED, WARM]
    batch = partial(gf.run_descents, OBJECTIVE, optimizer=optax.adam, learning_rate=rates)
    whole = batch(starts, **ASKED)
    for run, start, rate in zip(whole, starts, rates, strict=True):
        single = gf.run_descent(OBJECTIVE, start, optax.adam, learning_rate=rate, **ASKED)
        assert run.config["learning_rate"] == single.config["learning_rate"]
        np.testing.assert_allclose(run.final["W_3"], single.final["W_3"], rtol=1e-12)
    halves = batch(batch(starts, **ASKED | {"max_steps": 23}), **ASKED)
    for one, half in zip(whole, halves, strict=True):
        for name, wanted in one.final.items():
            np.testing.assert_array_equal(half.final[name], wanted)
    assert "cosine" in whole[0].config["learning_rate"]
    assert whole[1].config["learning_rate"] == 0.05


def test_a_run_that_went_at_a_number_goes_on_at_a_schedule_and_is_stored(tmp_path):
    first = descend(optax.adam, learning_rate=0.05, **ASKED | {"max_steps": 20})
    second = gf.run_descent(
        OBJECTIVE,
        Trajectory.load(first.save(tmp_path / "run.nc")),
        optax.adam,
        learning_rate=WARM,
        **ASKED,
    )
    rates = gf.join(first, second)["learning_rate"]  # one record where the parts meet: the first's
    wanted = [0.05, 0.05, 0.05, 0.05, *(SCHEDULES["warm-up and cosine"][1](t) for t in (30, 45))]
    np.testing.assert_allclose(rates[:-1], wanted, rtol=1e-13)


def test_a_checkpoint_knows_the_schedule(tmp_path):
    kept = gf.Checkpoint(tmp_path / "run.npz", seconds=1e-9)
    descend(optax.sgd, learning_rate=WARM, checkpoint=kept, **ASKED)
    other = optax.warmup_cosine_decay_schedule(0.0, 0.1, 11, STEPS)
    refuses(
        lambda: descend(optax.sgd, learning_rate=other, checkpoint=kept, **ASKED),
        "another run",
        "delete it",
    )


def test_a_float32_run_stays_float32():
    objective, start = gf.astype((OBJECTIVE, START), jnp.float32)
    run = gf.run_descent(objective, start, gf.optimizers.adam, learning_rate=WARM, **ASKED)
    assert run.final["W_1"].dtype == run["learning_rate"].dtype == np.float32


def once(count):
    return 0.1 if count < 9 else 0.01


def kept(rate):
    return optax.inject_hyperparams(optax.sgd)(learning_rate=rate)


REFUSED = {
    "in Python": (optax.sgd, {"learning_rate": once}, "once", "with jnp.where for its cases"),
    "no number": (optax.sgd, {"learning_rate": lambda t: jnp.ones(2) * t}, "(2,)", "optax sched"),
    "an optimiser": (optax.sgd, {"learning_rate": optax.sgd}, "sgd", "give an optax schedule"),
    "below 0": (
        optax.sgd, {"learning_rate": optax.linear_schedule(0.1, -0.1, STEPS)}, "iteration 3",
        "lower max_steps"),
    "not finite": (
        optax.sgd, {"learning_rate": lambda t: 1.0 / t}, "inf at iteration 0", "mend it"),
    "made": (optax.sgd(0.1), {"learning_rate": WARM}, "already has", "leave learning_rate away"),
    "kept": (kept, {"learning_rate": WARM}, "keeps its learning rate", "made with the schedule"),
    "for one only": (None, {"learning_rate": [WARM, None]}, "every run", "for none"),
    "nothing to record": (
        optax.sgd(0.1), {"observe": ["learning_rate"]}, "no learning rate", "and learning_rate."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    optimizer, asked, value, remedy = REFUSED[case]
    asked = {"max_steps": STEPS} | asked
    if optimizer is None:
        call = partial(gf.run_descents, OBJECTIVE, [START] * 2, optax.sgd, **asked)
    else:
        call = partial(descend, optimizer, **asked)
    refuses(call, value, remedy)


def test_a_flow_has_no_rate():
    state = State(FactorsView(OBJECTIVE), START)
    refuses(lambda: gf.observables.learning_rate(state), "flows have none", "run_descent")


def test_numbers_beside_a_schedule_make_no_further_programs():
    """One branch is theirs, however many they are; runs' own numbers are data."""
    rates, schedules = gather_rates([0.1, WARM, 0.2, 0.3, WARM], np.dtype(float), 0, STEPS)
    assert schedules == (WARM,)
    assert rates.places.tolist() == [0, 1, 0, 0, 1]
    at = jax.vmap(lambda own: own.at(jnp.asarray(10), schedules))
    np.testing.assert_allclose(at(rates), [0.1, WARM(10), 0.2, 0.3, WARM(10)], rtol=1e-15)
    assert str(jax.make_jaxpr(at)(rates)).count("cos") == 1


def test_a_rate_that_comes_down_to_zero_may_be_rounding_below_it():
    decay = optax.linear_schedule(0.2, 0.0, 40)
    # Where compilers fuse products and sums, the end of such a schedule is -1.1e-17 by itself.
    line = lambda count: decay(count) - 1e-17  # noqa: E731
    run = descend(gf.optimizers.gd, learning_rate=line, **ASKED)
    wanted = numpy_run(sgd, lambda t: 0.2 * (1 - min(t, 40) / 40))
    np.testing.assert_allclose(run.final["W_1"], wanted[0], rtol=1e-11)
    # A run that is taken up behind the end sees nothing but rounding, and knows it.
    half = descend(gf.optimizers.gd, learning_rate=line, **ASKED | {"max_steps": 50})
    rest = gf.run_descent(OBJECTIVE, half, gf.optimizers.gd, learning_rate=line, **ASKED)
    np.testing.assert_array_equal(rest.final["W_1"], run.final["W_1"])
    below = lambda count: line(count) - 1e-12  # noqa: E731
    refuses(
        lambda: descend(gf.optimizers.gd, learning_rate=below, **ASKED), "at least 0", "mend it"
    )
