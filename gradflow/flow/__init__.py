"""The exact flow: set up, loop, stop, record; and compare with other runs of it."""

from gradflow.flow.options import FlowOptions
from gradflow.flow.solve import solve_flow, solve_flows
from gradflow.flow.verification import Verification, Witness
from gradflow.flow.witnesses import verify

__all__ = ["FlowOptions", "Verification", "Witness", "solve_flow", "solve_flows", "verify"]
