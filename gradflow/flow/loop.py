r"""The loop that integrates a flow: steps, records, stops.

It takes steps with a diffrax solver and controller, lands exactly on the stopping loss and on the
recording times (or interpolates there, where steps are long), and never returns a number that is
not finite.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow._util.progress import report
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.flow.clock import Clock, FlowField
from gradflow.flow.error_control import ErrorControl, proportionality, with_tolerances
from gradflow.flow.recording import Records, observe_if
from gradflow.flow.step import Carry, FlowStepper
from gradflow.flow.stopping import Status, Stop


@eqx.filter_jit
def integrate(
    coordinates: AbstractCoordinates,
    y0: Any,
    t0: Float[Array, ""],
    clock: Clock,
    records: Records,
    solver: diffrax.AbstractSolver,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    stop: Stop,
    handle: Int[Array, ""],
    progress: bool,
) -> dict[str, Any]:
    """Step through the recording times.

    Where the coordinates come near a singularity, or the clock becomes too coarse, end there
    without a record.

    Args:
      coordinates: those of the flow, which also say whether the clock is logarithmic.
      y0: the point to start from.
      t0: its time.
      clock: in whose readings steps are taken.
      records: what to record, and when.
      solver: a diffrax solver with an error estimate.
      rtol: relative tolerance of a step; see `ErrorControl`.
      atol: absolute tolerance of a step.
      stop: what ends the flow before its last recording time.
      handle: of the progress line.
      progress: whether to report to it.

    Returns:
      valid, times, observables and whether it was reached (one a recording time), y, t, status,
      accepted, rejected, the solver's work where it counts it, and the least margin where that is
      watched.
    """
    stepper, marks = _set_up(coordinates, clock, records, solver, rtol, atol, stop)
    start = stepper.begin(y0, t0)

    def to_mark(carry: Carry, marked: tuple[Array, Array, Array]) -> tuple[Carry, Any]:
        carry = jax.lax.while_loop(
            lambda c: (c.status == Status.RUNNING) & (c.clock < marked[0]),
            lambda c: stepper.advance(c, marked[0]),
            carry,
        )
        carry, record, reached = _record(stepper, records, carry, *marked)
        if progress:
            report(handle, stepper.time(carry), carry.loss, carry.accepted, record[0])
        return carry, (*record, reached)

    marked = (marks, records.grid, records.due())
    end, (valid, times, seen, reached) = jax.lax.scan(to_mark, start, marked)
    return {
        "valid": valid,
        "times": times,
        "observables": seen,
        "reached": reached,
        "y": end.y,
        "t": stepper.time(end),
        "status": jnp.where(end.status == Status.RUNNING, Status.HORIZON, end.status),
        "accepted": end.accepted,
        "rejected": end.rejected,
        "work": getattr(end.solver_state, "work", None),
        "margin": end.margin,
    }


def _set_up(
    coordinates: AbstractCoordinates,
    clock: Clock,
    records: Records,
    solver: diffrax.AbstractSolver,
    rtol: Array,
    atol: Array,
    stop: Stop,
) -> tuple[FlowStepper, Float[Array, " r"]]:
    """What steps, and the clock's readings at the recording times."""
    coordinates = coordinates.with_tolerance(rtol)
    marks = clock.reading(records.grid)
    stepper = FlowStepper(
        field=FlowField(coordinates, clock),
        solver=with_tolerances(solver, rtol, atol),
        control=ErrorControl(coordinates=coordinates, rtol=rtol, atol=atol),
        stop=stop,
        proportional=proportionality(solver, rtol),
        horizon=marks[-1],
        earliest=marks[1] * 1e-6,
        interpolate=records.interpolate,
    )
    return stepper, marks


def _record(
    stepper: FlowStepper, records: Records, carry: Carry, mark: Array, time: Array, due: Array
) -> tuple[Carry, tuple[Array, Array, Any], Array]:
    """Valid or not, time and observables at a mark, or at the end if the flow ended before it."""
    reached = mark <= carry.clock
    goes_on = (carry.status == Status.NEAR_SINGULARITY) | (carry.status == Status.CLOCK)
    valid = due & (reached | ~(carry.ended | goes_on))

    def y() -> Any:
        last = carry.last
        if last is None:
            return carry.y
        return jax.lax.cond(mark < carry.clock, lambda: last.evaluate(mark), lambda: carry.y)

    seen = observe_if(valid, records.pairs, stepper.coordinates, y)
    when = jnp.where(reached, time, stepper.time(carry))
    ended = carry.ended | ((carry.status != Status.RUNNING) & (mark >= carry.clock))
    return eqx.tree_at(lambda c: c.ended, carry, ended), (valid, when, seen), reached
