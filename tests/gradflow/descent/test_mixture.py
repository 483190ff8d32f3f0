"""Runs of several optimisers and penalties in one batch, against each run alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import optimizers
from gradflow.descent import Sampling, loop
from gradflow.descent import batch as batches
from gradflow.descent.gathering import gather_objectives
from gradflow.descent.mixture import dealt, mixture
from gradflow.descent.rates import Rates
from gradflow.descent.stopping import StopRule
from tests.helpers import in_mode, refuses, watch_lanes

ROOT = Path(__file__).resolve().parents[3]
MODEL = gf.MatrixProduct((5, 3, 4))
PROBLEM = gf.synthetic.matrix_completion(jax.random.key(0), (4, 5), 2, 11)
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
NAMES = ["adam", "gd", "amsgrad", "gd", "nadam"]
RULES = [optimizers.named(name) for name in NAMES]
STARTS = [MODEL.gaussian(jax.random.key(k), std=0.5) for k in range(len(NAMES))]
RATES = np.linspace(0.02, 0.1, len(NAMES)).tolist()
ASKED = {"max_steps": 60, "record": [1, 17, 40], "observe": ["loss", "singular_values"]}
PENALTIES = [gf.NuclearNorm(0.03), gf.SchattenRatio(0.5, 2 / 3, 0.02), gf.SchattenNorm(0.5, 0.01),
             gf.SchattenRatio(0.5, 2 / 3, 0.01), gf.NuclearFrobeniusRatio(0.05, "svd")]  # fmt: skip
PENALISED = [gf.Objective(PROBLEM, MODEL, penalty) for penalty in PENALTIES]


def alone(objectives, **changes):
    asked = ASKED | changes
    losses = asked.pop("stop_loss", [None] * len(STARTS))
    return [
        gf.run_descent(objective, start, rule, learning_rate=rate, stop_loss=loss, **asked)
        for objective, start, rule, rate, loss in zip(
            objectives, STARTS, RULES, RATES, losses, strict=True
        )
    ]


@pytest.fixture(scope="module")
def wanted():
    return alone([OBJECTIVE] * len(STARTS))


@pytest.fixture(scope="module")
def wanted_penalised():
    return alone(PENALISED)


def same(found, wanted, exactly, states=True):
    """Records, ends, states and what is said of runs."""
    for one, other in zip(found, wanted, strict=True):
        assert one.outcome is other.outcome and one.config == other.config
        np.testing.assert_array_equal(one.times, other.times)
        assert list(one.state) == list(other.state)
        for ours, theirs in [(one.observables, other.observables), (one.final, other.final),
                             (one.initial, other.initial),
                             *([(one.state, other.state)] if states else [])]:  # fmt: skip
            assert list(ours) == list(theirs)
            for name in ours:
                assert ours[name].dtype == theirs[name].dtype
                if exactly:
                    np.testing.assert_array_equal(ours[name], theirs[name])
                else:
                    np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_several_optimisers_do_what_each_does_alone(mode, wanted, monkeypatch):
    """To the last bit one after the other; what each carries has its own names."""
    in_mode(monkeypatch, mode)
    found = gf.run_descents(OBJECTIVE, STARTS, RULES, learning_rate=RATES, **ASKED)
    same(found, wanted, mode == "map")
    assert len(found[1].state) < len(found[0].state) < len(found[2].state)


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_penalties_of_several_kinds_share_an_svd(mode, wanted_penalised, monkeypatch):
    in_mode(monkeypatch, mode)
    found = gf.run_descents(PENALISED, STARTS, RULES, learning_rate=RATES, **ASKED)
    same(found, wanted_penalised, exactly=False)


def step(kinds, sizes, objectives=None):
    objective, many = (OBJECTIVE, False) if objectives is None else objectives
    mixed = mixture(kinds, sizes, True, jax.eval_shape(lambda: STARTS[0]))
    rule = StopRule(jnp.asarray(0.0), None, None)
    rates = Rates(jnp.full(sum(sizes), 0.1))
    return loop.BatchStep(objective, many, mixed, rates, (), rule, "vmap")


def test_a_batchs_program_has_one_svd_however_many_optimisers_and_penalties():
    kinds = [optimizers.named(name) for name in dict.fromkeys(NAMES)]
    gathered = gather_objectives(PENALISED)
    batch_step = step(kinds, [1, 2, 1, 1], gathered)
    runs = batch_step.initialise(jax.tree.map(lambda *x: jnp.stack(x), *STARTS))
    # In the blocks of iterations and in what is left over. Beside those of values, for optimisers
    # that ask for them; nothing uses them here.
    assert len(re.findall(r":3 = (?:func\.)?call @svd", batch_step.program(runs))) == 2


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_runs_stop_at_losses_of_their_own_and_are_taken_out(mode, monkeypatch):
    """Optimisers lose runs, and what the others carry is still their own."""
    losses = [3.0, 6.9, None, 6.8, 1.5]
    wanted = alone([OBJECTIVE] * len(STARTS), stop_loss=losses)
    assert len({one.stats["steps"] for one in wanted}) > 3
    in_mode(monkeypatch, mode)
    monkeypatch.setattr(batches, "_grow", lambda *_: 5)
    monkeypatch.setattr(batches, "_FIRST_BUDGET", 5)
    lanes = watch_lanes(monkeypatch)
    found = gf.run_descents(
        OBJECTIVE, STARTS, RULES, learning_rate=RATES, stop_loss=losses, **ASKED
    )
    same(found, wanted, mode == "map", states=mode == "map")
    assert (len(set(lanes)) > 1) == (mode == "vmap")


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_mixed_batch_goes_on_from_its_trajectories(mode, wanted, monkeypatch):
    in_mode(monkeypatch, mode)
    half = gf.run_descents(
        OBJECTIVE, STARTS, RULES, learning_rate=RATES, **(ASKED | {"max_steps": 30, "record": [1]})
    )
    found = gf.run_descents(OBJECTIVE, half, RULES, learning_rate=RATES, **ASKED)
    for one, other in zip(found, wanted, strict=True):
        for name in one.final:
            np.testing.assert_allclose(one.final[name], other.final[name], rtol=1e-9)
        assert list(one.state) == list(other.state)
    with pytest.raises(ValueError, match="was run by"):
        gf.run_descents(OBJECTIVE, half, RULES[::-1], learning_rate=RATES[::-1], **ASKED)


def test_a_mixed_batch_goes_on_from_its_checkpoint(wanted, tmp_path, monkeypatch):
    in_mode(monkeypatch, "vmap")
    checkpoint = gf.Checkpoint(tmp_path / "batch.npz", seconds=1e-9)
    asked = {"learning_rate": RATES, "checkpoint": checkpoint, **ASKED}
    monkeypatch.setattr(batches, "_grow", lambda *_: 5)
    monkeypatch.setattr(batches, "_FIRST_BUDGET", 5)
    advance, left = loop.BatchStep.advance, [3]

    def killed(self, *args):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return advance(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.BatchStep, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            gf.run_descents(OBJECTIVE, STARTS, RULES, **asked)
    same(gf.run_descents(OBJECTIVE, STARTS, RULES, **asked), wanted, exactly=False)


COSINE = optax.cosine_decay_schedule(0.08, 60)
MIXED = [optax.adam, optimizers.gd, optax.adam]
DRAWN = {
    "learning_rate": [COSINE, 0.05, optax.linear_schedule(0.08, 0.01, 60)],
    "key": list(jax.random.split(jax.random.key(5), 3)),
    "stop_loss": [1e-3, 1e-4, 6.5],
}
NOISY = {"sampling": Sampling(batch=5, label_noise=0.05)} | ASKED | {"observe": ["loss"]}


def drawn_alone():
    return [
        gf.run_descent(
            OBJECTIVE, STARTS[k], rule, **NOISY, **{name: own[k] for name, own in DRAWN.items()}
        )
        for k, rule in enumerate(MIXED)
    ]


@pytest.fixture(scope="module")
def wanted_drawn():
    return drawn_alone()


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_each_has_its_own_schedule_key_and_stopping_loss(mode, wanted_drawn, monkeypatch):
    """Runs are sorted by their optimisers, and what belongs to them with them."""
    in_mode(monkeypatch, mode)
    assert wanted_drawn[2].outcome is gf.Outcome.REACHED_LOSS
    found = gf.run_descents(OBJECTIVE, STARTS[:3], MIXED, **NOISY, **DRAWN)
    same(found, wanted_drawn, mode == "map", states=mode == "map")


def test_mixed_schedules_and_draws_go_on_to_the_same_bits(wanted_drawn):
    own = {name: values[:2] for name, values in DRAWN.items()}
    short = NOISY | {"max_steps": 30, "record": [1]}
    half = gf.run_descents(OBJECTIVE, STARTS[:2], MIXED[:2], **short, **own)
    rest = gf.run_descents(OBJECTIVE, half, MIXED[:2], **NOISY, **own)
    for one, other in zip(rest, wanted_drawn, strict=False):
        for name, factor in one.final.items():
            np.testing.assert_array_equal(factor, other.final[name])


def test_every_device_has_as_many_runs_of_every_optimiser():
    sizes, numbers, places = dealt((5, 0, 2), 3)
    assert sizes == (2, 0, 1) and numbers.shape == (9,)
    np.testing.assert_array_equal(numbers[places], np.arange(7))
    kinds = np.repeat([0, 2], [5, 2])[numbers].reshape(3, 3)
    np.testing.assert_array_equal(kinds, [[0, 0, 2]] * 3)


def see_devices(count):
    """In a process with so many devices: what they do together is what each run does alone."""
    assert jax.device_count() == count
    wanted, drawn = alone([OBJECTIVE] * len(STARTS)), drawn_alone()
    for mode in ("map", "vmap"):
        with pytest.MonkeyPatch.context() as patch:
            in_mode(patch, mode)
            found = gf.run_descents(OBJECTIVE, STARTS, RULES, learning_rate=RATES, **ASKED)
            same(found, wanted, mode == "map")
            found = gf.run_descents(OBJECTIVE, STARTS[:3], MIXED, **NOISY, **DRAWN)
            same(found, drawn, mode == "map", states=mode == "map")


@pytest.mark.slow
def test_four_devices_do_a_mixed_batch():
    code = (
        "import jax; jax.config.update('jax_enable_x64', True); "
        "from tests.gradflow.descent import test_mixture; test_mixture.see_devices(4)"
    )
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


class OwnGradient(gf.NuclearNorm):
    """Says its gradient itself, so that nothing can be had from singular values for it."""

    def gradient(self, w, kink_width=None, rank=None):
        return self.weight * w


UNSHARED = gf.Objective(PROBLEM, MODEL, OwnGradient(jnp.asarray(0.1)))


def kept(rate):
    return optax.inject_hyperparams(optax.sgd)(learning_rate=rate)


REFUSALS = [
    (lambda: gf.run_descents(OBJECTIVE, STARTS[:2], [optax.sgd(0.1), optax.polyak_sgd()],
                             **NOISY, key=jax.random.key(0)), "value", "leave sampling away"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS[:2], [optax.sgd, kept],
                             learning_rate=[0.1, COSINE], **ASKED), "kept keeps", "made with the"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS, RULES[:2], learning_rate=RATES, **ASKED),
     "5 starts", "2 optimizers"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS, RULES[0], learning_rate=RATES, **ASKED,
                             stop_loss=[1.0]), "5 starts", "1 stopping losses"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS[:2], [optax.sgd, optax.adam(0.1)],
                             learning_rate=0.1, **ASKED), "functions of one", "optax.sgd"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS[:2], [optax.sgd, 3], learning_rate=0.1, **ASKED),
     "3", "optax transformation"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS[:2], optax.sgd, learning_rate=0.1,
                             stop_loss=[1.0, -1.0], **ASKED), "-1.0", "above 0"),
    (lambda: gf.run_descents(OBJECTIVE, STARTS[:2], [optax.sgd, optax.noisy_sgd],
                             learning_rate=0.1, **ASKED), "random key", "call of its own"),
    (lambda: gf.run_descents([OBJECTIVE, *PENALISED[1:3]], STARTS[:3], [RULES[0], optax.sgd,
                             RULES[0]], learning_rate=0.1, **ASKED), "objectives[2]", "their own"),
    (lambda: gf.run_descents([PENALISED[1], UNSHARED],
                             STARTS[:2], optax.sgd, learning_rate=0.1, **ASKED),
     "objectives[1]", "their own"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "value", "remedy"), REFUSALS)
def test_what_cannot_be_mixed_is_refused(call, value, remedy):
    refuses(call, value, remedy)


def test_transformations_with_their_rates_can_be_mixed():
    rules = [optax.sgd(0.1), optax.adam(0.05), optax.sgd(0.1, momentum=0.5)]
    found = gf.run_descents(OBJECTIVE, STARTS[:3], rules, **ASKED)
    for run, start, rule in zip(found, STARTS, rules, strict=False):
        single = gf.run_descent(OBJECTIVE, start, rule, **ASKED)
        np.testing.assert_array_equal(run.final["W_1"], single.final["W_1"])
