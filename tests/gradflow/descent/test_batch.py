"""Batches of descents: against single runs, side by side, on several devices."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow import synthetic
from gradflow.descent import batch as batches
from gradflow.descent import loop as stepping
from gradflow.trajectory import Outcome
from tests.helpers import in_mode, watch_lanes

ROOT = Path(__file__).resolve().parents[3]
MODEL = gf.MatrixProduct((3, 3, 3, 4))
PROBLEMS = [
    synthetic.matrix_completion(jax.random.key(k), (4, 3), 2, 8, norm=2.0) for k in range(6)
]
OBJECTIVES = [gf.Objective(problem, MODEL) for problem in PROBLEMS]
OBJECTIVE = OBJECTIVES[0]
STARTS = [tuple(0.7 * f for f in MODEL.gaussian(jax.random.key(k), std=1.0)) for k in range(1, 7)]
START = STARTS[0]
# One diverges; the others reach the loss after very different times, or never.
RATES = [0.05, 5.0, 0.1, 0.02, 1e-4, 0.01]
ASKED = {"max_steps": 3000, "stop_loss": 0.05, "observe": ["loss", "product"]}


def all_arrays(run):
    return {"times": run.times, **run.observables, **run.final}


def assert_same(run, other, **tolerance):
    """To the last bit, or to this tolerance."""
    assert run.outcome is other.outcome
    assert run.stats["steps"] == other.stats["steps"]
    compare = np.testing.assert_allclose if tolerance else np.testing.assert_array_equal
    for name, wanted in all_arrays(other).items():
        compare(all_arrays(run)[name], wanted, **tolerance)


# One after the other


@pytest.mark.parametrize("rates", [0.05, [0.05, 0.02, 0.1]], ids=["one rate", "three rates"])
@pytest.mark.parametrize("objectives", [OBJECTIVE, OBJECTIVES[:3]], ids=["one", "one a run"])
def test_a_batch_equals_single_runs(objectives, rates):
    asked = {**ASKED, "max_steps": 300, "record": [1, 10, 100]}
    batch = gf.run_descents(objectives, STARTS[:3], optax.sgd, learning_rate=rates, **asked)
    assert len(batch) == 3
    each_rate = rates if isinstance(rates, list) else [rates] * 3
    each_objective = objectives if isinstance(objectives, list) else [objectives] * 3
    for run, objective, start, rate in zip(
        batch, each_objective, STARTS[:3], each_rate, strict=True
    ):
        single = gf.run_descent(objective, start, optax.sgd, learning_rate=rate, **asked)
        assert run.config == single.config
        assert run.config["learning_rate"] == rate
        assert_same(run, single)
    # Each run stops by itself.
    assert len({int(run.times[-1]) for run in batch}) > 1


@pytest.mark.parametrize(
    ("shape", "depth", "rule", "penalty"),
    [
        ((12, 12), 2, optax.adam, gf.NuclearNorm(0.01)),
        # From about 30 x 30 on a product of stacked matrices adds in another order.
        ((33, 33), 3, optax.sgd, None),
    ],
    ids=["12x12, penalised", "33x33"],
)
def test_a_batch_of_objectives_of_larger_sizes_equals_single_runs(shape, depth, rule, penalty):
    model = gf.MatrixProduct.of(shape, depth)
    keys = jax.random.split(jax.random.key(7), 3)
    count = shape[0] * shape[1] // 2
    problems = [synthetic.matrix_completion(key, shape, 1, count, norm=2.0) for key in keys]
    objectives = [gf.Objective(problem, model, penalty) for problem in problems]
    starts = [model.gaussian(key, std=0.5 / shape[0] ** 0.5) for key in keys]
    asked = {"max_steps": 60, "record": [1, 10], "observe": ["loss", "product", "gradient_norm"]}
    batch = gf.run_descents(objectives, starts, rule, learning_rate=0.05, **asked)
    for run, objective, start in zip(batch, objectives, starts, strict=True):
        assert_same(run, gf.run_descent(objective, start, rule, learning_rate=0.05, **asked))


def test_a_batch_goes_on_after_one_of_its_runs_diverged():
    asked = {"max_steps": 300, "record": [299], "observe": ["loss", "product"]}
    bad, good, _ = gf.run_descents(
        OBJECTIVE, [START] * 3, optax.sgd, learning_rate=[5.0, 0.05, 0.05], **asked
    )
    assert bad.outcome is Outcome.DIVERGED
    assert good.outcome is Outcome.OUT_OF_STEPS
    assert_same(good, gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, **asked))


def test_a_batch_takes_a_made_optimizer():
    asked = {"max_steps": 10, "observe": ["product"]}
    runs = gf.run_descents(OBJECTIVE, STARTS[:2], optax.sgd(0.05), **asked)
    for run, start in zip(runs, STARTS, strict=False):
        assert_same(run, gf.run_descent(OBJECTIVE, start, optax.sgd(0.05), **asked))


def test_a_batch_of_one():
    asked = {**ASKED, "max_steps": 20}
    (run,) = gf.run_descents([OBJECTIVE], [START], optax.sgd, learning_rate=[0.05], **asked)
    assert_same(run, gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, **asked))


def test_runs_that_go_one_after_the_other_stay_together(monkeypatch):
    """There one that is done costs nothing, and other numbers would be other programs."""
    lanes = watch_lanes(monkeypatch)
    gf.run_descents(OBJECTIVES, STARTS, optax.sgd, learning_rate=RATES, **ASKED)
    assert len(lanes) > 1
    assert set(lanes) == {6}


# Side by side


@pytest.mark.parametrize(
    ("objectives", "record"),
    [(OBJECTIVE, None), (OBJECTIVES, [7, 2999]), (OBJECTIVES, range(0, 3000, 10))],
    ids=["one", "one a run", "many records"],
)
def test_side_by_side_is_one_after_the_other_to_rounding(objectives, record, monkeypatch):
    def run():
        return gf.run_descents(
            objectives, STARTS, optax.sgd, learning_rate=RATES, record=record, **ASKED
        )

    one_by_one = run()
    ends = {one.stats["steps"] for one in one_by_one}
    assert len(ends) >= 4
    assert {one.outcome for one in one_by_one} == {
        Outcome.REACHED_LOSS, Outcome.OUT_OF_STEPS, Outcome.DIVERGED,
    }  # fmt: skip
    in_mode(monkeypatch, "vmap")
    monkeypatch.setattr(batches, "_FIRST_BUDGET", 20)
    monkeypatch.setattr(batches, "_grow", lambda *_: 20)
    lanes = watch_lanes(monkeypatch)
    for found, wanted in zip(run(), one_by_one, strict=True):
        # Products of stacked matrices may add in another order: 2e-16 an iteration, 3000 of them.
        # At this size no difference was seen on a CPU.
        assert_same(found, wanted, rtol=1e-11, atol=1e-13)
    assert lanes[0] == 6
    assert lanes == sorted(lanes, reverse=True)
    assert len(set(lanes)) >= 3  # those that were done were taken out, more than once


@pytest.mark.parametrize("patience", [0, 1, 1e9])
def test_a_batch_keeps_its_size_until_another_is_worth_compiling(patience, monkeypatch):
    """A chunk takes 1 s, the first of every size 30 s: the size stays for thirty more."""
    in_mode(monkeypatch, "vmap")
    monkeypatch.setattr(batches, "_FIRST_BUDGET", 20)
    monkeypatch.setattr(batches, "_grow", lambda *_: 20)
    lanes = watch_lanes(monkeypatch)
    monkeypatch.setattr(batches, "_PATIENCE", patience)
    now, ticks = [0.0], itertools.count()

    def clock():  # read before and after each chunk
        if next(ticks) % 2:
            now[0] += 30 if len(lanes) < 2 or lanes[-1] != lanes[-2] else 1
        return now[0]

    monkeypatch.setattr(batches, "time", SimpleNamespace(perf_counter=clock))
    gf.run_descents(OBJECTIVES, STARTS, optax.sgd, learning_rate=RATES, record=[2999], **ASKED)
    sizes = [len(list(same)) for _, same in itertools.groupby(lanes)]
    assert (len(sizes) == 1) == (patience == 1e9)
    assert (min(sizes[:-1], default=31) > 30) == (patience > 0)


# Several devices


def six_runs():
    """name -> six runs: one objective or six, one after the other or side by side."""
    runs = {}
    for mode in ("map", "vmap"):
        with pytest.MonkeyPatch.context() as patch:
            in_mode(patch, mode)
            for name, objectives in [("one", OBJECTIVE), ("six", OBJECTIVES)]:
                runs[f"{name} {mode}"] = gf.run_descents(
                    objectives, STARTS, optax.sgd, learning_rate=RATES, record=[7], **ASKED
                )
    return runs


def store_six_runs(path):
    """In a process with several devices."""
    spread, count = stepping._advance_spread, []

    def counted(*args):
        count.append(args[1].count.shape[0])
        return spread(*args)

    stepping._advance_spread = counted
    arrays = {
        f"{case}/{k}/{name}": array
        for case, runs in six_runs().items()
        for k, run in enumerate(runs)
        for name, array in all_arrays(run).items()
    }
    np.savez(path, devices=jax.device_count(), spread=np.array(count), **arrays)


@pytest.mark.slow
def test_four_devices_do_six_runs_as_one_does(tmp_path):
    path = tmp_path / "runs.npz"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    code = f"from tests.gradflow.descent.test_batch import *; store_six_runs({str(path)!r})"
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "XLA_FLAGS": flags}, check=True
    )
    assert jax.device_count() == 1
    with np.load(path) as stored:
        assert stored["devices"] == 4
        assert {8, 4} >= set(stored["spread"].tolist()) >= {8}  # six runs, and two idle ones
        for case, runs in six_runs().items():
            for k, run in enumerate(runs):
                for name, wanted in all_arrays(run).items():
                    found = stored[f"{case}/{k}/{name}"]
                    if case.endswith(" map"):
                        np.testing.assert_array_equal(found, wanted)
                    else:  # two stacked matrices a device, where one device has six
                        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


# Refusals


def refused(starts, rates=0.1, objectives=OBJECTIVE):
    return lambda: gf.run_descents(objectives, starts, optax.sgd, max_steps=10, learning_rate=rates)


def unlike(problem, model=MODEL, penalty=None):
    other = gf.Objective(problem, model, penalty)
    start = model.gaussian(jax.random.key(0), std=0.5)
    return refused([START, start], objectives=[OBJECTIVE, other])


INDICES, VALUES = PROBLEMS[0].indices, PROBLEMS[0].values
ALIKE = "objectives[1] is not like objectives[0]"
REFUSED = {
    "no start": (refused([]), "no start", "at least one"),
    "rates too few": (refused([START, START], [0.1]), "2 starts but 1", "learning rates"),
    "rate for one only": (refused([START, START], [0.1, None]), "every run", "for none"),
    "one bad start": (refused([START, START[:2]]), "((3, 3), (3, 3))", "factors[0] is W_1"),
    "objectives too few": (
        refused([START, START], objectives=[OBJECTIVE]), "2 starts but 1", "objectives"),
    "objectives too many": (
        refused([START], objectives=OBJECTIVES), "1 starts but 6", "objectives"),
    "no objective": (refused([START], objectives=[]), "1 starts but 0", "objectives"),
    "another precision": (
        refused([START, START], objectives=[OBJECTIVE, gf.astype(OBJECTIVE, jnp.float32)]),
        "float32", "gradflow.astype"),
    "another kind": (
        unlike(synthetic.matrix_sensing(jax.random.key(0), (4, 3), 2, 8)), ALIKE,
            "calls of their own"),
    "another shape": (
        unlike(synthetic.norm_blowup(), gf.MatrixProduct((2, 2))), ALIKE, "calls of their own"),
    "another depth": (
        unlike(PROBLEMS[0], gf.MatrixProduct((3, 4))), ALIKE, "calls of their own"),
    "fewer observations": (
        unlike(gf.MatrixCompletion((4, 3), INDICES[1:], VALUES[1:], truth=PROBLEMS[0].truth)),
        ALIKE, "number of observations"),
    "another loss": (
        unlike(gf.MatrixCompletion((4, 3), INDICES, VALUES, truth=PROBLEMS[0].truth, loss="sum")),
        ALIKE, "loss convention"),
    "a penalty": (unlike(PROBLEMS[0], penalty=gf.NuclearNorm(0.1)), ALIKE, "penalty"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refusal:
        call()
    assert value in str(refusal.value)
    assert remedy in str(refusal.value)
