"""The exact flow: set up, loop, stop, record."""

from gradflow.flow.options import FlowOptions
from gradflow.flow.solve import solve_flow, solve_flows

__all__ = ["FlowOptions", "solve_flow", "solve_flows"]
