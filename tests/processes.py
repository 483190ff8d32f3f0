"""Processes that tests start: what of a session lives, and waiting for what they come to."""

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300.0  # seconds, for a machine that does much else


def begin(*words, **options):
    """The command in a session of its own, which heeds Ctrl-C also where this process ignores it,
    as what a shell runs in the background does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "gradflow.cli", *map(str, words)],
            cwd=ROOT, start_new_session=True, **options,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def session(leader):
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(of) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(condition, what, seconds=PATIENCE):
    """What the condition comes to once it holds."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.02)
    return found
