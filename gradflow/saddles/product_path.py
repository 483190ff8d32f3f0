"""Paths of saddles of balanced products of depth 3 and more."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradflow.columns import DilatedColumns
from gradflow.factorizations.balance import relative_unbalancedness
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.saddles.column_path import blocks, never_meet, padded
from gradflow.saddles.errors import SAFETY, table
from gradflow.saddles.path import SaddleOutcome, SaddlePath, way_of, ways
from gradflow.saddles.product_walk import product_walk

_BALANCED = 1e-10


def product_path(
    objective: Objective,
    factors: Factors,
    *,
    convex: bool,
    most: int,
    tie: float,
    config: Mapping[str, Any],
) -> SaddlePath:
    """The path of saddles of a balanced product of depth 3 or more; see `gradflow.saddle_path`.

    Raises:
      ValueError: if the factors are not balanced.
    """
    if (off := float(relative_unbalancedness(factors))) > _BALANCED:
        raise ValueError(
            f"The factors are not balanced (relative unbalancedness {off:.3g}); a path of saddles "
            "of depth 3 and more needs balanced ones, such as W itself stands for."
        )
    depth = len(factors)
    parts = blocks(DilatedColumns(objective))  # rows of a product: first its columns, then its rows
    found = product_walk(
        objective.problem, np.asarray(objective.product(factors)), depth,
        convex=convex, most=0 if len(parts) > 1 else most, tie=tie,
    )  # fmt: skip
    if len(parts) > 1:
        found = found._replace(outcome=SaddleOutcome.DECOUPLED, reason=never_meet(parts))
    nodes, jumps = found.nodes, found.jumps
    return SaddlePath(
        products=np.stack([node.w for node in nodes]),
        ranks=np.array([node.rank for node in nodes]),
        losses=np.array([node.loss for node in nodes]),
        rates=padded([node.rates for node in nodes]),
        levels=padded(found.sizes),
        decays=np.array([node.decay for node in nodes]),
        growths=np.array([node.growth for node in nodes]),
        taus=np.array([jump.tau for jump in jumps]),
        offsets=np.array([jump.offset for jump in jumps]),
        margins=np.array([jump.margin for jump in jumps]),
        directions=np.array([jump.direction for jump in jumps]).reshape(
            len(jumps), sum(objective.problem.shape)
        ),
        **ways(way_of(jump.orbit.times, jump.orbit.losses, jump.half) for jump in jumps),
        error_terms=table([jump.terms.times(SAFETY) for jump in jumps]),
        power=1 - 2 / depth,
        degree=depth,
        start=tuple(np.asarray(factor) for factor in factors),
        outcome=found.outcome,
        reason=found.reason,
        flags=tuple(found.flags),
        config=config,
    )
