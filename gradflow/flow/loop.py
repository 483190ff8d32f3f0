r"""The loop that integrates a flow: steps, records, stops.

It takes steps with a diffrax solver and controller, lands exactly on the stopping loss and on the
recording times (or interpolates there, where steps are long), and never returns a number that is
not finite.
"""

import enum
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow._util.progress import report
from gradflow.coordinates.base import AbstractChart
from gradflow.flow.error_control import proportionality, relative_error, with_tolerances
from gradflow.flow.stopping import aim_at, crossing, to_stop
from gradflow.observables import Observable, State
from gradflow.ode.chebyshev import AbstractStabilized
from gradflow.ode.interpolation import CubicThrough, through_slopes
from gradflow.ode.switching import HandOver


class Status(enum.IntEnum):
    """Why the loop ended."""

    RUNNING = 0
    LOSS = 1
    GRADIENT = 2
    HORIZON = 3
    STEPS = 4
    TOO_SMALL = 5
    DIVERGED = 6
    STRAINED = 7
    KINK = 8


class _Carry(eqx.Module):
    clock: Float[Array, ""]
    dt: Float[Array, ""]
    y: Any
    loss: Float[Array, ""]
    decay: Float[Array, ""]
    beyond: Float[Array, ""]
    loss_beyond: Float[Array, ""]
    aim: Float[Array, ""]
    last: CubicThrough | None
    ended: Bool[Array, ""]
    solver_state: Any
    controller_state: Any
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]
    status: Int[Array, ""]


@eqx.filter_jit
def _velocity(chart: AbstractChart, y: Any) -> Any:
    """Compiled as a part of the loop, but traced once for the dozen places that call it."""
    return chart.velocity(y)


