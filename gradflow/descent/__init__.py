"""Discrete time: loops, batches, checkpoints."""

from gradflow.descent.checkpoint import Checkpoint
from gradflow.descent.run import run_descent, run_descents

__all__ = ["Checkpoint", "run_descent", "run_descents"]
