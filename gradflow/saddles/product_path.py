"""Paths of saddles of balanced products of depth 3 and more."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradflow.columns import DilatedColumns
from gradflow.factorizations.balance import relative_unbalancedness
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.saddles.assembly import assembled
from gradflow.saddles.column_path import never_meet
from gradflow.saddles.path import SaddleOutcome, SaddlePath
from gradflow.saddles.product_walk import product_walk

_BALANCED = 1e-10
"""The relative unbalancedness that counts as none."""


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
    apart = never_meet(DilatedColumns(objective))  # of W's columns, then of its rows
    found = product_walk(
        objective.problem, np.asarray(objective.product(factors)), depth,
        convex=convex, most=0 if apart else most, tie=tie,
    )  # fmt: skip
    if apart:
        found = found._replace(outcome=SaddleOutcome.DECOUPLED, reason=apart)
    return assembled(
        found, found.sizes, [jump.direction for jump in found.jumps], factors, degree=depth,
        width=sum(objective.problem.shape), flags=found.flags, config=config,
    )  # fmt: skip
