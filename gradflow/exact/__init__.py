"""Closed-form solutions of gradient flows, as trajectories that stand beside integrated ones."""

from gradflow.exact.aligned import aligned_flow
from gradflow.exact.commuting import commuting_flow
from gradflow.exact.diagonal import diagonal_flow
from gradflow.exact.least_squares import least_squares_flow
from gradflow.exact.norm_blowup import Shifts, norm_blowup_shifts, norm_blowup_tail
from gradflow.exact.potential import LeastNorm, minimum_l1_norm, minimum_potential
from gradflow.exact.riccati import riccati_flow
from gradflow.exact.singular_value import constant_gradient_flow, singular_value_flow, time_to_share

__all__ = [
    "LeastNorm",
    "Shifts",
    "aligned_flow",
    "commuting_flow",
    "constant_gradient_flow",
    "diagonal_flow",
    "least_squares_flow",
    "minimum_l1_norm",
    "minimum_potential",
    "norm_blowup_shifts",
    "norm_blowup_tail",
    "riccati_flow",
    "singular_value_flow",
    "time_to_share",
]
