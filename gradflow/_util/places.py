"""Folders that gradflow writes to by itself: what commands keep, and what they bring forth."""

import os
from pathlib import Path

HOME = "GRADFLOW_HOME"
"""Environment variable: the folder of results, instead of `results` in the current one."""


def cache() -> Path:
    """What can be made again: compiled programs, the catalogue. Other programs' rules hold."""
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(own) / "gradflow"


def results() -> Path:
    """Where commands put verdicts, cells and pictures unless they are told otherwise."""
    return Path(os.environ.get(HOME) or "results")


def experiments() -> Path:
    """Where experiments keep their cells and pictures, likewise."""
    return results() / "experiments"
