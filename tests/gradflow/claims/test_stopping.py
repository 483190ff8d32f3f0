"""`gradflow check` is stopped: it ends soon, its workers too, and what was finished is kept."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests import processes
from tests.helpers import status
from tests.processes import session, wait_until

# One claim ends at once, the next never does: in Python, or in compiled code, which no exception
# interrupts.
ENDLESS = """
import time
import jax
import numpy as np
from gradflow.claims import Case, claim

@claim("own.quick", kind="inequality", statement="x", where="here", control={"sign": -1.0})
def quick(settings, sign=1.0):
    yield Case("all", slack=sign * np.ones(3), floor=1e-15, hypotheses={"finite": True})

@claim("own.slow", kind="inequality", statement="x", where="here", control={"sign": -1.0})
def slow(settings, sign=1.0):
    print("has begun", flush=True)
    WORK
    yield Case("all", slack=sign * np.ones(3), floor=1e-15, hypotheses={"finite": True})
"""
WORK = {
    "python": "time.sleep(1000)",
    "compiled": "jax.jit(lambda x: jax.lax.while_loop(lambda y: y > -1, lambda y: y + 1e-9, x))"
    "(0.0).block_until_ready()",
}

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@pytest.fixture
def begin(tmp_path):
    """Start a check in a session of its own, and wait until its endless claim runs."""
    begun = []

    def start(work, jobs, *ids):
        (tmp_path / "endless.py").write_text(ENDLESS.replace("WORK", WORK[work]))
        (tmp_path / "a.json").write_text("before")
        process = processes.begin(
            "check", *ids, "own", "--jobs", jobs, "--module", tmp_path / "endless.py",
            "--json", tmp_path / "a.json",
            stdout=(tmp_path / "out").open("wb"), stderr=(tmp_path / "err").open("wb"),
        )  # fmt: skip
        begun.append(process)
        wait_until(lambda: "has begun" in (tmp_path / "out").read_text(), "a claim to begin")
        return process

    yield start
    for process in begun:
        for one in session(process.pid):
            os.kill(one, signal.SIGKILL)
        process.wait()


def ended(process, code, folder):
    """What a stopped check says, once it and its workers have ended."""
    assert process.wait(20) == code
    wait_until(lambda: session(process.pid) == [], "all processes to end", 20)
    assert (folder / "a.json").read_text() == "before"
    (line,) = (folder / "err").read_text().splitlines()
    return line


def kept(folder):
    return [row["id"] for row in json.loads((folder / "a.stopped.json").read_text())]


@pytest.mark.parametrize(
    ("work", "number"),
    [
        ("compiled", signal.SIGINT),
        pytest.param("compiled", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("python", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("python", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_check_in_this_process(work, number, begin, tmp_path):
    process = begin(work, 1)
    os.killpg(process.pid, number)
    line = ended(process, 128 + number, tmp_path)
    assert line.startswith("gradflow: stopped; 1 of 2 claims were checked; their verdicts are in ")
    assert kept(tmp_path) == ["own.quick"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_in_two_processes(number, begin, tmp_path):
    process = begin("compiled", 2, "razin2020.prop4")
    wait_until(lambda: "prop4: holds" in (tmp_path / "out").read_text(), "a verdict")
    if number == signal.SIGINT:  # as a terminal does, which tells all processes
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    line = ended(process, 128 + number, tmp_path)
    assert line.startswith("gradflow: stopped; 1 of 3 claims were checked; their verdicts are in ")
    assert kept(tmp_path) == ["razin2020.prop4"]


@pytest.mark.slow
def test_workers_end_with_a_check_that_is_killed_and_verdicts_are_kept(begin, tmp_path):
    process = begin("compiled", 2, "razin2020.prop4")
    assert len(session(process.pid)) >= 3
    wait_until(lambda: "prop4: holds" in (tmp_path / "out").read_text(), "a verdict")
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    wait_until(lambda: session(process.pid) == [], "all processes to end", 20)
    assert kept(tmp_path) == ["razin2020.prop4"]


def test_a_check_that_comes_to_its_end_leaves_no_part_of_a_ledger(tmp_path):
    (tmp_path / "a.stopped.json").write_text("of an earlier check that was stopped")
    assert status("check", "razin2020.prop4", "--json", tmp_path / "a.json", "--jobs", 1) == 0
    assert [path.name for path in tmp_path.glob("*.json")] == ["a.json"]
