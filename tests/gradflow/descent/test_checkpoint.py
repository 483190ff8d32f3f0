"""Checkpoints: a run that was stopped and goes on ends with the same bits."""

import itertools

import jax
import optax
import pytest

import gradflow as gf
from gradflow.trajectory import Outcome
from tests.gradflow.descent.runs import (
    OBSERVE,
    RULES,
    InterruptionError,
    assert_same_bits,
    chunks_of,
    descend,
    stopping_after,
)
from tests.helpers import in_mode, watch_lanes

ALL = pytest.mark.parametrize(("d", "rule"), list(itertools.product([2, 12], RULES)))


@ALL
def test_where_chunks_end_changes_no_bit(d, rule, monkeypatch):
    runs, ends = [], []
    for first, seconds in [(10**6, 100.0), (256, 0.5), (7, 1e-4), (1, 1e-9)]:
        chunks_of(monkeypatch, first, seconds)
        told = []
        runs.append(descend(d, rule, progress=lambda count, _, told=told: told.append(count)))
        ends.append(told)
    assert ends[0] == [500]
    assert len(ends[-1]) > 200
    for run in runs[1:]:
        assert_same_bits(run, runs[0])


def until_done(call, chunks):
    """What `call` gives with a progress function that ends it again and again."""
    stops, begins = 0, []
    while True:
        told = []
        try:
            result = call(stopping_after(chunks, told))
        except InterruptionError:
            stops += 1
        else:
            return result, stops
        finally:
            begins.append(told[0])
            assert begins == sorted(set(begins))  # each goes on behind the one before


@ALL
def test_an_interrupted_run_ends_with_the_same_bits(d, rule, monkeypatch, tmp_path):
    undisturbed = descend(d, rule)
    chunks_of(monkeypatch, 1, 1e-9)
    kept = gf.Checkpoint(tmp_path / "run.npz", seconds=1e-9)
    run, stops = until_done(lambda told: descend(d, rule, checkpoint=kept, progress=told), 60)
    assert stops > 3
    assert_same_bits(run, undisturbed)


@pytest.mark.parametrize(
    ("asked", "outcome", "chunks"),
    [
        ({"stop_loss": 0.2}, Outcome.REACHED_LOSS, 5),
        ({"learning_rate": 3.0}, Outcome.DIVERGED, 3),
        ({"record": range(500)}, Outcome.OUT_OF_STEPS, 60),
    ],
    ids=["stop", "divergence", "many records"],
)
def test_stops_and_records_are_the_same_after_an_interruption(
    asked, outcome, chunks, monkeypatch, tmp_path
):
    undisturbed = descend(2, "sgd", **asked)
    assert undisturbed.outcome is outcome
    chunks_of(monkeypatch, 1, 1e-9)
    kept = gf.Checkpoint(tmp_path / "run.npz", seconds=1e-9)
    run, stops = until_done(
        lambda told: descend(2, "sgd", checkpoint=kept, progress=told, **asked), chunks
    )
    assert stops > 0
    assert_same_bits(run, undisturbed)


def test_a_finished_run_is_not_run_again(tmp_path):
    kept = gf.Checkpoint(tmp_path / "run.npz", seconds=1e-9)
    run, told = descend(2, "sgd", checkpoint=kept), []
    assert_same_bits(descend(2, "sgd", checkpoint=kept, progress=lambda *a: told.append(a)), run)
    assert told == []


@pytest.mark.parametrize("seconds", [1e-9, 1e6], ids=["always", "never"])
def test_the_file_is_written_as_often_as_asked(seconds, tmp_path):
    path = tmp_path / "run.npz"
    undisturbed = descend(2, "adam")
    assert_same_bits(descend(2, "adam", checkpoint=gf.Checkpoint(path, seconds)), undisturbed)
    assert [file.name for file in tmp_path.iterdir()] == (["run.npz"] if seconds < 1 else [])


# Batches: one run reaches the loss at once, one diverges, one stops later, one never does.
RATES = [0.2, 3.0, 0.1, 1e-4]


def descend_together(**asked):
    model = gf.MatrixProduct.of((2, 2), 3)
    starts = [
        gf.gaussian_factors(jax.random.key(k), model.sizes, std=std)
        for k, std in [(1, 0.5), (2, 0.7), (3, 0.5), (4, 0.5)]
    ]
    objectives = [
        gf.Objective(gf.MatrixCompletion((2, 2), [[0, 1], [1, 0], [1, 1]], [x, 1.0, 0.0]), model)
        for x in (1.0, 0.8, 0.6, 0.4)
    ]
    return gf.run_descents(
        objectives, starts, optax.sgd, learning_rates=RATES, steps=300, stop_loss=0.05,
        observe=OBSERVE, **asked,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_batch_goes_on_where_some_of_its_runs_are_done(mode, monkeypatch, tmp_path):
    in_mode(monkeypatch, mode)
    lanes = watch_lanes(monkeypatch)
    # The same chunks in both, so the same runs side by side: no bit may differ in either mode.
    chunks_of(monkeypatch, 64, 1e-9)
    undisturbed = descend_together()
    assert [run.outcome for run in undisturbed] == [
        Outcome.REACHED_LOSS,
        Outcome.DIVERGED,
        Outcome.REACHED_LOSS,
        Outcome.OUT_OF_STEPS,
    ]
    if mode == "vmap":
        assert {4, 1} <= set(lanes)
    lanes.clear()
    path = tmp_path / "runs.npz"
    kept = gf.Checkpoint(path, seconds=1e-9)
    batch, stops = until_done(lambda told: descend_together(checkpoint=kept, progress=told), 40)
    assert stops > 3
    for run, wanted in zip(batch, undisturbed, strict=True):
        assert_same_bits(run, wanted)
    if mode == "vmap":  # taken out before an interruption, and still there after it
        assert lanes[0] == 4
        assert lanes.count(1) > 40
