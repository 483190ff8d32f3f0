import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gradflow import sweeps
from gradflow.sweeps.heartbeat import in_flight
from gradflow.sweeps.store import Store
from tests import processes
from tests.gradflow.sweeps.test_store import contents
from tests.processes import PATIENCE, session, wait_until

OWN = Path(__file__).with_name("own_sweep.py")
# A cell takes a second or two, and keeps its state every 0.2 s instead of every 30.
OFTEN = f"""
import functools
from pathlib import Path

import gradflow.sweeps.job
from gradflow.sweeps.registry import load_file
from gradflow.descent.checkpoint import Checkpoint

gradflow.sweeps.job.Checkpoint = functools.partial(Checkpoint, seconds=0.2)
load_file(Path({str(OWN)!r}))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def long_grid(steps, seeds):
    return {"rates": (0.1, 0.05), "seeds": seeds, "steps": steps, "stop_loss": 1e-300}


SHORT, LONG = long_grid(2_000_000, (0,)), long_grid(20_000_000, (0, 1, 2))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a store of a grid holds after a run without any kill."""
    found = {}

    def compute(grid):
        if str(grid) not in found:
            out = tmp_path_factory.mktemp("undisturbed")
            sweeps.run("own.sweep", out=out, module=OWN, jobs=1, show=False, **grid)
            found[str(grid)] = contents(out / "own.sweep")
        return found[str(grid)]

    return compute


@pytest.fixture
def often(tmp_path):
    file = tmp_path / "often.py"
    file.write_text(OFTEN)
    return file


def begin(out, module, grid):
    """The command in a session of its own."""
    words = []
    for name, value in grid.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return processes.begin(
        "run", "own.sweep", "--module", module, "--out", out, "--jobs", 2, *words,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process):
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told.decode()
    return told.decode()


def end(process):
    """End whatever is left of a session."""
    for one in session(process.pid):
        os.kill(one, signal.SIGKILL)
    process.communicate()


def disturb(out, module, grid, wanted, kills, pause):
    """Kill runs at random moments, each going on with what is there; check what comes out.

    Returns how many kills found a run with a checkpoint.
    """
    rng, store = np.random.default_rng(), Store(out / "own.sweep")
    done, saved = 0, 0
    for k in itertools.count():
        process = begin(out, module, grid)
        try:
            if k % 3:  # each third one is killed at any moment, the start of Python included
                wait_until(
                    lambda p=process: in_flight(store.folder, 1.0) or p.poll() is not None, "cells"
                )
            time.sleep(rng.uniform(0, pause))
            if process.poll() is None:
                if k % 2:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
                    process.wait()
                    # Workers see that they are orphans; a process just started may need longer.
                    limit = time.monotonic() + 30
                    while session(process.pid) and time.monotonic() < limit:
                        time.sleep(0.05)
                    assert session(process.pid) == []
                done += process.wait() == -signal.SIGKILL
                saved += bool(store.checkpoints())
            else:
                finish(process)
        finally:
            end(process)
        if done == kills:
            break
        if store.names() == set(wanted):  # all is there before the last kill
            assert contents(store.folder) == wanted
            shutil.rmtree(out)
    told = finish(begin(out, module, grid))
    assert "failed" not in told and "Note" not in told
    assert contents(store.folder) == wanted
    assert store.checkpoints() == set() and not list(store.folder.glob("live/*.json"))
    return saved


def test_kills_change_no_bit(often, undisturbed, tmp_path):
    disturb(tmp_path / "out", often, SHORT, undisturbed(SHORT), kills=1, pause=1.5)


@pytest.mark.slow
def test_many_kills_change_no_bit(often, undisturbed, tmp_path):
    assert disturb(tmp_path / "out", often, LONG, undisturbed(LONG), kills=20, pause=4.0) > 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_and_says_so(number, often, tmp_path):
    process = begin(tmp_path / "out", often, LONG)
    try:
        store = Store(tmp_path / "out" / "own.sweep")
        wait_until(lambda: in_flight(store.folder, 5.0), "cells")
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        told, _ = process.communicate(timeout=30)
        assert process.returncode == 128 + number
        assert told.decode().splitlines()[-1] == "gradflow: stopped; what was finished is kept."
        wait_until(lambda: session(process.pid) == [], "workers to end")
    finally:
        end(process)


def kill_first_worker(folder):
    """In a thread: kill the process of the first cell in flight that is not ours."""

    def kill():
        notes = wait_until(lambda: in_flight(folder), "cells in flight")
        os.kill(int(notes[0]["worker"].split(":")[1]), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_killed_worker_is_noticed_and_its_cell_done_again(undisturbed, tmp_path):
    killer = kill_first_worker(tmp_path / "own.sweep")
    report = sweeps.run("own.sweep", out=tmp_path, module=OWN, jobs=2, show=False, **SHORT)
    killer.join()
    assert (report.done, report.failures) == (len(SHORT["rates"]) * len(SHORT["seeds"]), {})
    assert any("A worker died" in note and "begun again" in note for note in report.notes)
    assert contents(tmp_path / "own.sweep") == undisturbed(SHORT)


@pytest.mark.slow
def test_cells_that_end_their_process_cost_no_other(tmp_path):
    report = sweeps.run(
        "own.sweep", out=tmp_path, module=OWN, jobs=2, show=False, scale="quick",
        seeds=tuple(range(6)), ending=(0, 4),
    )  # fmt: skip
    assert report.done == 8
    assert len(report.failures) == 4
    assert all("Its worker died 3 times" in text for text in report.failures.values())
    assert not list((tmp_path / "own.sweep" / "checkpoints").glob("*.part"))


@pytest.mark.slow
def test_an_interrupt_from_the_keyboard_keeps_what_is_finished(often, undisturbed, tmp_path):
    process = begin(tmp_path / "out", often, LONG)
    store = Store(tmp_path / "out" / "own.sweep")
    try:
        wait_until(store.names, "a finished cell")
        os.killpg(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert "stopped; what was finished is kept" in told.decode()
        assert "Traceback" not in told.decode()
        wait_until(lambda: not session(process.pid), "the end of all its processes")
    finally:
        end(process)
    assert store.names()
    finish(begin(tmp_path / "out", often, LONG))
    assert contents(store.folder) == undisturbed(LONG)
