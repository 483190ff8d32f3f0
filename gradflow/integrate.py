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

from gradflow.charts import AbstractChart
from gradflow.clock import Clock, FlowField
from gradflow.flow_step import Carry, FlowStepper
from gradflow.landing import Status, Stop
from gradflow.progress import report
from gradflow.recording import Records, observe_if
from gradflow.tolerance import ErrorControl, proportionality, with_tolerances


@eqx.filter_jit
def integrate(
    chart: AbstractChart,
    y0: Any,
    t0: Float[Array, ""],
    scale: Float[Array, ""],
    records: Records,
    solver: diffrax.AbstractSolver,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    stop: Stop,
    handle: Int[Array, ""],
    progress: bool,
) -> dict[str, Any]:
    """Step through the recording times from t0 on.

    Where a step ends below the stopping loss it is not taken: it is tried again, shorter, until it
    ends on that loss. Where the chart is strained, the loop ends without a record, for another
    chart to go on.

    Args:
      chart: the coordinates, which also say whether the clock is logarithmic.
      y0: the point to start from.
      t0: its time; times to record up to it are left out, but 0 is recorded at a start at 0.
      scale: the unit of the logarithmic clock.
      records: what to record, and when.
      solver: a diffrax solver with an error estimate.
      rtol: relative tolerance of a step; see `ErrorControl`.
      atol: absolute tolerance of a step.
      stop: what ends the flow before its last recording time.
      handle: of the progress line.
      progress: whether to report to it.

    Returns:
      valid, times and observables (one a recording time; zeros where not valid), y, t, status,
      accepted, rejected, and the solver's work where it counts it.
    """
    stepper, marks = _set_up(chart, scale, records, solver, rtol, atol, stop)
    start = stepper.begin(y0, t0)
    due = records.fresh() & ((marks > start.clock) | (t0 == 0))

    def to_mark(carry: Carry, marked: tuple[Array, Array, Array]) -> tuple[Carry, Any]:
        mark, time, due = marked
        carry = jax.lax.while_loop(
            lambda c: (c.status == Status.RUNNING) & (c.clock < mark),
            lambda c: stepper.advance(c, mark),
            carry,
        )
        carry, (valid, reached, seen) = _record(stepper, records, carry, mark, due)
        now = stepper.field.clock.time(carry.clock)
        if progress:
            report(handle, now, carry.loss, carry.accepted, valid)
        return carry, (valid, jnp.where(reached, time, now), seen)

    end, (valid, times, seen) = jax.lax.scan(to_mark, start, (marks, records.grid, due))
    return {
        "valid": valid,
        "times": times,
        "observables": seen,
        "y": end.y,
        "t": stepper.field.clock.time(end.clock),
        "status": jnp.where(end.status == Status.RUNNING, Status.HORIZON, end.status),
        "accepted": end.accepted,
        "rejected": end.rejected,
        "work": getattr(end.solver_state, "work", None),
    }


def _set_up(
    chart: AbstractChart,
    scale: Array,
    records: Records,
    solver: diffrax.AbstractSolver,
    rtol: Array,
    atol: Array,
    stop: Stop,
) -> tuple[FlowStepper, Float[Array, " r"]]:
    """What steps, and the clock's readings at the recording times."""
    chart, clock = chart.resolving(rtol), Clock(chart.log_clock, scale)
    marks = clock.reading(records.grid)
    stepper = FlowStepper(
        field=FlowField(chart, clock),
        solver=with_tolerances(solver, rtol, atol),
        control=ErrorControl(chart=chart, rtol=rtol, atol=atol),
        stop=stop,
        proportional=proportionality(solver, rtol),
        horizon=marks[-1],
        earliest=marks[1] * 1e-6,
        interpolate=records.interpolate,
    )
    return stepper, marks


def _record(
    stepper: FlowStepper, records: Records, carry: Carry, mark: Array, due: Array
) -> tuple[Carry, tuple[Array, Array, Any]]:
    """Whether there is a record at a mark and whether the flow got there, and the observables."""
    reached = mark <= carry.clock
    valid = due & (reached | ~carry.ended) & (carry.status != Status.STRAINED)

    def y() -> Any:
        """Where the flow is at a mark that was reached or passed, else where it has ended."""
        last = carry.last
        if last is None:
            return carry.y
        return jax.lax.cond(mark < carry.clock, lambda: last.evaluate(mark), lambda: carry.y)

    seen = observe_if(valid, records.pairs, stepper.chart, y)
    ended = carry.ended | ((carry.status != Status.RUNNING) & (mark >= carry.clock))
    return eqx.tree_at(lambda c: c.ended, carry, ended), (valid, reached, seen)
