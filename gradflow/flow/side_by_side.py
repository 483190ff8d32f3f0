r"""Flows side by side, each on its own way to its own recording times, as accelerators want it.

`jax.vmap` of a flow's own loop would have all flows wait for the slowest before every recording
time, and carry every recorded point through a choice in each step. Here an iteration takes one step
of every flow that has not come to its next recording time, and writes down those that have.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow.flow.loop import Leg, Passed, pass_mark
from gradflow.flow.recording import Marks
from gradflow.flow.step import Carry
from gradflow.flow.stopping import Status


class _Lanes(NamedTuple):
    """Where the flows are.

    Attributes:
      carries: each flow's own.
      next: which recording time each goes to; their number if there is none left.
      passed: what is to be recorded, flows first, then recording times.
    """

    carries: Carry
    next: Int[Array, " n"]
    passed: Passed


def integrate_side_by_side(
    arrays: Leg, rest: Leg, start: Carry | tuple[Any, Float[Array, " n"]], marks: Marks
) -> tuple[Carry, Passed]:
    """What `gradflow.flow.loop.integrate` gives for each of n flows, to rounding.

    Args:
      arrays: what the flows' legs have for themselves, along the first axis.
      rest: what they have in common.
      start: the points to start from and their times; or where an earlier call got to.
      marks: each flow's recording times, as many for all.
    """

    def stepper_of(own: Leg) -> Any:
        return eqx.combine(own, rest).stepper()

    def begin(own: Leg, at: Any) -> Carry:
        return at if isinstance(at, Carry) else stepper_of(own).begin(*at)

    def reading(own: Leg, times: Array) -> Array:
        return stepper_of(own).field.clock.reading(times)

    count = marks.times.shape[1]
    carries = jax.vmap(begin)(arrays, start)
    grid = (jax.vmap(reading)(arrays, marks.times), marks.times, marks.due)

    def at_mark(goal: Array, rows: Any) -> Any:
        return jax.tree.map(lambda row: row[jnp.minimum(goal, count - 1)], rows)

    def waits(carry: Carry, goal: Array, rows: Any) -> Bool[Array, ""]:
        """Whether a flow has come to its recording time, or to its end before it."""
        ahead = (carry.status == Status.RUNNING) & (carry.clock < at_mark(goal, rows)[0])
        return (goal < count) & ~ahead

    def step(own: Leg, carry: Carry, goal: Array, rows: Any) -> Carry:
        moved = stepper_of(own).advance(carry, at_mark(goal, rows)[0])
        going = (goal < count) & ~waits(carry, goal, rows)
        return _chosen(going, moved, carry)

    def look(own: Leg, carry: Carry, goal: Array, rows: Any) -> tuple[Carry, Array, Passed]:
        here = waits(carry, goal, rows)
        seen, found = pass_mark(stepper_of(own), carry, *at_mark(goal, rows))
        return _chosen(here, seen, carry), jnp.where(here, goal, count), found

    def write(lanes: _Lanes) -> _Lanes:
        carries, to, found = jax.vmap(look)(arrays, lanes.carries, lanes.next, grid)
        rows = jnp.arange(len(to))
        passed = jax.tree.map(
            lambda all_, new: all_.at[rows, to].set(new, mode="drop"), lanes.passed, found
        )
        return _Lanes(carries, lanes.next + (to < count), passed)

    def any_waits(lanes: _Lanes) -> Array:
        return jnp.any(jax.vmap(waits)(lanes.carries, lanes.next, grid))

    def body(lanes: _Lanes) -> _Lanes:
        moved = jax.vmap(step)(arrays, lanes.carries, lanes.next, grid)
        return jax.lax.while_loop(any_waits, write, lanes._replace(carries=moved))

    first = jnp.zeros(len(marks.times), jnp.int32)
    lanes = _Lanes(carries, first, _empty(look, (arrays, carries, first, grid), count))
    lanes = jax.lax.while_loop(any_waits, write, lanes)
    lanes = jax.lax.while_loop(lambda w: jnp.any(w.next < count), body, lanes)
    return lanes.carries, lanes.passed


def _chosen(which: Bool[Array, ""], yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), yes, no)


def _empty(look: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> Passed:
    """Room for what flows record at so many times; not NaN, which `jax.debug_nans` dislikes."""
    shapes = eqx.filter_eval_shape(jax.vmap(look), *arguments)[2]
    return jax.tree.map(lambda s: jnp.zeros((s.shape[0], count, *s.shape[1:]), s.dtype), shapes)
