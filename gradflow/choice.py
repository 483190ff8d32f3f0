r"""What `solve_flow` picks where it is left to choose: coordinates and solver, with a reason."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp

from gradflow.charts import AbstractChart
from gradflow.factorizations import Factors, MatrixProduct, Objective
from gradflow.handover import HandOver
from gradflow.initializations import relative_unbalancedness
from gradflow.problems import MatrixCompletion
from gradflow.solvers import LinearlyImplicitExtrapolation

DENSE = 48
"""Up to so many unknowns a dense Jacobian and its inverses cost less than stabilised steps."""


class Choice(NamedTuple):
    """A solver, or coordinates, and why."""

    value: Any
    reason: str


def choose_coordinates(objective: Objective, factors: Factors) -> Choice:
    """Structural coordinates where the flow needs them and they exist, else the factors.

    Args:
      objective: what is fitted, and its factorisation.
      factors: the start.
    """
    problem, model = objective.problem, objective.factorization
    if not isinstance(problem, MatrixCompletion) or problem.shape != (2, 2):
        return Choice("factors", "factor coordinates hold any start")
    if not isinstance(model, MatrixProduct) or model.depth < 2 or min(model.sizes) < 2:
        return Choice("factors", "no structural coordinates at this depth or hidden size")
    if objective.penalty is not None:
        return Choice("factors", "structural coordinates have no penalties")
    if float(relative_unbalancedness(factors)) > 1e-10:
        return Choice("factors", "the start is not balanced")
    if float(jnp.linalg.det(objective.product(factors))) == 0:
        return Choice("factors", "the start has determinant 0")
    return Choice("logdet", "a balanced 2x2 start: the determinant's sign is kept by construction")


def choose_solver(chart: AbstractChart, y: Any) -> Choice:
    """A solver for the flow in these coordinates, by their number and kind.

    Args:
      chart: the coordinates.
      y: the start.
    """
    unknowns = sum(leaf.size for leaf in jax.tree.leaves(y))
    if chart.log_clock:
        return Choice(
            LinearlyImplicitExtrapolation(), "few stiff structural coordinates: linearly implicit"
        )
    if chart.name == "singular":
        return Choice(
            diffrax.Tsit5(), "singular coordinates turn at rates that are not real: explicit"
        )
    if unknowns <= DENSE:
        return Choice(
            LinearlyImplicitExtrapolation(),
            f"{unknowns} unknowns, at most {DENSE}: linearly implicit with a dense Jacobian",
        )
    return Choice(
        HandOver(),
        f"{unknowns} unknowns, above {DENSE}: explicit in the rises, stabilised in the tails",
    )
