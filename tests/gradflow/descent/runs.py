"""Descents to be stopped and gone on with."""

import itertools

import jax
import numpy as np
import optax

import gradflow as gf
from gradflow.descent import batch as batches

OBSERVE = ["loss", "product"]


RULES = {
    "sgd": (optax.sgd, 0.05, None),
    "adam": (optax.adam, 0.01, None),
    "penalised": (optax.sgd, 0.05, gf.NuclearFrobeniusRatio(0.01)),
}


def problem_of(d):
    if d == 2:
        return gf.synthetic.norm_blowup()
    return gf.synthetic.matrix_completion(jax.random.key(0), (d, d), 2, d * d // 2, norm=2.0)


def descend(d, rule, **asked):
    optimizer, rate, penalty = RULES[rule]
    model = gf.MatrixProduct.of((d, d), 3)
    start = model.gaussian(jax.random.key(1), std=0.5 / d**0.5)
    asked = {"max_steps": 500, "record": [1, 10, 123, 400], "learning_rate": rate} | asked
    objective = gf.Objective(problem_of(d), model, penalty)
    return gf.run_descent(objective, start, optimizer, observe=OBSERVE, **asked)


def assert_same_bits(run, other):
    assert run.outcome is other.outcome
    assert run.stats["steps"] == other.stats["steps"]
    np.testing.assert_array_equal(run.times, other.times)
    for found, wanted in [
        (run.observables, other.observables),
        (run.final, other.final),
        (run.initial, other.initial),
    ]:
        assert list(found) == list(wanted)
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])


def chunks_of(monkeypatch, first, seconds):
    monkeypatch.setattr(batches, "_FIRST_BUDGET", first)
    monkeypatch.setattr(batches, "_CHUNK_SECONDS", seconds)


class InterruptionError(Exception):
    """Ends a run from within."""


def stopping_after(chunks, told):
    """A progress function that ends the run in this chunk, before its checkpoint is written."""
    calls = itertools.count(1)

    def progress(count, _):
        told.append(count)
        if next(calls) == chunks:
            raise InterruptionError

    return progress
