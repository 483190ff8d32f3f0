"""How a descent stops, at which iteration."""

import math

import jax
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.gradflow.descent.problems import OBJECTIVE, OBSERVE, START, numpy_loss, numpy_run, sgd
from tests.helpers import chain


@pytest.mark.parametrize("target", [0.3, 0.1, 0.031])
def test_it_stops_at_the_very_iteration(target):
    losses = np.array([numpy_loss(f) for f in numpy_run(sgd(0.05), 400)])
    first = int(np.argmax(losses <= target))
    assert 0 < first < 400
    # The wanted iteration is between records.
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=400, stop_loss=target,
        record=[1, 399], observe=OBSERVE,
    )  # fmt: skip
    assert run.outcome is Outcome.REACHED_LOSS
    assert run.times.tolist() == [0, 1, first]
    assert run.stats["steps"] == first
    np.testing.assert_allclose(run["loss"][-1], losses[first], rtol=1e-12)
    np.testing.assert_allclose(chain([run.final[f"W_{k}"] for k in (1, 2, 3)]), run["product"][-1])


def test_it_stops_at_once_where_the_start_is_below_the_loss():
    run = gf.run_descent(
        OBJECTIVE,
        START,
        optax.sgd,
        learning_rate=0.05,
        max_steps=400,
        stop_loss=1e3,
        observe=OBSERVE,
    )
    assert run.outcome is Outcome.REACHED_LOSS
    assert run.times.tolist() == [0]
    np.testing.assert_array_equal(run.final["W_1"], START[0])


def test_divergence_is_detected_at_its_iteration():
    with np.errstate(over="ignore", invalid="ignore"):
        losses = np.array([numpy_loss(f) for f in numpy_run(sgd(5.0), 30)])
    first = int(np.argmax(~(losses < np.inf)))
    assert 1 < first < 30
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=5.0, max_steps=400, record=[399], observe=OBSERVE
    )
    assert run.outcome is Outcome.DIVERGED
    assert run.times.tolist() == [0, first]
    assert not run["loss"][-1] < math.inf


def test_one_iteration():
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=1, observe=OBSERVE
    )
    assert run.times.tolist() == [0, 1]


def test_no_nan_is_made_on_the_way():
    """Not even in place of records that are not due: people look for their own with debug_nans."""
    with jax.debug_nans(True):
        run = gf.run_descent(
            OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=400, stop_loss=1e-2
        )
    assert run.outcome is Outcome.REACHED_LOSS
    assert all(np.all(np.isfinite(values)) for values in run.observables.values())
