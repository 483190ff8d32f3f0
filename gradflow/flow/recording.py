"""What is recorded of a flow, and when.

The loop gives the points at the recording times and knows nothing of observables; these are
evaluated afterwards, in a program of their own. So looking at more cannot change a run.
"""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gradflow._util.validate import finite_array
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.flow.options import FlowOptions
from gradflow.observables import Observable
from gradflow.state import State, recordable

_RECORDS = {False: (12, 24), True: (24, 10)}
"""Decades and records a decade by default, without and with a logarithmic clock."""
_MARKS = 320
"""Recording times that a call of the loop goes through, unless their points are too large."""
_BYTES = 2**26
"""Memory for the points of one call of the loop."""


class Marks(eqx.Module):
    """Some of the recording times, which one call of the loop goes through.

    Attributes:
      times: the times; the last may come more than once, so that other numbers of them do not
        compile again.
      due: which of them are to be recorded.
    """

    times: Float[Array, "*b m"]
    due: Bool[Array, "*b m"]


def marks_of(grid: np.ndarray, done: np.ndarray, point_bytes: int) -> Iterator[Marks]:
    """A flow's recording times, or those of each flow of a batch, in portions that fit into memory.

    Args:
      grid: the times, from the start's; the last is the horizon, which may come more than once.
      done: which of them were reached before.
      point_bytes: memory of a point of the flow, or of all flows that go side by side.
    """
    due = (np.diff(grid, prepend=-1.0) > 0) & ~done
    each = max(1, min(_MARKS, _BYTES // max(point_bytes, 1)))
    missing = [(0, 0)] * (grid.ndim - 1) + [(0, -grid.shape[-1] % each)]
    grid, due = np.pad(grid, missing, mode="edge"), np.pad(due, missing)
    for k in range(0, grid.shape[-1], each):
        yield Marks(jnp.asarray(grid[..., k : k + each]), jnp.asarray(due[..., k : k + each]))


@eqx.filter_jit  # an empty program, for its cache: a second flow of this kind costs nothing
def check_observables(
    pairs: tuple[tuple[str, Observable], ...], coordinates: AbstractCoordinates, y: Any
) -> None:
    """See that the coordinates can tell every observable, before any work.

    Raises:
      ValueError: if they cannot; it names the observable.
    """
    eqx.filter_eval_shape(_observed, pairs, coordinates, y)


@eqx.filter_jit
def observe(
    pairs: tuple[tuple[str, Observable], ...],
    coordinates: AbstractCoordinates,
    rtol: Float[Array, ""],
    points: Any,
    valid: Bool[Array, " m"],
    in_turn: bool,
) -> dict[str, Any]:
    """The observables at points of a flow, each with a leading axis of length m.

    Nothing reads those of points that are not valid; one after the other, they are zeros: not NaN,
    since `jax.debug_nans` takes that for a mistake.

    Args:
      pairs: observables by name.
      coordinates: those of the flow.
      rtol: relative tolerance of its steps.
      points: m points, stacked.
      valid: which of them to observe.
      in_turn: one after the other, and only the valid ones; else all side by side.
    """
    coordinates = coordinates.with_tolerance(rtol)

    def at(y: Any) -> dict[str, Any]:
        return _observed(pairs, coordinates, y)

    if not in_turn:
        return jax.vmap(at)(points)
    shapes = jax.eval_shape(at, jax.tree.map(lambda leaf: leaf[0], points))

    def nothing(y: Any) -> dict[str, Any]:
        del y
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.lax.map(lambda one: jax.lax.cond(one[1], at, nothing, one[0]), (points, valid))


def _observed(
    pairs: tuple[tuple[str, Observable], ...], coordinates: AbstractCoordinates, y: Any
) -> dict[str, Any]:
    """The observables at a point; if one cannot be told, the message says which."""
    state, seen = State(coordinates, y), {}
    for name, function in pairs:
        try:
            seen[name] = function(state)
        except ValueError as error:
            raise ValueError(
                f"The observable {name!r} cannot be recorded in coordinates "
                f"{coordinates.name!r}: {error}"
            ) from error
        recordable(name, seen[name])
    return seen


def recording_times(
    options: FlowOptions, scale: float, logarithmic: bool, begin: float = 0.0
) -> np.ndarray:
    """Times to land on, from the start's; the last is the horizon.

    Args:
      options: what was asked.
      scale: the start's time scale.
      logarithmic: whether the clock is.
      begin: the start's time.

    Raises:
      ValueError: if the times asked for do not rise from 0 on, or end before the start's.
    """
    horizon = options.horizon
    stops = options.stop_loss is not None or options.stop_gradient is not None
    first = scale * 1e-2
    decades, each = _RECORDS[logarithmic]
    after = first * 10.0 ** (np.arange(decades * each) / each)
    grid = begin + after
    if options.record is None:
        if horizon is not None:
            # The number of records stays, so that another horizon does not compile again.
            left = horizon - begin
            after *= min(1.0, left * 1e-3 / first)
            grid = np.minimum(begin + after, horizon)
            grid[after > left * (1 - 1e-9)] = horizon
            grid[-1] = horizon
    else:
        wanted = finite_array("record", options.record, ndim=1)
        if wanted.size == 0 or np.any(np.diff(wanted) <= 0) or wanted[0] < 0:
            raise ValueError(
                f"record must hold rising times from 0 on, but it is {wanted[:5].tolist()}...."
            )
        if horizon is None and stops:
            horizon = max(grid[-1], 2 * wanted[-1])  # the last record does not stop the flow
        grid = wanted if horizon is None else np.append(wanted[wanted < horizon], horizon)
        grid = grid[grid > begin]
        if grid.size == 0 and begin > 0:
            raise ValueError(
                f"record ends at {wanted[-1]}, but the trajectory at t = {begin}; times are "
                "counted from the first start."
            )
    return np.concatenate([[begin], grid])
