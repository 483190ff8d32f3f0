"""What the parameters obey: gradient flow, momentum, models of Adam, sign descent and Muon."""

from gradflow.dynamics.adam import AdamFlow, adam_chart, sampled_variance, smoothed_share
from gradflow.dynamics.base import AbstractDynamics, DynamicState
from gradflow.dynamics.gradient import GradientFlow
from gradflow.dynamics.momentum import MomentumFlow
from gradflow.dynamics.noise import AbstractNoise, Langevin, MinibatchNoise
from gradflow.dynamics.steepest import SignFlow, SpectralFlow

__all__ = [
    "AbstractDynamics",
    "AbstractNoise",
    "AdamFlow",
    "DynamicState",
    "GradientFlow",
    "Langevin",
    "MinibatchNoise",
    "MomentumFlow",
    "SignFlow",
    "SpectralFlow",
    "adam_chart",
    "sampled_variance",
    "smoothed_share",
]
