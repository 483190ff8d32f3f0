"""What the parameters obey: gradient flow, Adam's model, momentum, an own one."""

from gradflow.dynamics.adam import AdamFlow, adam_chart, sampled_variance, smoothed_share
from gradflow.dynamics.base import AbstractDynamics, DynamicState
from gradflow.dynamics.gradient import GradientFlow
from gradflow.dynamics.momentum import MomentumFlow

__all__ = [
    "AbstractDynamics",
    "AdamFlow",
    "DynamicState",
    "GradientFlow",
    "MomentumFlow",
    "adam_chart",
    "sampled_variance",
    "smoothed_share",
]
