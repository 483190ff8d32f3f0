"""The papers' figures and tables as sweeps: grids, runs, a store, pictures, comparisons.

Names are imported on first use, so that a worker can set its device up before JAX comes in.
"""

import importlib
from typing import Any

_WHERE = {
    "Computation": "experiments.work",
    "Descent": "experiments.work",
    "Experiment": "experiments.experiment",
    "Finding": "experiments.experiment",
    "Flow": "experiments.work",
    "Item": "experiments.experiment",
    "Results": "experiments.results",
    "find": "experiments.catalogue",
    "known": "experiments.catalogue",
    "load": "experiments.results",
    "register": "experiments.catalogue",
    "run": "experiments.runner",
}

__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'experiments' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
