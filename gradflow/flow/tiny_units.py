"""Hidden units that start so small beside the others that steps in factors do not follow them.

Beside large ones a tiny unit grows by a linear equation, whatever its size, and may rise in the
end. Long steps (implicit, stabilised) have their errors measured beside the large ones: they may
amplify a tiny unit by any number, or damp it, and nothing tells.
"""

from typing import Any

import diffrax
import numpy as np

from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.logcolumns import LogColumnCoordinates
from gradflow.dynamics.gradient import GradientFlow
from gradflow.factorizations.base import FactorsLike
from gradflow.factorizations.hidden_units import UNSEEN, unit_lengths
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.flow.setup import PreparedFlow
from gradflow.objective import Objective
from gradflow.problems.sparse import SparseCompletion


def tiny_units(flow: PreparedFlow, y: Any, time: float) -> str | None:
    """What is uncertain for such units: a sentence, if one of them may have risen by the end.

    Whether it may is told by the steepest growth that the gradient allows, at its larger of both
    ends: a bound for a loss that falls, hence on the safe side.

    Args:
      flow: what was asked.
      y: the factors at the end.
      time: how long the flow took.
    """
    if isinstance(flow.solver, diffrax.AbstractERK) or not (share := _least_share(flow)) < UNSEEN:
        return None
    if isinstance(flow.dynamics, GradientFlow):
        with np.errstate(over="ignore"):
            if share * np.exp(_rate(flow, y) * time) < flow.options.rtol:
                return None
    remedy = "start it larger"
    if log_columns_hold(flow):
        remedy += ", or use coordinates='logcolumns', which hold it at any size"
    return (
        f"a hidden unit starts at {share:.1e} of the largest: steps in factors do not follow what "
        "is so small beside the others, so that it is not known whether it has risen, and when; "
        + remedy
    )


def log_columns_hold(flow: PreparedFlow) -> bool:
    """Whether a flow in factors could be asked for in "logcolumns".

    Args:
      flow: what was asked.
    """
    if not isinstance(flow.coordinates, FactorCoordinates):
        return False
    factors = flow.coordinates.factors(flow.y)
    return LogColumnCoordinates.refusal(flow.objective, flow.dynamics, factors) is None


def _least_share(flow: PreparedFlow) -> float:
    """Of the longest unit of its layer, the shortest that is not zero; 1 where no unit is known."""
    coordinates: Any = flow.coordinates
    if not isinstance(coordinates, FactorCoordinates):
        return 1.0
    layers = unit_lengths(flow.objective.factorization, coordinates.factors(flow.y))
    return float(min((np.min(it) / np.max(it) for it in layers if it.size), default=1.0))


def _rate(flow: PreparedFlow, y: Any) -> float:
    """At most what a unit beside which the others are large grows by."""
    objective = flow.objective
    coordinates: Any = flow.coordinates
    found = []
    for point in (flow.y, y):
        factors = coordinates.factors(point)
        norms = [float(np.linalg.norm(f)) for f in factors]
        if isinstance(objective.factorization, SymmetricProduct):
            others = [2.0]
        else:
            others = [np.prod(norms[:k] + norms[k + 2 :]) for k in range(max(len(norms) - 1, 1))]
        found.append(_slope(objective, factors) * max(others))
    return max(found)


def _slope(objective: Objective, factors: FactorsLike) -> float:
    """The norm of the gradient in W, of which too many entries are never formed."""
    problem = objective.problem
    if isinstance(problem, SparseCompletion):
        return 2 * float(np.sqrt(problem.weight * objective.loss(factors)))
    return float(np.linalg.norm(problem.gradient(objective.product(factors))))