@eqx.filter_jit
def integrate(
    chart: AbstractChart,
    y0: Any,
    t0: Float[Array, ""],
    grid: Float[Array, " r"],
    scale: Float[Array, ""],
    pairs: tuple[tuple[str, Observable], ...],
    solver: diffrax.AbstractSolver,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    stop_loss: Float[Array, ""] | None,
    stop_gradient: Float[Array, ""] | None,
    max_steps: Int[Array, ""],
    interpolate: Bool[Array, ""],
    handle: Int[Array, ""],
    progress: bool,
) -> dict[str, Any]:
    """Step through the recording times from t0 on.

    A logarithmic clock tau = log(1 + t/scale) replaces t where the chart asks for it. Where a step
    ends below the stopping loss it is not taken: it is tried again, shorter, until it ends on that
    loss. Where the chart is strained, the loop ends without a record, for another chart to go on.

    Args:
      chart: the coordinates.
      y0: the point to start from.
      t0: its time; times of the grid up to it are left out, but 0 is recorded at a start at 0.
      grid: recording times, from 0; the last is the horizon, which may come more than once, so that
        grids of other lengths do not compile again.
      scale: the unit of the logarithmic clock.
      pairs: observables by name.
      solver: a diffrax solver with an error estimate.
      rtol: relative tolerance of a step, of each entry or, where the chart says so, of the root
        mean square of all.
      atol: absolute tolerance of a step.
      stop_loss: the loss to stop at, if at any; without one there is less to compile.
      stop_gradient: the gradient norm to stop at, if at any; likewise.
      max_steps: accepted and rejected steps allowed.
      interpolate: let stabilised steps pass recording times, and record from their cubic Hermite
        interpolants, which are as accurate as they are.
      handle: of the progress line.
      progress: whether to report to it.

    Returns:
      valid, times and observables (one a grid time), y, t, status, accepted, rejected, and the
      solver's work where it counts it.
    """
    chart = chart.resolving(rtol)
    floor = jnp.full_like(scale, -jnp.inf) if stop_loss is None else stop_loss

    def of_clock(clock: Array) -> Array:
        return scale * jnp.expm1(clock) if chart.log_clock else clock

    def field(clock: Any, y: Any, args: Any) -> Any:
        rate = scale * jnp.exp(clock) if chart.log_clock else 1.0
        return jax.tree.map(lambda v: rate * v, _velocity(args, y))

    terms = diffrax.ODETerm(field)
    controller = diffrax.PIDController(rtol=0.0, atol=1.0)
    solver = with_tolerances(solver, rtol, atol)
    marks = jnp.log1p(grid / scale) if chart.log_clock else grid
    order = solver.error_order(terms)
    assert order is not None
    clock0 = jnp.log1p(t0 / scale) if chart.log_clock else t0
    first, controller_state = diffrax.PIDController(rtol=rtol, atol=atol).init(
        terms, clock0, marks[-1], y0, None, chart, solver.func, order
    )
    with_slopes = isinstance(solver, HandOver | AbstractStabilized)
    begun = solver.init(terms, clock0, first, y0, chart)
    longest = getattr(solver, "longest_step", lambda state: jnp.inf)
    retry = getattr(solver, "after_rejection", lambda before, tried: before)
    far = jnp.asarray(jnp.inf, grid.dtype)
    carry = _Carry(
        clock=clock0,
        dt=jnp.asarray(first, grid.dtype),
        y=y0,
        loss=chart.loss(y0),
        decay=jnp.zeros_like(far),
        beyond=far,
        loss_beyond=far,
        aim=clock0,
        last=_standing(clock0, y0) if with_slopes else None,
        ended=jnp.asarray(False),
        solver_state=begun,
        controller_state=jax.tree.map(jnp.asarray, controller_state),
        accepted=jnp.zeros((), jnp.int64),
        rejected=jnp.zeros((), jnp.int64),
        status=jnp.asarray(Status.RUNNING),
    )
    carry = eqx.tree_at(lambda c: c.status, carry, _stop(chart, carry, floor, stop_gradient, rtol))

    def stiff(carry: _Carry) -> Bool[Array, ""]:
        if not with_slopes:
            return jnp.asarray(False)
        return getattr(carry.solver_state, "stiff", jnp.asarray(True))

    proportional = proportionality(solver, rtol)

    def step(carry: _Carry, mark: Array) -> _Carry:
        free = interpolate & stiff(carry)
        ends = mark
        if with_slopes:
            ends = jnp.where(free, marks[-1], mark)
        dt = jnp.minimum(carry.dt, longest(carry.solver_state))
        dt = jnp.where(free, jnp.minimum(dt, to_stop(carry.loss, carry.decay, floor)), dt)
        target = jnp.minimum(carry.clock + dt, ends)
        # Bracketed: the stopping loss lies between `clock` and `beyond`; aim at it in log loss.
        bracketed = jnp.isfinite(carry.beyond)
        share = jnp.log(carry.loss / floor) / jnp.log(carry.loss / carry.loss_beyond)
        share = jnp.clip(jnp.where(jnp.isfinite(share), share, 0.5), 0.01, 1.0)
        aim = carry.clock + share * (carry.beyond - carry.clock)
        aim = jnp.where(carry.clock < carry.aim, carry.aim, aim)
        target = jnp.where(bracketed, jnp.minimum(target, aim), target)
        y1, error, dense, solver_state, result = solver.step(
            terms, carry.clock, target, carry.y, chart, carry.solver_state, jnp.asarray(False)
        )
        good = result == diffrax.RESULTS.successful
        error = relative_error(chart, error, carry.y, y1, rtol, atol)
        weight = chart.amplification(carry.y) * jnp.where(stiff(carry), proportional, 1.0)
        error = jax.tree.map(lambda e: weight * e, error)
        error = jax.tree.map(
            lambda e: jnp.where(good & jnp.isfinite(e), e, jnp.inf).astype(grid.dtype), error
        )
        keep, _, after, _, controller_state, _ = controller.adapt_step_size(
            carry.clock, target, carry.y, carry.y, chart, error, order, carry.controller_state
        )
        loss = chart.loss(y1)
        across = keep & _across(chart, field, carry, target, y1, rtol)
        overflow = across | (keep & ~jnp.isfinite(loss))
        keep = keep & ~overflow
        below = keep & (floor > 0) & (loss < floor * (1 - 1e-9))
        # Where records are interpolated, so is the end; else the step is tried again, shorter.
        crossed, below = below & free, below & ~free
        taken = keep & ~below
        moved = jnp.where(taken, target, carry.clock)
        dt = after - jnp.where(keep, target, carry.clock)
        # A step that was cut short to land on a mark says little about the next one's size.
        cut = taken & (target < carry.clock + carry.dt)
        dt = jnp.where(cut, jnp.maximum(dt, carry.dt), dt)
        dt = jnp.where(below, carry.dt, dt)
        dt = jnp.where(overflow, (target - carry.clock) / 4, dt)

        def pick(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(taken, a, b), new, old)

        aim = carry.aim
        if stop_loss is not None:
            aim = jax.lax.cond(
                below,
                lambda: aim_at(
                    chart,
                    (field(carry.clock, carry.y, chart), field(target, y1, chart)),
                    (carry.clock, target),
                    (carry.y, y1),
                    floor,
                ),
                lambda: carry.aim,
            )
        accepted = carry.accepted + taken
        rejected = carry.rejected + ~taken
        carry = _Carry(
            clock=moved,
            dt=dt,
            y=pick(y1, carry.y),
            loss=jnp.where(taken, loss, carry.loss),
            decay=jnp.where(
                taken, jnp.log(carry.loss / loss) / (target - carry.clock), carry.decay
            ),
            beyond=jnp.where(below, target, carry.beyond),
            loss_beyond=jnp.where(below, loss, carry.loss_beyond),
            aim=aim,
            last=(
                pick(CubicThrough(t0=carry.clock, t1=target, **dense), carry.last)
                if with_slopes
                else None
            ),
            ended=carry.ended,
            solver_state=pick(solver_state, retry(carry.solver_state, solver_state)),
            controller_state=jax.tree.map(
                lambda a, b: jnp.where(below, b, a), controller_state, carry.controller_state
            ),
            accepted=accepted,
            rejected=rejected,
            status=carry.status,
        )
        if with_slopes and stop_loss is not None:
            carry = jax.lax.cond(
                crossed, lambda c: _cut_at_crossing(chart, field, c, floor), lambda c: c, carry
            )
        status = _stop(chart, carry, floor, stop_gradient, rtol)
        status = jnp.where(
            (status == Status.RUNNING) & (accepted + rejected >= max_steps), Status.STEPS, status
        )
        resolution = 4 * jnp.finfo(grid.dtype).eps * jnp.maximum(moved, marks[1] * 1e-6)
        stuck = (status == Status.RUNNING) & ~(dt > resolution)
        stuck_as = jnp.where(across, Status.KINK, Status.TOO_SMALL)
        stuck_as = jnp.where(bracketed & below, Status.LOSS, stuck_as)
        status = jnp.where(stuck, stuck_as, status)
        return eqx.tree_at(lambda c: c.status, carry, status)

    def observe(y: Any) -> Any:
        state = State(chart, y)
        return {name: function(state) for name, function in pairs}

    def at(carry: _Carry, mark: Array) -> Any:
        """Where the flow is at a mark that was reached or passed, else where it has ended."""
        last = carry.last
        if last is None:
            return carry.y
        return jax.lax.cond(mark < carry.clock, lambda: last.evaluate(mark), lambda: carry.y)

    shapes = jax.eval_shape(observe, y0)

    def to_mark(carry: _Carry, marked: tuple[Array, Array, Array]) -> tuple[_Carry, Any]:
        mark, time, fresh = marked
        carry = jax.lax.while_loop(
            lambda c: (c.status == Status.RUNNING) & (c.clock < mark),
            lambda c: step(c, mark),
            carry,
        )
        reached = mark <= carry.clock
        due = fresh & ((mark > clock0) | (t0 == 0))
        valid = due & (reached | ~carry.ended) & (carry.status != Status.STRAINED)
        seen = jax.lax.cond(
            valid,
            lambda: observe(at(carry, mark)),
            lambda: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes),
        )
        if progress:
            report(handle, of_clock(carry.clock), carry.loss, carry.accepted, valid)
        ended = carry.ended | ((carry.status != Status.RUNNING) & (mark >= carry.clock))
        carry = eqx.tree_at(lambda c: c.ended, carry, ended)
        return carry, (valid, jnp.where(reached, time, of_clock(carry.clock)), seen)

    fresh = jnp.diff(grid, prepend=-1.0) > 0
    carry, (valid, times, seen) = jax.lax.scan(to_mark, carry, (marks, grid, fresh))
    status = jnp.where(carry.status == Status.RUNNING, Status.HORIZON, carry.status)
    return {
        "valid": valid,
        "times": times,
        "observables": seen,
        "y": carry.y,
        "t": of_clock(carry.clock),
        "status": status,
        "accepted": carry.accepted,
        "rejected": carry.rejected,
        "work": getattr(carry.solver_state, "work", None),
    }


