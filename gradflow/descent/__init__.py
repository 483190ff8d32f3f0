"""Discrete time: loops, batches, checkpoints."""

from gradflow.descent.checkpoint import Checkpoint
from gradflow.descent.descending import Descended, descend
from gradflow.descent.options import DescentOptions
from gradflow.descent.run import run_descent, run_descents
from gradflow.dynamics.sampling import Drawn, Sampling

__all__ = [
    "Checkpoint",
    "Descended",
    "DescentOptions",
    "Drawn",
    "Sampling",
    "descend",
    "run_descent",
    "run_descents",
]
