r"""The loop that integrates a flow: steps, marks, stops.

It takes steps with a diffrax solver and controller, lands exactly on the stopping loss and on the
recording times (or interpolates there, where steps are long), and never returns a number that is
not finite.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.progress import report
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.flow.clock import Clock, FlowField
from gradflow.flow.error_control import ErrorControl, alertness, proportionality, with_tolerances
from gradflow.flow.recording import Marks
from gradflow.flow.step import Carry, FlowStepper
from gradflow.flow.stopping import Status, Stop, another_follows


class Leg(eqx.Module):
    """A flow's way in one coordinate system on one clock.

    Attributes:
      coordinates: those of the flow, which also say whether the clock is logarithmic.
      clock: in whose readings steps are taken.
      solver: a diffrax solver with an error estimate.
      rtol: relative tolerance of a step; see `ErrorControl`.
      atol: absolute tolerance of a step.
      stop: what ends the flow before its last recording time.
      first: the first recording time after 0.
      horizon: the last recording time.
      interpolate: let stabilised steps pass recording times, and record from their cubic
        interpolants, which are as accurate as they are.
    """

    coordinates: AbstractCoordinates
    clock: Clock
    solver: diffrax.AbstractSolver
    rtol: Float[Array, "*b"]
    atol: Float[Array, "*b"]
    stop: Stop
    first: Float[Array, "*b"]
    horizon: Float[Array, "*b"]
    interpolate: Bool[Array, "*b"]

    def stepper(self) -> FlowStepper:
        """What takes the steps."""
        coordinates = self.coordinates.with_tolerance(self.rtol)
        return FlowStepper(
            field=FlowField(coordinates, self.clock),
            solver=with_tolerances(self.solver, self.rtol, self.atol),
            control=ErrorControl(coordinates=coordinates, rtol=self.rtol, atol=self.atol),
            stop=self.stop,
            proportional=proportionality(self.solver, self.rtol),
            alert=alertness(coordinates, self.rtol),
            horizon=self.clock.reading(self.horizon),
            earliest=self.clock.reading(self.first) * 1e-6,
            interpolate=self.interpolate,
        )


class Passed(eqx.Module):
    """What the loop says of the recording times (m, or one) that it went through.

    Attributes:
      valid: whether there is something to record.
      times: when; at the end of the flow, if that came before.
      points: the coordinates there.
      reached: whether the flow came as far.
    """

    valid: Bool[Array, "*m"]
    times: Float[Array, "*m"]
    points: Any
    reached: Bool[Array, "*m"]


@eqx.filter_jit
def integrate(
    leg: Leg,
    start: Carry | tuple[Any, Float[Array, ""]],
    marks: Marks,
    handle: Int[Array, ""],
    progress: bool,
) -> tuple[Carry, Passed]:
    """Step through recording times.

    Where the coordinates come near a singularity, or the clock becomes too coarse, end there
    without a record.

    Args:
      leg: coordinates, clock, solver and stops.
      start: the point to start from and its time; or where an earlier call got to.
      marks: the recording times.
      handle: of the progress line.
      progress: whether to report to it.

    Returns:
      Where the flow is at the last of these times, or where it ended before, and what is to be
      recorded.
    """
    stepper = leg.stepper()

    def to_mark(carry: Carry, marked: tuple[Array, Array, Array]) -> tuple[Carry, Passed]:
        carry = jax.lax.while_loop(
            lambda c: (c.status == Status.RUNNING) & (c.clock < marked[0]),
            lambda c: stepper.advance(c, marked[0]),
            carry,
        )
        carry, passed = pass_mark(stepper, carry, *marked)
        if progress:
            report(handle, stepper.time(carry), carry.loss, carry.accepted, passed.valid)
        return carry, passed

    begun = start if isinstance(start, Carry) else stepper.begin(*start)
    readings = stepper.field.clock.reading(marks.times)
    return jax.lax.scan(to_mark, begun, (readings, marks.times, marks.due))


def pass_mark(
    stepper: FlowStepper, carry: Carry, mark: Array, time: Array, due: Array
) -> tuple[Carry, Passed]:
    """The point at a mark, or at the end if the flow ended before it.

    Args:
      stepper: what takes the steps.
      carry: where the flow is: there, past it on an interpolant, or at its end.
      mark: the clock's reading.
      time: the time.
      due: whether it is to be recorded.
    """
    reached = mark <= carry.clock
    valid = due & (reached | ~(carry.ended | another_follows(carry.status)))
    point, last = carry.y, carry.last
    if last is not None:
        point = jax.lax.cond(mark < carry.clock, lambda: last.evaluate(mark), lambda: carry.y)
    when = jnp.where(reached, time, stepper.time(carry))
    ended = carry.ended | ((carry.status != Status.RUNNING) & (mark >= carry.clock))
    carry = eqx.tree_at(lambda c: c.ended, carry, ended)
    return carry, Passed(valid, when, point, reached)
