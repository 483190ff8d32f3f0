"""What all baselines give back, and the checks that they share."""

import enum
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sensing import MatrixSensing


class BaselineOutcome(enum.Enum):
    """How a baseline's iteration ended."""

    CONVERGED = "converged"
    OUT_OF_ITERATIONS = "ran out of iterations"
    STALLED = "made no more progress that the arithmetic can resolve"


class Baseline(eqx.Module):
    r"""What a baseline gives back.

    Attributes:
      product: the matrix W.
      optimality: what the method stops on, 0 at an exact solution: the relative duality gap of a
        convex problem, the relative gradient of OptSpace.
      misfit: ||A(W) - y|| / ||y|| on the observations (0 where y = 0 and W fits it).
      iterations: how many were made.
      outcome: how they ended.
    """

    product: Float[Array, "d d_prime"]
    optimality: float
    misfit: float
    iterations: int
    outcome: BaselineOutcome


def nonzero(x: Array) -> Array:
    """The number, or 1 in place of 0: a divisor."""
    return jnp.where(x > 0, x, 1.0)


def tolerance_of(rtol: Checked[float | None], dtype: Any) -> Array:
    """The tolerance as an array, by default 1e-9 in float64 and 1e-5 in float32.

    Raises:
      ValueError: if it is not within what the precision resolves.
    """
    kind = np.finfo(dtype)
    default = 1e-9 if kind.bits == 64 else 1e-5
    value = default if rtol is None else positive("rtol", rtol)
    if not 20 * kind.eps <= value < 1:
        raise ValueError(
            f"rtol is {value}, but {dtype} can resolve tolerances between {20 * kind.eps:.1g} and "
            f"1; give {default}, or convert the problem by gradflow.astype."
        )
    return jnp.asarray(value, dtype)


def refusal(function: str, problem: Any, other: str = "") -> str:
    """What to say of a problem that `function` does not take."""
    takes = "a MatrixCompletion" + (f" or a {other}" if other else "")
    return f"{function} takes {takes}, but the problem is a {type(problem).__name__}; build one."


def misfit(problem: MatrixCompletion | MatrixSensing, w: Array) -> Float[Array, ""]:
    """||A(W) - y|| / ||y||, without overflow or underflow."""
    data = problem.values if isinstance(problem, MatrixCompletion) else problem.labels
    largest = nonzero(jnp.max(jnp.abs(data)))
    error, size = (jnp.linalg.norm((x / largest).ravel()) for x in (problem.residual(w), data))
    return error / nonzero(size)


def as_baseline(
    product: Array,
    optimality: Array,
    misfit: Array,
    iterations: Array,
    tolerance: Array,
    stalled: bool = False,
) -> Baseline:
    """The result, from what the compiled iteration gives.

    Raises:
      ValueError: if a number in it is not finite.
    """
    measure = float(optimality)
    if not np.isfinite(measure) or not np.isfinite(np.asarray(product)).all():
        raise ValueError(
            f"The iteration met a number that is not finite (optimality {measure}); the values of "
            "the problem are too large for their precision, or not finite: scale them."
        )
    if measure <= float(tolerance):
        outcome = BaselineOutcome.CONVERGED
    else:
        outcome = BaselineOutcome.STALLED if stalled else BaselineOutcome.OUT_OF_ITERATIONS
    return Baseline(product, measure, float(misfit), int(iterations), outcome)
