"""Runs side by side: what their program does in an iteration, at a record, for the host."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent import batch as batches
from gradflow.descent import loop, run, side_by_side, telling
from gradflow.descent.pace import Pace
from gradflow.descent.rates import Rates
from gradflow.descent.stopping import StopRule
from tests.helpers import in_mode, watch_lanes

RUNS = 7
MODEL = gf.MatrixProduct((5, 3, 4))  # no factor has the shape of the product
PROBLEM = gf.synthetic.matrix_completion(jax.random.key(0), (4, 5), 2, 11)
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
STARTS = [MODEL.gaussian(jax.random.key(k), std=0.5) for k in range(RUNS)]
PAIRS = gf.observables.resolve(["loss", "singular_values"])


def step(optimizer=optax.adam, pairs=PAIRS):
    rule = StopRule(jnp.asarray(1e-3), None, None)
    rates = Rates(jnp.linspace(0.01, 0.02, RUNS))
    return loop.BatchStep(OBJECTIVE, False, optimizer, rates, pairs, rule, "vmap")


def begun(batch_step):
    return batch_step.initialise(jax.tree.map(lambda *x: jnp.stack(x), *STARTS))


def program(function, batch_step):
    """The lowered program of a chunk."""
    chunk = jnp.zeros((2, 4), int)
    lowered = jax.jit(lambda runs: function(batch_step, runs, chunk)).lower(begun(batch_step))
    return lowered.as_text()


def vmapped(batch_step, runs, chunk):
    """The control: every run's own loop, side by side by `jax.vmap`."""
    return jax.vmap(lambda run: loop._one(batch_step.of(loop.Own(rate=run[0])), run[1], chunk))(
        (batch_step.rates, runs)
    )


def choices(text, shape):
    """Places where a program chooses between arrays of this shape."""
    text = re.sub(r"func private @_where.*?\n  }", "", text, flags=re.DOTALL)  # where it is called
    kind = re.escape("x".join(map(str, shape)))
    return len(
        re.findall(rf"(?:call @_where|= stablehlo\.select).*tensor<{kind}xf64>$", text, re.M)
    )


@pytest.mark.parametrize(("optimizer", "carried"), [(optax.sgd, 0), (optax.adam, 2)])
def test_an_iteration_chooses_between_what_runs_go_on_with_and_nothing_else(optimizer, carried):
    ours = program(side_by_side.through, step(optimizer))
    control = program(vmapped, step(optimizer))
    for factor in MODEL.factor_shapes:
        # Ours: in an iteration of a block and in one of the rest, of factors and Adam's averages.
        # The control, in its only one: of gradients as well.
        assert choices(ours, (RUNS, *factor)) == 2 * (1 + carried)
        assert choices(control, (RUNS, *factor)) >= 2 + carried


def test_what_a_stopped_run_would_go_on_with_is_that_of_its_end(monkeypatch):
    asked = {"learning_rate": np.linspace(0.05, 0.3, RUNS).tolist(), "max_steps": 130,
             "record": [40], "stop_loss": 0.5, "observe": ["loss"]}  # fmt: skip
    alone = gf.run_descents(OBJECTIVE, STARTS, optax.adam, **asked)
    in_mode(monkeypatch, "vmap")
    together = gf.run_descents(OBJECTIVE, STARTS, optax.adam, **asked)
    assert len({run.stats["steps"] for run in alone}) > 2
    for one, other in zip(alone, together, strict=True):
        assert one.state.keys() == other.state.keys()
        for name in one.state:
            np.testing.assert_allclose(other.state[name], one.state[name], rtol=1e-9, atol=1e-12)


def test_records_are_taken_of_all_runs_under_one_condition():
    """Singular values are taken in the branch of a condition; the control takes them anyway."""
    for function, places in [(side_by_side.through, (0, 1)), (vmapped, (1, 0))]:
        outside, *inside = program(function, step()).split('"stablehlo.case"')
        assert (outside.count("call @svd"), sum(x.count("call @svd") for x in inside)) == places


