"""Derivatives of recorded observables by finite differences within clusters of records."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from gradflow import observables
from gradflow.claims.oracles.flows import FINE, gradient, product_velocity
from gradflow.factorizations import relative_unbalancedness
from gradflow.flow.solve import solve_flow
from gradflow.objective import Objective
from gradflow.state import State
from gradflow.trajectory import Trajectory

STENCIL = np.arange(-3, 4)
"""Offsets of the seven points from which a time derivative is taken."""
LEAD_IN = np.arange(-6, -3)
"""Offsets before them, where the solver forgets the error of the large step that led there."""
_SMALL = 1000
"""Entries of all factors up to which a flow in factor coordinates is small."""


def clustered(centres: Any, width: float) -> np.ndarray:
    """Times around each centre, `width` apart relative to it.

    Raises:
      ValueError: if clusters overlap.
    """
    offsets = np.concatenate([LEAD_IN, STENCIL])
    times = (np.asarray(centres)[:, None] * (1 + width * offsets[None, :])).ravel()
    if np.any(np.diff(times) <= 0):
        raise ValueError(f"Centres {list(centres)} are too close for clusters of width {width}.")
    return times


class Derivative(NamedTuple):
    """A time derivative by central differences, and how far off it may be.

    Attributes:
      value: sixth-order difference quotient.
      error: four times its distance from the fourth-order one, plus round-off.
    """

    value: np.ndarray
    error: np.ndarray


def derivative(values: np.ndarray, step: float, size: Any = None) -> Derivative:
    """From seven equally spaced values along axis 0, the derivative at the middle one.

    Args:
      values: (7, ...) values.
      step: their spacing in time.
      size: the numbers to whose round-off each value is known; by default the largest of all.
    """
    six = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
    four = np.array([0, 1, -8, 0, 8, -1, 0]) / 12
    value = np.tensordot(six, values, 1) / step
    other = np.tensordot(four, values, 1) / step
    size = np.max(np.abs(values)) if size is None else size
    rounding = 8 * np.finfo(float).eps * size / step
    return Derivative(value, 4 * np.abs(value - other) + rounding)


class Clusters(NamedTuple):
    """A flow recorded in clusters of seven times, clusters first.

    Attributes:
      times: (clusters,) the middle times.
      width: the relative spacing within a cluster.
      product: (clusters, 7, d, d').
      gradient: (clusters, d, d') at the middle times.
      velocity: (clusters, d, d') dW/dt by the chain rule, or None in structural coordinates.
      drift: largest relative unbalancedness on the way; 0 in structural coordinates.
      flow: the run itself.
    """

    times: np.ndarray
    width: float
    product: np.ndarray
    gradient: np.ndarray
    velocity: np.ndarray | None
    drift: float
    flow: Trajectory


def _relative_unbalancedness(state: State) -> jax.Array:
    return relative_unbalancedness(state.factors)


def record_clusters(
    objective: Objective,
    start: Any,
    centres: Any,
    *,
    coordinates: Any = "factors",
    rtol: float = 1e-9,
    width: float = 1e-3,
) -> Clusters:
    """Run a flow and record the product in clusters around the given times."""
    times = clustered(centres, width)
    in_factors = coordinates == "factors"
    entries = sum(math.prod(shape) for shape in objective.factorization.factor_shapes)
    observe: dict[str, Any] = {
        "loss": observables.loss,
        "product": observables.product,
        "gradient": gradient,
    }
    if in_factors:
        observe |= {"velocity": product_velocity, "unbalancedness": _relative_unbalancedness}
    flow = solve_flow(
        objective,
        start,
        coordinates=coordinates,
        horizon=float(times[-1]) * (1 + width),
        record=times,
        rtol=rtol,
        observe=observe,
        solver=FINE if in_factors and entries <= _SMALL else "auto",
    )
    rows = np.searchsorted(flow.times, times * (1 - 1e-9)).reshape(len(centres), -1)
    rows = rows[:, len(LEAD_IN) :]
    middle = rows[:, len(STENCIL) // 2]
    return Clusters(
        times=flow.times[middle],
        width=width,
        product=flow["product"][rows],
        gradient=flow["gradient"][middle],
        velocity=flow["velocity"][middle] if in_factors else None,
        drift=float(np.max(flow["unbalancedness"])) if in_factors else 0.0,
        flow=flow,
    )
