"""How a descent stops, at which iteration."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.gradflow.descent.problems import OBJECTIVE, OBSERVE, START, numpy_loss, numpy_run, sgd
from tests.helpers import chain, in_mode, refuses


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


def oscillating(rate):
    return optax.sgd(rate, momentum=0.95)


@pytest.mark.parametrize("looks", [(1, 1), (7, 1), (1, 5), (7, 3)])
def test_it_looks_now_and_then_and_stops_at_so_many_looks_in_a_row(looks):
    """The loss falls and rises, so that looks in a row are not all looks."""
    every, times = looks
    asked = {"learning_rate": 0.02, "max_steps": 400, "observe": ["loss"]}
    losses = gf.run_descent(OBJECTIVE, START, oscillating, record=np.arange(400), **asked)["loss"]
    target, hits, first = float(np.quantile(losses[:100], 0.2)), 0, 0
    low = losses <= target
    assert not np.all(low[np.argmax(low) :][:100])
    for k in range(every, 400, every):
        hits = hits + 1 if low[k] else 0
        if hits == times:
            first = k
            break
    runs = gf.run_descents(
        OBJECTIVE, [START, START], oscillating, stop_loss=target, stop_looks=looks, **asked
    )
    for run in runs:
        assert run.outcome is Outcome.REACHED_LOSS
        assert run.stats["steps"] == first > 0
        assert run.config["stop_looks"] == list(looks)


@pytest.mark.parametrize(
    ("looks", "loss", "message"),
    [((0, 3), 1.0, "every"), ((100, 0), 1.0, "times"), ((100, 3), None, "no stop_loss")],
)
def test_looks_out_of_range_are_refused(looks, loss, message):
    with pytest.raises(ValueError, match=message):
        gf.run_descent(
            OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=400, stop_loss=loss,
            stop_looks=looks,
        )  # fmt: skip


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e-11), (np.float64, 1e-85)])
def test_gradients_whose_squares_underflow_have_a_norm(dtype, scale):
    objective = gf.astype(OBJECTIVE, dtype)
    start = tuple((scale * np.asarray(f)).astype(dtype) for f in START)
    slopes = [np.asarray(g, np.longdouble) for g in objective.gradient(start)]
    norm = np.sqrt(sum(np.sum(g * g) for g in slopes))
    assert 0 < norm < np.sqrt(np.finfo(dtype).tiny)
    ends = {}
    for share in (0.5, 2.0):
        run = gf.run_descent(
            objective, start, optax.sgd, learning_rate=0.05, max_steps=3,
            stop_gradient=float(share * norm),
        )  # fmt: skip
        np.testing.assert_allclose(run["gradient_norm"][0], float(norm), rtol=1e-5)
        ends[share] = run.outcome
    assert ends == {0.5: Outcome.OUT_OF_STEPS, 2.0: Outcome.REACHED_GRADIENT_NORM}


def test_a_single_run_stops_at_one_loss():
    refuses(
        lambda: gf.run_descent(
            OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=3, stop_loss=[0.5, 0.1]
        ),
        "[0.5, 0.1]",
        "run_descents",
    )


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_loss_that_falls_to_minus_infinity_has_diverged(mode, monkeypatch):
    in_mode(monkeypatch, mode)
    problem = gf.LossFunction((2, 2), lambda w: -jnp.sum(w**2))
    objective = gf.Objective(problem, gf.MatrixProduct((2, 2)))
    runs = gf.run_descents(
        objective, [(np.eye(2),)] * 2, optax.sgd, learning_rate=0.5, max_steps=2000,
        stop_loss=[None, 1e-3],
    )  # fmt: skip
    assert runs[0].outcome is Outcome.DIVERGED and runs[0]["loss"][-1] == -np.inf
    assert runs[1].outcome is Outcome.REACHED_LOSS and len(runs[1]) == 1
