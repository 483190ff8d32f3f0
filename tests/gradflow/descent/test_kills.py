"""Processes that are killed, and disks that fail, while a checkpoint is written."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gradflow as gf
from gradflow._util import sealed
from gradflow.descent import batch as batches
from tests.gradflow.descent.runs import assert_same_bits, chunks_of, descend

ROOT = Path(__file__).resolve().parents[3]


def descend_slowly(path):
    """In a process of its own, to be killed: about 5 s of many short chunks."""
    batches._CHUNK_SECONDS = 1e-3
    return long_descent(gf.Checkpoint(path, 0.01), lambda *_: time.sleep(0.02))


def long_descent(checkpoint=None, progress=False):
    return descend(
        2, "sgd", max_steps=500_000, learning_rate=1e-3, record=range(0, 500_000, 5000),
        checkpoint=checkpoint, progress=progress,
    )  # fmt: skip


def descend_and_die_while_writing(path, last):
    """A kill tears the file with this number."""
    write, calls = sealed._seal, itertools.count(1)

    def torn(digest):
        if next(calls) == last:
            (part,) = Path(path).parent.glob("*.part")
            os.truncate(part, part.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return write(digest)

    sealed._seal = torn
    descend_slowly(path)


def in_a_process(call):
    code = f"from tests.gradflow.descent.test_kills import *; {call}"
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