@pytest.mark.parametrize("optimizer", [optax.adam, optax.sgd])
def test_stops_and_records_between_blocks(optimizer, monkeypatch):
    """Marks before, at and behind the end of a block, and runs that stop inside one."""
    marks = [1, 15, 16, 17, 40, 100]
    asked = {"learning_rate": np.linspace(0.05, 0.3, RUNS).tolist(), "max_steps": 130,
             "record": marks, "stop_loss": 0.5, "observe": ["loss", "product"]}  # fmt: skip
    wanted = gf.run_descents(OBJECTIVE, STARTS, optimizer, **asked)
    assert len({one.stats["steps"] for one in wanted}) > 3
    in_mode(monkeypatch, "vmap")
    for one, other in zip(
        gf.run_descents(OBJECTIVE, STARTS, optimizer, **asked), wanted, strict=True
    ):
        assert one.outcome is other.outcome
        np.testing.assert_array_equal(one.times, other.times)
        np.testing.assert_allclose(one["product"], other["product"], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(one.final["W_2"], other.final["W_2"], rtol=1e-11, atol=1e-13)


def test_looks_in_a_row_and_gradients_stop_runs_side_by_side(monkeypatch):
    asked = {"learning_rate": 0.2, "max_steps": 400, "observe": ["loss"]}
    stops = [{"stop_loss": 0.5, "stop_looks": (7, 2)}, {"stop_gradient": 0.1}]
    wanted = [gf.run_descents(OBJECTIVE, STARTS, optax.sgd, **asked, **stop) for stop in stops]
    in_mode(monkeypatch, "vmap")
    for stop, runs in zip(stops, wanted, strict=True):
        found = gf.run_descents(OBJECTIVE, STARTS, optax.sgd, **asked, **stop)
        assert [one.stats["steps"] for one in found] == [one.stats["steps"] for one in runs]
        assert [one.outcome for one in found] == [one.outcome for one in runs]


# The host


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_the_host_does_as_much_for_many_runs_as_for_few(mode, monkeypatch):
    """Counted: transfers, and what is said of objective, optimiser and machine."""
    counts = {}

    def counted(place, name):
        original = getattr(place, name)

        def wrapped(*args, **words):
            counts[name] = counts.get(name, 0) + 1
            return original(*args, **words)

        monkeypatch.setattr(place, name, wrapped)

    in_mode(monkeypatch, mode)
    monkeypatch.setattr(batches, "_grow", lambda *_: 1000)
    for place, name in [(jax, "device_get"), (telling, "describe"), (telling, "provenance"),
                        (run, "describe_function")]:  # fmt: skip
        counted(place, name)
    found = []
    for times in (1, 6):
        counts.clear()
        gf.run_descents(
            OBJECTIVE, STARTS * times, optax.sgd, learning_rate=0.1, max_steps=50,
            record=[1, 7], observe=["loss"],
        )  # fmt: skip
        found.append(dict(counts))
    assert found[0] == found[1]
    assert found[0]["describe"] == found[0]["provenance"] == found[0]["describe_function"] == 1
    assert found[0]["device_get"] <= 2 + len(MODEL.factor_shapes)


def test_short_memory_is_told_of(monkeypatch):
    def short(self, *args):
        jnp.zeros(2**50, jnp.uint8).block_until_ready()

    monkeypatch.setattr(loop.BatchStep, "advance", short)
    with pytest.raises(MemoryError, match=r"for 7 runs at once; give fewer"):
        gf.run_descents(OBJECTIVE, STARTS, optax.sgd, learning_rate=0.1, max_steps=5)


def test_a_batch_in_one_piece_keeps_its_runs_apart(monkeypatch):
    """Configurations and arrays are each run's own."""
    lanes = watch_lanes(monkeypatch)
    first, second, *_ = gf.run_descents(
        OBJECTIVE, STARTS, optax.sgd, learning_rate=0.1, max_steps=5, observe=["loss"]
    )
    assert lanes[0] == RUNS
    first.config["objective"]["shape"].append(9)
    assert second.config["objective"]["shape"] == [4, 5]
    assert not np.shares_memory(first["loss"], second["loss"])


def test_the_time_of_records_is_told_from_that_of_iterations():
    pace = Pace()
    assert pace.of_iterations(10, 32, 9.0) == 9.0  # with the compiler's
    assert pace.of_iterations(100, 32, 0.1 + 3.2) == pytest.approx(3.3)  # there is one kind only
    for iterations, records in [(50, 1), (400, 32), (300, 7)]:
        seconds = 0.001 * iterations + 0.1 * records
        told = pace.of_iterations(iterations, records, seconds)
        assert told == pytest.approx(max(0.001 * iterations, seconds / 8), rel=1e-6)
    assert pace.of_iterations(1000, 0, 1.0) == 1.0
