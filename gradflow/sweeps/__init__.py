"""Experiments as sweeps: grids, runs, a store, pictures, comparisons with what a paper says.

Names are imported on first use, so that a worker can set its device up before JAX comes in.
"""

from typing import TYPE_CHECKING

from gradflow._util.lazy import on_first_use

if TYPE_CHECKING:
    from gradflow.sweeps.experiment import Experiment, Finding, Item
    from gradflow.sweeps.job import Computation, Descent, Flow
    from gradflow.sweeps.registry import find, known, register
    from gradflow.sweeps.results import Results, load
    from gradflow.sweeps.runner import run

__all__ = [
    "Computation",
    "Descent",
    "Experiment",
    "Finding",
    "Flow",
    "Item",
    "Results",
    "find",
    "known",
    "load",
    "register",
    "run",
]

_NAMES = {
    "experiment": "Experiment Finding Item",
    "job": "Computation Descent Flow",
    "registry": "find known register",
    "results": "Results load",
    "runner": "run",
}

__getattr__ = on_first_use(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
