"""The exact flow: set up, loop, stop, record; and compare with other runs of it."""

from gradflow.flow.following import Followed, follow
from gradflow.flow.following_to_loss import follow_to_loss
from gradflow.flow.options import FlowOptions
from gradflow.flow.solve import solve_flow, solve_flows
from gradflow.flow.stochastic import solve_sdes
from gradflow.flow.stochastic_options import StochasticOptions
from gradflow.flow.stopping import Status
from gradflow.flow.verification import Verification, Witness
from gradflow.flow.witnesses import verify

__all__ = [
    "FlowOptions",
    "Followed",
    "Status",
    "StochasticOptions",
    "Verification",
    "Witness",
    "follow",
    "follow_to_loss",
    "solve_flow",
    "solve_flows",
    "solve_sdes",
    "verify",
]
