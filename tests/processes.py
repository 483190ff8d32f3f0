"""Processes that tests start: what of a session lives, and waiting for what they come to."""

import time
from pathlib import Path

PATIENCE = 300.0  # seconds, for a machine that does much else


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
