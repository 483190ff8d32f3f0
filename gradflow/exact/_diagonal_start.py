"""What is known in closed form of diagonal networks starts from parameters above 0."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gradflow._util.validate import require_float64
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.objective import Objective
from gradflow.problems.regression import LeastSquares
from gradflow.start import as_factors


class PositiveStart(NamedTuple):
    """Least squares, a diagonal network, and the parameters w_+ and w_- that it starts from."""

    problem: LeastSquares
    model: DiagonalNetwork
    plus: Float[np.ndarray, " n"]
    minus: Float[np.ndarray, " n"]


def positive_start(
    objective: Objective, start: Any, what: str, depth: int | None = None
) -> PositiveStart:
    """The start and what it is one of, checked.

    Args:
      objective: least squares with a diagonal network.
      start: the parameters.
      what: is asked for, as it begins a sentence.
      depth: the only one that it is known for, if there is such.

    Raises:
      ValueError: on another problem, another factorisation, a penalty, or parameters that are not
        all above 0.
    """
    problem, model, penalty = objective.problem, objective.factorization, objective.penalty
    if (
        not isinstance(problem, LeastSquares)
        or not isinstance(model, DiagonalNetwork)
        or depth not in (None, model.depth)
        or penalty is not None
    ):
        network = "DiagonalNetwork" if depth is None else f"DiagonalNetwork of depth {depth}"
        raise ValueError(
            f"{what} is known for LeastSquares with a {network} and no penalty, not for "
            f"{type(problem).__name__} with {model!r} and penalty {type(penalty).__name__}; use "
            "gradflow.solve_flow."
        )
    factors = as_factors(objective, start)
    require_float64("A closed form", problem=problem, start=factors)
    plus, minus = map(np.asarray, factors)
    least = min(plus.min(), minus.min())
    if not least > 0:
        raise ValueError(
            f"{what} needs parameters above 0, but the least is {least:.6g}; start from "
            "objective.factorization.identity."
        )
    return PositiveStart(problem, model, plus, minus)
