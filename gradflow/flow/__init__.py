"""The exact gradient flow: set up, loop, stop, record."""

from gradflow.flow.solve import solve_flow, solve_flows

__all__ = ["solve_flow", "solve_flows"]
