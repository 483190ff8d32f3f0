r"""Where a flow reaches its stopping loss: found ahead, aimed at, cut to."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gradflow.coordinates.base import AbstractChart
from gradflow.ode.interpolation import CubicThrough, through_slopes

_OVERSHOOT = 1.3
"""How far behind the expected stop a step may end, in shares of the way there."""


def to_stop(loss: Array, decay: Array, stop_loss: Array) -> Array:
    """A step that ends a little behind the stopping loss, if the loss goes on to fall as it does.

    What lies behind the stopping loss is cut off, so a long last step would be in vain.

    Args:
      loss: the loss now.
      decay: its logarithmic rate, -d log(loss)/dt, over the last step; 0 where there was none.
      stop_loss: the loss to stop at.
    """
    expected = jnp.log(loss / stop_loss) / decay
    return jnp.where((stop_loss > 0) & (decay > 0), _OVERSHOOT * expected, jnp.inf)


def aim_at(
    chart: AbstractChart,
    slopes: tuple[Any, Any],
    step: tuple[Array, Array],
    ends: tuple[Any, Any],
    stop_loss: Array,
) -> Array:
    """A time a little before the loss falls to the stopping loss, from where steps are short.

    A step that ends below the stopping loss is tried again from its start, which is dear where
    steps are long; so the crossing is first sought on its interpolant.

    Args:
      chart: the coordinates.
      slopes: dy/dt at both ends of the step.
      step: the times of both ends.
      ends: y at both ends.
      stop_loss: the loss to stop at.
    """
    t0, t1 = step
    moved = [jax.tree.map(lambda k: (t1 - t0) * k, slope) for slope in slopes]
    curve = CubicThrough(t0=t0, t1=t1, **through_slopes(*ends, *moved))
    low = crossing(chart, curve, stop_loss, halvings=12)
    return t0 + 0.99 * (low - t0)


def crossing(chart: AbstractChart, curve: CubicThrough, stop_loss: Array, halvings: int) -> Array:
    """The last time on an interpolant, to the resolution asked for, above the stopping loss.

    Args:
      chart: the coordinates.
      curve: the interpolant of a step that ends below the stopping loss.
      stop_loss: the loss to stop at.
      halvings: how often to halve the step.
    """

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        under = chart.loss(curve.evaluate(middle)) < stop_loss
        return jnp.where(under, low, middle), jnp.where(under, middle, high)

    start = (jnp.asarray(curve.t0), jnp.asarray(curve.t1))
    return jax.lax.fori_loop(0, halvings, halve, start)[0]
