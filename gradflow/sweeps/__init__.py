"""Experiments as sweeps: grids, runs, a store, pictures, comparisons with what a paper says.

Names are imported on first use, so that a worker can set its device up before JAX comes in.
"""

import importlib
from typing import Any

_WHERE = {
    "Computation": "gradflow.sweeps.job",
    "Descent": "gradflow.sweeps.job",
    "Experiment": "gradflow.sweeps.experiment",
    "Finding": "gradflow.sweeps.experiment",
    "Flow": "gradflow.sweeps.job",
    "Item": "gradflow.sweeps.experiment",
    "Results": "gradflow.sweeps.results",
    "find": "gradflow.sweeps.registry",
    "known": "gradflow.sweeps.registry",
    "load": "gradflow.sweeps.results",
    "register": "gradflow.sweeps.registry",
    "run": "gradflow.sweeps.runner",
}

__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gradflow.sweeps' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
