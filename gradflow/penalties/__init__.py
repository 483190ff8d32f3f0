"""Explicit penalties: on W, on its singular values, on the parameters."""

from gradflow.penalties.base import (
    AbstractParameterPenalty,
    AbstractPenalty,
    AbstractRegularizer,
)
from gradflow.penalties.nuclear_frobenius import NuclearFrobeniusRatio, ratio_gradient
from gradflow.penalties.schatten import NuclearNorm, SchattenNorm, SchattenRatio
from gradflow.penalties.spectral import AbstractSpectralPenalty, resolution
from gradflow.penalties.weight_decay import WeightDecay

__all__ = [
    "AbstractParameterPenalty",
    "AbstractPenalty",
    "AbstractRegularizer",
    "AbstractSpectralPenalty",
    "NuclearFrobeniusRatio",
    "NuclearNorm",
    "SchattenNorm",
    "SchattenRatio",
    "WeightDecay",
    "ratio_gradient",
    "resolution",
]
