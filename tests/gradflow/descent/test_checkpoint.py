"""Checkpoints: a run that was stopped and goes on ends with the same bits; others are refused."""

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent import batch as batches
from gradflow.descent.checkpoint import Keeper
from gradflow.trajectory import Outcome
from tests.helpers import in_mode, watch_lanes

ROOT = Path(__file__).resolve().parents[3]
OBSERVE = ["loss", "product"]
RULES = {
    "sgd": (optax.sgd, 0.05, None),
    "adam": (optax.adam, 0.01, None),
    "penalised": (optax.sgd, 0.05, gf.NuclearFrobeniusRatio(0.01)),
}
ALL = pytest.mark.parametrize(("d", "rule"), list(itertools.product([2, 12], RULES)))


def problem_of(d):
    if d == 2:
        return gf.synthetic.norm_blowup()
    return gf.synthetic.matrix_completion(jax.random.key(0), (d, d), 2, d * d // 2, norm=2.0)


def descend(d, rule, **asked):
    optimizer, rate, penalty = RULES[rule]
    model = gf.MatrixProduct.of((d, d), 3)
    start = model.gaussian(jax.random.key(1), std=0.5 / d**0.5)
    asked = {"steps": 500, "record": [1, 10, 123, 400], "learning_rate": rate} | asked
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


# Chunks


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


# Stopped and gone on


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
        model.gaussian(jax.random.key(k), std=std)
        for k, std in [(1, 0.5), (2, 0.7), (3, 0.5), (4, 0.5)]
    ]
    objectives = [
        gf.Objective(gf.MatrixCompletion((2, 2), [[0, 1], [1, 0], [1, 1]], [x, 1.0, 0.0]), model)
        for x in (1.0, 0.8, 0.6, 0.4)
    ]
    return gf.run_descents(
        objectives, starts, optax.sgd, learning_rate=RATES, max_steps=300, stop_loss=0.05,
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


# Kills


def descend_slowly(path):
    """In a process of its own, to be killed: about 5 s of many short chunks."""
    batches._CHUNK_SECONDS = 1e-3
    return long_descent(gf.Checkpoint(path, 0.01), lambda *_: time.sleep(0.02))


def long_descent(checkpoint=None, progress=False):
    return descend(
        2, "sgd", steps=500_000, learning_rate=1e-3, record=range(0, 500_000, 5000),
        checkpoint=checkpoint, progress=progress,
    )  # fmt: skip


def descend_and_die_while_writing(path, last):
    """A kill tears the file with this number."""
    savez, calls = np.savez, itertools.count(1)

    def torn(file, **arrays):
        whole = io.BytesIO()
        savez(whole, **arrays)
        content = whole.getvalue()
        if next(calls) == last:
            file.write(content[: len(content) // 2])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        file.write(content)

    np.savez = torn
    descend_slowly(path)


def in_a_process(call):
    code = f"from tests.gradflow.descent.test_checkpoint import *; {call}"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


def test_a_process_killed_while_writing_goes_on_with_the_same_bits(tmp_path):
    path = tmp_path / "run.npz"
    last = int(np.random.default_rng().integers(2, 20))
    process = in_a_process(f"descend_and_die_while_writing({str(path)!r}, {last})")
    begun = []
    undisturbed = long_descent(progress=lambda count, _: begun.append(count))
    assert process.wait() == -signal.SIGKILL
    torn = [file for file in tmp_path.iterdir() if file != path]
    assert [file.suffix for file in torn] == [".part"]
    told = []
    run = long_descent(gf.Checkpoint(path), lambda count, _: told.append(count))
    assert told[0] > begun[0] == 0  # it did not begin anew, with the record at 0
    assert_same_bits(run, undisturbed)


@pytest.mark.slow
def test_six_kills_at_random_moments(tmp_path):
    """Some come while Python starts or compiles, some on the way, some while writing."""
    path, result = tmp_path / "run.npz", tmp_path / "result.nc"
    call = f"descend_slowly({str(path)!r}).save({str(result)!r})"
    kills, rng = 0, np.random.default_rng()
    while not result.exists():
        written = path.stat().st_mtime_ns if path.exists() else 0
        process = in_a_process(call)
        if kills % 4:  # the others may be killed before they have done anything
            while process.poll() is None and not (
                path.exists() and path.stat().st_mtime_ns > written
            ):
                time.sleep(0.01)
        try:
            patience = rng.uniform(0, 2) if kills < 6 else None
            assert process.wait(timeout=patience) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            kills += process.wait() == -signal.SIGKILL
    assert kills > 1
    assert_same_bits(gf.Trajectory.load(result), long_descent())


def test_a_failed_writing_leaves_the_file_before(monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    chunks_of(monkeypatch, 16, 1e-9)
    undisturbed = descend(2, "sgd")
    written = []

    def full(file, **arrays):
        if written:
            file.write(b"half")
            raise OSError("No space left on device")
        np_savez(file, **arrays)
        written.append(None)

    np_savez = np.savez
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            descend(2, "sgd", checkpoint=gf.Checkpoint(path, 1e-9))
    assert list(tmp_path.iterdir()) == [path]
    assert_same_bits(descend(2, "sgd", checkpoint=gf.Checkpoint(path)), undisturbed)


# Refusals

MODEL = gf.MatrixProduct.of((2, 2), 2)
OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), MODEL)
PENALISED = gf.Objective(gf.synthetic.norm_blowup(), MODEL, gf.NuclearNorm(0.1))
HEAVIER = gf.Objective(gf.synthetic.norm_blowup(), MODEL, gf.NuclearNorm(0.2))
OTHER_DATA = gf.Objective(
    gf.MatrixCompletion((2, 2), [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.5]), MODEL
)
START, OTHER_START = (MODEL.identity(scale) for scale in (0.1, 0.2))
PLAIN = {"objective": OBJECTIVE, "start": START, "optimizer": optax.sgd, "learning_rate": 0.01}
PLAIN |= {"steps": 2000, "observe": OBSERVE}
MADE = {"optimizer": optax.sgd(0.01), "learning_rate": None}


def heavy_ball(momentum):
    return {"optimizer": lambda rate: optax.sgd(rate, momentum=momentum)}


def seen(factor):
    return {"observe": {"seen": lambda state: factor * state.product}}


# Same steps, records and observables by name where nothing else is said.
OTHERS = {
    "rate": ({}, {"learning_rate": 0.011}),
    "rate, in the tenth digit": ({}, {"learning_rate": np.float64(0.01 + 1e-12)}),
    "rate of a made optimizer": (MADE, {"optimizer": optax.sgd(0.02)}),
    "kind of a made optimizer": (MADE, {"optimizer": optax.adam(0.01)}),
    "momentum": (heavy_ball(0.9), heavy_ball(0.8)),
    "start": ({}, {"start": OTHER_START}),
    "steps": ({}, {"steps": 2001}),
    "data": ({}, {"objective": OTHER_DATA}),
    "weight": ({"objective": PENALISED}, {"objective": HEAVIER}),
    "stop_loss": ({}, {"stop_loss": 1e-9}),
    "records": ({}, {"record": [7]}),
    "observables": ({}, {"observe": ["loss"]}),
    "observables of one name": (seen(1.0), seen(2.0)),
}


def interrupted(path, **asked):
    """Leave the checkpoint of a run that was ended in its third chunk."""
    with pytest.raises(InterruptionError):
        gf.run_descent(
            **PLAIN | asked, checkpoint=gf.Checkpoint(path, 1e-9), progress=stopping_after(3, [])
        )
    return path.read_bytes()


@pytest.mark.parametrize("case", OTHERS)
def test_the_checkpoint_of_another_run_is_refused_and_left(case, monkeypatch, tmp_path):
    written, read = OTHERS[case]
    path = tmp_path / "run.npz"
    chunks_of(monkeypatch, 16, 1e-9)
    content = interrupted(path, **written)
    with pytest.raises(ValueError, match=r"run\.npz is the checkpoint of another run; delete it"):
        gf.run_descent(**PLAIN | written | read, checkpoint=gf.Checkpoint(path, 1e-9))
    assert path.read_bytes() == content


def test_the_checkpoint_of_another_batch_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    chunks_of(monkeypatch, 16, 1e-9)
    interrupted(path)
    asked = {"steps": 2000, "learning_rates": 0.01, "observe": OBSERVE}
    with pytest.raises(ValueError, match="of another run"):
        gf.run_descents(
            OBJECTIVE, [START, START], optax.sgd, **asked, checkpoint=gf.Checkpoint(path)
        )


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


DAMAGED = {
    "empty": lambda content: b"",
    "text": lambda content: b"no checkpoint at all\n" * 100,
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut at the end": lambda content: content[:-1],
    "zeros inside": lambda content: content[:200] + bytes(400) + content[600:],
    "another archive": lambda content: npz(a=np.ones(3)),
    "another archive, alike": lambda content: npz(about=np.array("[]")),
    "an array": lambda content: npy(np.ones(3)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_checkpoint_is_refused_and_left(case, monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    chunks_of(monkeypatch, 16, 1e-9)
    content = DAMAGED[case](interrupted(path))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.npz cannot be read as a checkpoint .*; delete it"):
        gf.run_descent(**PLAIN, checkpoint=gf.Checkpoint(path, 1e-9))
    assert path.read_bytes() == content


def test_a_changed_byte_is_found_or_does_no_harm(tmp_path):
    """The archive's checksums cover its content; dates and the like may change."""
    path = tmp_path / "run.npz"
    keeper = Keeper(gf.Checkpoint(path), "key")
    state = {"a": np.arange(5.0), "b": np.arange(4).reshape(2, 2)}
    plain = {"position": 3, "going": [0, 2]}
    keeper.write(state, plain)
    content, refused = path.read_bytes(), 0
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            leaves, found = keeper.read()
        except ValueError:
            refused += 1
            continue
        assert found == plain
        for leaf, wanted in zip(leaves, (state["a"], state["b"]), strict=True):
            np.testing.assert_array_equal(leaf, wanted)
    assert refused > len(content) / 2


def test_a_missing_folder_is_refused(tmp_path):
    path = tmp_path / "none" / "run.npz"
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        gf.run_descent(**PLAIN, checkpoint=gf.Checkpoint(path))
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("run.npz", r"must be a gradflow.Checkpoint\(path\), but it is 'run.npz'"),
        (gf.Checkpoint(Path("run.npz"), seconds=0.0), "checkpoint.seconds .* above 0"),
    ],
    ids=["no Checkpoint", "no time"],
)
def test_misuse_is_refused_by_value_and_remedy(checkpoint, message):
    with pytest.raises(ValueError, match=message):
        gf.run_descent(**PLAIN, checkpoint=checkpoint)
