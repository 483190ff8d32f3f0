"""The rank of the product where the flow keeps it below full: what round-off must not raise.

Hidden units enter by W_j and W_{j+1} alone, and the value stays as it is where both are turned. A
direction of theirs in which both are zero is therefore one in which both stay zero, balanced or
not, under gradient flow and under the heavy ball. At depth 2 such a start is led to a saddle, where
round-off in that direction grows exponentially.
"""

from typing import Any

import numpy as np

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.dynamics.base import AbstractDynamics
from gradflow.dynamics.gradient import GradientFlow
from gradflow.dynamics.momentum import MomentumFlow
from gradflow.factorizations.hidden_units import hidden_units
from gradflow.objective import Objective
from gradflow.penalties.base import AbstractParameterPenalty
from gradflow.penalties.weight_decay import WeightDecay

_ZERO = 1e-9
"""Share of the largest singular value of factors below which too few digits are above round-off."""
_ROUNDED = 1e-12
"""The same of the product, where it is followed by itself."""
_WIDEST = 500
"""Size up to which singular values are taken at the start, and at the end."""


def rank_to_keep(
    objective: Objective, dynamics: AbstractDynamics, coordinates: AbstractCoordinates, y: Any
) -> int | None:
    """Up to which rank the flow keeps the product, where that is below the highest; else None.

    Args:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the parameters obey.
      coordinates: those of the start.
      y: the start.
    """
    model, penalty = objective.factorization, objective.penalty
    if not isinstance(dynamics, GradientFlow | MomentumFlow):
        return None
    if isinstance(penalty, AbstractParameterPenalty) and not isinstance(penalty, WeightDecay):
        return None
    if max(max(shape) for shape in model.factor_shapes) > _WIDEST:
        return None
    if isinstance(coordinates, ProductCoordinates) and coordinates.depth > 1:
        hidden = [np.asarray(y)]
        least = _ROUNDED
    elif isinstance(coordinates, FactorCoordinates):
        count = len(model.factor_shapes)
        states = [tuple(y[k : k + count]) for k in range(0, len(y), count)]
        arrays = [tuple(map(np.asarray, state)) for state in states]
        hidden = [np.asarray(units) for units in hidden_units(model, arrays)]
        least = _ZERO
    else:
        return None
    ranks = [_rank(units, least) for units in hidden]
    highest = min(min(shape) for shape in model.factor_shapes)
    kept = min(ranks, default=highest)
    return kept if 0 < kept < highest else None


def _rank(units: np.ndarray, least: float) -> int:
    s = np.linalg.svd(units, compute_uv=False)
    return int(np.sum(s > least * s[0]))


def share_beyond(s: np.ndarray, rank: int) -> float:
    """The largest singular value of the product beyond a rank, as a share of the largest of all.

    Args:
      s: the product's singular values.
      rank: how many of them to leave out, at least 1.
    """
    return float(s[rank] / s[0]) if len(s) > rank and s[0] > 0 else 0.0
