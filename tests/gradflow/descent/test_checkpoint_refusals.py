"""Checkpoints of other runs, damaged ones, misuse."""

import io
from pathlib import Path

import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent.checkpoint import Keeper
from tests.gradflow.descent.runs import OBSERVE, InterruptionError, chunks_of, stopping_after

MODEL = gf.MatrixProduct.of((2, 2), 2)


OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), MODEL)


PENALISED = gf.Objective(gf.synthetic.norm_blowup(), MODEL, gf.NuclearNorm(0.1))


HEAVIER = gf.Objective(gf.synthetic.norm_blowup(), MODEL, gf.NuclearNorm(0.2))


OTHER_DATA = gf.Objective(
    gf.MatrixCompletion((2, 2), [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.5]), MODEL
)


START, OTHER_START = (MODEL.identity(scale) for scale in (0.1, 0.2))


PLAIN = {"objective": OBJECTIVE, "start": START, "optimizer": optax.sgd, "learning_rate": 0.01}


PLAIN |= {"max_steps": 2000, "observe": OBSERVE}


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
    "steps": ({}, {"max_steps": 2001}),
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
    asked = {"max_steps": 2000, "learning_rates": 0.01, "observe": OBSERVE}
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
