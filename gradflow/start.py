"""What a run may start from: factors, a matrix W, or the named arrays where another run ended."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from gradflow._util.validate import finite_array
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective


class LogScaled(NamedTuple):
    """The product exp(log_scale) w, of any size: balanced factors of it are a flow's start.

    A CP tensor's components are told by factors alone: these start it, each scaled alike.

    Attributes:
      w: a matrix of full rank, float64; or a tuple of factors of a CP tensor.
      log_scale: the natural logarithm of its unit; -690 are 1e-300.

    Example:
      >>> import gradflow as gf, numpy as np
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=2))
      >>> flow = gf.solve_flow(objective, gf.LogScaled(np.eye(2), -5000.0), stop_loss=0.1)
      >>> round(float(flow["unobserved_entries"][-1, 0]), 2), round(flow.stats["end"])
      (1.83, 2504)
    """

    w: np.ndarray | Sequence[Array | np.ndarray]
    log_scale: float


Start = Factors | Mapping[str, Any] | Any
"""The factors W_1, ..., W_N; or W itself, which stands for balanced factors of it; or arrays by
name, as in a trajectory's `final`."""


def as_factors(objective: Objective, start: Any) -> Factors:
    """The factors of a start.

    Args:
      objective: whose factorisation they are for.
      start: a tuple of factors; arrays W_1, ..., W_N by name; or an array W, which stands for
        balanced factors of it.

    Raises:
      ValueError: if shapes do not fit, a number is not finite, or W has no balanced factors.
    """
    model = objective.factorization
    if isinstance(start, LogScaled):
        raise ValueError(
            f"A LogScaled start (log_scale {start.log_scale}) has no factors; start a flow "
            "from it, or give factors."
        )
    if isinstance(start, Mapping):
        names = [f"W_{k}" for k in range(1, len(model.factor_shapes) + 1)]
        if sorted(start) != names:
            raise ValueError(
                f"The start has {', '.join(start)}, but {', '.join(names)} are wanted; start from "
                "factors."
            )
        start = [start[name] for name in names]
    if isinstance(start, tuple | list):
        return model.check([finite_array(f"start[{k}]", f) for k, f in enumerate(start)])
    return model.balanced(finite_array("start", start))
