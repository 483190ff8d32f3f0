"""Solvers and error estimates for ordinary differential equations; nothing here knows a matrix."""

from gradflow.ode.chebyshev import RKC2, RKC3
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation, StiffPart
from gradflow.ode.interpolation import CubicThrough
from gradflow.ode.stabilized import AbstractStabilized
from gradflow.ode.switching import StiffnessSwitch

__all__ = [
    "RKC2",
    "RKC3",
    "AbstractStabilized",
    "CubicThrough",
    "LinearlyImplicitExtrapolation",
    "StiffPart",
    "StiffnessSwitch",
]
