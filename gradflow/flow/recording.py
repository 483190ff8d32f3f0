"""What is recorded of a flow, and when."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.observables import Observable, State


class Records(eqx.Module):
    """The observables, and the times to record them at.

    Attributes:
      grid: the times, from 0; the last is the horizon, which may come more than once, so that grids
        of other lengths do not compile again.
      pairs: observables by name.
      interpolate: let stabilised steps pass recording times, and record from their cubic
        interpolants, which are as accurate as they are.
      done: which times were reached before the flow came to its present coordinates and clock.
    """

    grid: Float[Array, " r"]
    pairs: tuple[tuple[str, Observable], ...]
    interpolate: Bool[Array, ""]
    done: Bool[Array, " r"]

    def due(self) -> Bool[Array, " r"]:
        """Which times of the grid are to be recorded: those that are new, and not done."""
        return (jnp.diff(self.grid, prepend=-1.0) > 0) & ~self.done


def observe_if(
    valid: Bool[Array, ""],
    pairs: tuple[tuple[str, Observable], ...],
    coordinates: AbstractCoordinates,
    y: Callable[[], Any],
) -> dict[str, Any]:
    """The observables where they are valid, else zeros, which nothing reads.

    Not NaN: `jax.debug_nans` takes that for a mistake.

    Args:
      valid: whether to compute them.
      pairs: observables by name.
      coordinates: those of the flow.
      y: gives the point; not called where the observables are not valid.
    """

    def observe() -> dict[str, Any]:
        state = State(coordinates, y())
        return {name: _observed(name, function, state) for name, function in pairs}

    shapes = jax.eval_shape(observe)

    def nothing() -> dict[str, Any]:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return jax.lax.cond(valid, observe, nothing)


def _observed(name: str, function: Observable, state: State) -> Any:
    """One observable; where the coordinates cannot tell it, the message says which it was."""
    try:
        return function(state)
    except ValueError as error:
        raise ValueError(
            f"The observable {name!r} cannot be recorded in coordinates {state.view.name!r}: "
            f"{error}"
        ) from error