def _standing(clock: Array, y: Any) -> CubicThrough:
    """The interpolant of no step at all."""
    still = jax.tree.map(jnp.zeros_like, y)
    return CubicThrough(t0=clock, t1=clock, **through_slopes(y, y, still, still))


def _across(
    chart: AbstractChart, field: Any, carry: _Carry, target: Array, y1: Any, rtol: Array
) -> Bool[Array, ""]:
    """Whether a step went across a kink of a penalty, or would have gone at its first speed.

    An error estimate may miss a kink in two ways: where it lies behind the last stage, and, in
    extrapolation methods, where it lies in the first substep of each column: then all columns go on
    with the slopes of the other side, and agree. Where the flow only comes near a kink and turns,
    the second condition asks for steps that see it turn.
    """
    h = target - carry.clock
    slope = field(carry.clock, carry.y, chart)
    straight = jax.tree.map(lambda y, k: y + h * k, carry.y, slope)
    return chart.crossed(carry.y, y1, rtol) | chart.crossed(carry.y, straight, rtol)


def _cut_at_crossing(chart: AbstractChart, field: Any, carry: _Carry, stop_loss: Array) -> _Carry:
    """End the step just taken where its interpolant reaches the stopping loss."""
    curve = carry.last
    assert curve is not None
    clock = crossing(chart, curve, stop_loss, halvings=40)
    y = curve.evaluate(clock)
    slope = field(clock, y, chart)
    return eqx.tree_at(
        lambda c: (c.clock, c.y, c.loss, c.solver_state.slope),
        carry,
        (clock, y, chart.loss(y), slope),
    )


def _stop(
    chart: AbstractChart, carry: _Carry, stop_loss: Array, stop_gradient: Array | None, rtol: Array
) -> Int[Array, ""]:
    """The status after a step: running, or why not."""
    status = jnp.where(carry.loss <= stop_loss * (1 + 2e-9), Status.LOSS, Status.RUNNING)
    if stop_gradient is not None:
        small = chart.squared_speed(carry.y) <= stop_gradient**2
        status = jnp.where(small, Status.GRADIENT, status)
    kink = (status == Status.RUNNING) & ~chart.smooth(carry.y, rtol)
    status = jnp.where(kink, Status.KINK, status)
    strained = (status == Status.RUNNING) & chart.strained(carry.y)
    status = jnp.where(strained, Status.STRAINED, status)
    return jnp.where(jnp.isfinite(carry.loss), status, Status.DIVERGED)
