"""Explicit penalties."""

from gradflow.penalties.base import AbstractPenalty, resolution
from gradflow.penalties.nuclear_frobenius import NuclearFrobeniusRatio, ratio_gradient
from gradflow.penalties.schatten import NuclearNorm, SchattenNorm, SchattenRatio

__all__ = [
    "AbstractPenalty",
    "NuclearFrobeniusRatio",
    "NuclearNorm",
    "SchattenNorm",
    "SchattenRatio",
    "ratio_gradient",
    "resolution",
]
