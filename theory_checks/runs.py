"""The exact flows that several claims look at, each run once."""

import math
from functools import cache
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.observables import State

STARTS = {
    "generic": ((1e-3, 0.3e-3), (-0.2e-3, 0.8e-3)),
    "identity": ((1e-2, 0.0), (0.0, 1e-2)),
}
"""Products to start the 2x2 problem from: one generic, one with equal singular values."""

FINE = diffrax.Dopri8()
"""For small flows at tight tolerances: of high order, and quick to compile."""
_SMALL = 1000
"""Entries of all factors up to which a flow in factor coordinates is small."""

STENCIL = np.arange(-3, 4)
"""Offsets of the seven points from which a time derivative is taken."""
LEAD_IN = np.arange(-6, -3)
"""Offsets before them, where the solver forgets the error of the large step that led there."""


def product_velocity(state: State) -> jax.Array:
    """dW/dt by the chain rule, from the factors and their velocities; needs factor coordinates."""
    chart = state.chart
    return jax.jvp(chart.product, (state.y,), (chart.velocity(state.y),))[1]


def gradient(state: State) -> jax.Array:
    """The gradient of the loss in the product."""
    return state.problem.gradient(state.product)


@cache
def blowup(
    depth: int, start: Any, rtol: float, stop_loss: float, dense: bool = False
) -> gf.Trajectory:
    """The 2x2 norm blow-up problem's exact flow, with a structurally exact determinant.

    Args:
      depth: at least 2.
      start: a key of `STARTS`, or a 2x2 tuple of tuples (the product; balanced factors are taken).
      rtol: relative tolerance.
      stop_loss: the flow ends here.
      dense: record often during the rise, for a picture.
    """
    rise = np.concatenate([np.linspace(0.05, 25.0, 140), np.geomspace(27.0, 1e9, 100)])
    product = np.array(STARTS[start] if isinstance(start, str) else start)
    objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct.of((2, 2), depth))
    return gf.solve_flow(
        objective,
        jnp.asarray(product),
        coordinates="logdet",
        stop_loss=stop_loss,
        rtol=rtol,
        times=rise if dense else None,
        observe=("loss", "product", "singular_values", "log_abs_det", "det_sign"),
    )


class Pair(NamedTuple):
    """The same flow at a usual and a tighter tolerance, at the times both recorded."""

    coarse: gf.Trajectory
    tight: gf.Trajectory
    common: int


def blowup_pair(depth: int, start: Any, stop_loss: float) -> Pair:
    """Two runs whose difference tells the numerical floor."""
    coarse = blowup(depth, start, 1e-7, stop_loss)
    tight = blowup(depth, start, 1e-9, stop_loss)
    return Pair(coarse, tight, min(len(coarse), len(tight)))


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
    flow: gf.Trajectory


def record_clusters(
    objective: gf.Objective,
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
        "loss": gf.observables.loss,
        "product": gf.observables.product,
        "gradient": gradient,
    }
    if in_factors:
        observe |= {"velocity": product_velocity, "unbalancedness": _relative_unbalancedness}
    flow = gf.solve_flow(
        objective,
        start,
        coordinates=coordinates,
        horizon=float(times[-1]) * (1 + width),
        times=times,
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


def _relative_unbalancedness(state: State) -> jax.Array:
    return gf.initializations.relative_unbalancedness(state.factors)


@cache
def movielens() -> gf.MatrixCompletion:
    """All 100,000 ratings, half-sum loss."""
    return gf.data.movielens_100k().completion()


def start_factors(flow: gf.Trajectory) -> tuple[jax.Array, ...]:
    """The factors that a run of a matrix product started from."""
    return tuple(jnp.asarray(flow.initial[f"W_{j}"]) for j in range(1, len(flow.initial) + 1))


def balanced_start(flow: gf.Trajectory) -> bool:
    """Whether a run started from balanced factors, to round-off."""
    return float(gf.initializations.relative_unbalancedness(start_factors(flow))) < 1e-12
