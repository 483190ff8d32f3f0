"""Damage to stored files of each kind: none may be read as something else, none may hang."""

import multiprocessing
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import gradflow as gf
from gradflow.descent.checkpoint import Broken, Keeper
from gradflow.sweeps.store import Corrupt, Store
from gradflow.trajectory import Outcome, Trajectory

KINDS = ("cell", "checkpoint", "trajectory")
ARRAY = np.random.default_rng(0).normal(size=(40, 3))


def write(kind, folder):
    """Store something; the path, and a function that reads it."""
    if kind == "cell":
        store = Store(folder)
        store.save("a1", xr.Dataset({"x": (("time", "k"), ARRAY)}), {"experiment": "own"})
        return store.path("a1"), lambda: store.load("a1")
    if kind == "checkpoint":
        keeper = Keeper(gf.Checkpoint(folder / "run.npz"), "key")
        keeper.write({"a": ARRAY, "b": np.arange(4)}, {"position": 3})
        return folder / "run.npz", keeper.read
    made = Trajectory(
        times=np.arange(40.0),
        observables={"loss": ARRAY[:, 0], "pair": ARRAY},
        final={"W_1": ARRAY},
        initial={"W_1": ARRAY.T},
        outcome=Outcome.REACHED_LOSS,
        stats={"steps": 3},
        config={"kind": "flow"},
    )
    path = made.save(folder / "run.nc")
    return path, lambda: Trajectory.load(path)


def refused(read):
    """Whether a file is refused in words that name the damage."""
    try:
        read()
    except (Corrupt, Broken, ValueError) as error:
        return "its checksum differs" in str(error)
    return False


def unseen(kind, count, seed):
    """Flip so many bits, one at a time; where that was not refused."""
    with tempfile.TemporaryDirectory() as folder:
        path, read = write(kind, Path(folder))
        content, rng, found = path.read_bytes(), np.random.default_rng(seed), []
        for at in rng.choice(8 * len(content), count, replace=False).tolist():
            flipped = bytearray(content)
            flipped[at // 8] ^= 1 << at % 8
            path.write_bytes(flipped)
            if not refused(read):
                found.append(at)
        return found


def _say(kind, count, seed):
    sys.exit(1 if unseen(kind, count, seed) else 0)


def in_a_child(kind, count, seed, seconds):
    """The exit code of a process that does this; None if it has not ended in time."""
    child = multiprocessing.get_context("spawn").Process(target=_say, args=(kind, count, seed))
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None
    return child.exitcode
