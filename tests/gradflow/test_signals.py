"""Every command, killed or asked to end at any moment: nothing runs on, no file is half."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests import processes
from tests.gradflow.sweeps.own import OWN
from tests.processes import PATIENCE, session, wait_until

SWEEP = f"own.sweep --module {OWN} --quick --out"
COMMANDS = {
    "check": "check razin2020.prop4 razin2020.lem1 --jobs 2 --json {0}/a.json --html {0}/a.html",
    "report": "report --ledger {0}/ledger.json --html {0}/a.html",
    "list": "list",
    "status": "status own --module {1} --out {0}/store",
    "run": f"run {SWEEP} {{0}}/new --rates 0.1 --seeds 0 1 --jobs 2",
    "plot": f"plot {SWEEP} {{0}}/store --file {{0}}/a.png",
    "compare": f"compare {SWEEP} {{0}}/store --csv {{0}}/a.csv --markdown {{0}}/a.md",
}
WHOLE = {
    ".json": lambda data: bool(json.loads(data)),
    ".html": lambda data: data.rstrip().endswith(b"</html>"),
    ".png": lambda data: data.endswith(b"IEND\xaeB`\x82"),
    ".csv": lambda data: data.count(b"\n") == 5,
    ".md": lambda data: data.startswith(b"| the paper") and data.endswith(b"|\n"),
}
BEFORE = b"before"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a ledger, and a sweep that was run."""
    made = tmp_path_factory.mktemp("signals")
    for words in (f"check razin2020.prop4 --json {made}/ledger.json", f"run {SWEEP} {made}/store"):
        assert finished(begin(words)) == 0
    return made


def begin(words):
    return processes.begin(*words.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(process):
    code = process.wait(PATIENCE)
    assert session(process.pid) == []
    return code


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_stopped_leaves_no_process_and_no_half_file(name, folder):
    words, rng = COMMANDS[name].format(folder, OWN), np.random.default_rng()
    outputs = [Path(word) for word in words.split() if word.startswith(f"{folder}/a.")]
    began = time.perf_counter()
    assert finished(begin(words)) == 0
    takes = time.perf_counter() - began
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) * 3:
        for path in outputs:
            path.write_bytes(BEFORE)
        process = begin(words)
        time.sleep(rng.uniform(0, takes))
        if number == signal.SIGINT:  # as a terminal does, which tells all processes
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        # At Python's start a signal ends it by itself; at the end it may come too late.
        assert process.wait(PATIENCE) in (0, 1, -number, 128 + number)
        wait_until(lambda of=process.pid: session(of) == [], "all processes to end", 30)
        for path in outputs:
            data = path.read_bytes()
            assert data == BEFORE or WHOLE[path.suffix](data), (number, path)
    for path in outputs:
        path.write_bytes(BEFORE)
    assert finished(begin(words)) == 0
    assert all(WHOLE[path.suffix](path.read_bytes()) for path in outputs)
