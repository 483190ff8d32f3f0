r"""One step of a flow: proposed, tried, judged, landed.

A step that ends below the stopping loss is cut by its interpolant, where that may be used, or else
tried again, shorter, until it ends on that loss.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.flow.clock import FlowField
from gradflow.flow.error_control import ErrorControl, across_kink
from gradflow.flow.stopping import Bracket, Progress, Status, Stop, aim_at, crossing, to_stop
from gradflow.ode.interpolation import CubicThrough, standing
from gradflow.ode.stabilized import AbstractStabilized
from gradflow.ode.switching import StiffnessSwitch

_FIRST = 1e-2
"""The first step on a logarithmic clock."""
_NOTHING = 1e-10
"""A change of the product that may be rounding."""
_SUDDEN = 1e4
"""By how many times its size the product may change in a unit of a logarithmic clock."""


class Carry(eqx.Module):
    """Where a flow is, and what its next step builds on.

    Attributes:
      clock: the clock's reading.
      dt: the next step's length, unless something shortens it.
      y: the coordinates.
      loss: the loss.
      decay: its logarithmic rate over the last step; 0 before the first.
      least: the least that was seen of what is watched; see `AbstractCoordinates.watched`.
      bracket: of the stopping loss.
      progress: what it had come to when it was last looked at.
      last: the last step's interpolant, of solvers that pass recording times.
      ended: whether the end is recorded.
      solver_state: what the solver keeps.
      controller_state: what the error control keeps.
      accepted: steps taken.
      rejected: steps tried and not taken.
      status: a `Status`.
    """

    clock: Float[Array, ""]
    dt: Float[Array, ""]
    y: Any
    loss: Float[Array, ""]
    decay: Float[Array, ""]
    least: Any
    bracket: Bracket
    progress: Progress
    last: CubicThrough | None
    ended: Bool[Array, ""]
    solver_state: Any
    controller_state: Any
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]
    status: Int[Array, ""]


class Attempt(NamedTuple):
    """A step that was tried.

    Attributes:
      free: whether it may pass recording times, and the stopping loss.
      target: the clock's reading at its end.
      y1: the coordinates there.
      loss: the loss there.
      error: the solver's estimate; infinite where the solver failed.
      dense: what an interpolant is made of.
      solver_state: what the solver would keep.
    """

    free: Bool[Array, ""]
    target: Float[Array, ""]
    y1: Any
    loss: Float[Array, ""]
    error: Any
    dense: dict[str, Any]
    solver_state: Any


class Verdict(NamedTuple):
    """What became of a step that was tried.

    Attributes:
      taken: whether the flow goes on from its end.
      below: not taken only because it ends below the stopping loss.
      crossed: taken, though it ends there: its interpolant tells where to stop.
      across: not taken because of a kink of the penalty.
      dt: the next step's length.
      controller_state: what the error control keeps.
    """

    taken: Bool[Array, ""]
    below: Bool[Array, ""]
    crossed: Bool[Array, ""]
    across: Bool[Array, ""]
    dt: Float[Array, ""]
    controller_state: Any


class FlowStepper(eqx.Module):
    """What stays the same from step to step, and the parts of a step.

    Attributes:
      field: the velocity.
      solver: a diffrax solver with an error estimate.
      control: of the error.
      stop: what ends the flow.
      proportional: the weight of stabilised steps' errors; see `proportionality`.
      alert: the weight of all steps' errors; see `alertness`.
      horizon: the clock's reading at the last time.
      earliest: readings before this count as this where the least step is a share of the reading.
      interpolate: whether stabilised steps pass recording times.
    """

    field: FlowField
    solver: diffrax.AbstractSolver
    control: ErrorControl
    stop: Stop
    proportional: Float[Array, ""]
    alert: Float[Array, ""]
    horizon: Float[Array, ""]
    earliest: Float[Array, ""]
    interpolate: Bool[Array, ""]

    @property
    def coordinates(self) -> AbstractCoordinates:
        """The coordinates."""
        return self.field.coordinates

    @property
    def rtol(self) -> Any:
        """The relative tolerance of a step."""
        return self.control.rtol

    @property
    def terms(self) -> diffrax.ODETerm:
        """The velocity, as solvers take it."""
        return diffrax.ODETerm(self.field)

    @property
    def stabilized(self) -> bool:
        """Whether the solver takes stabilised steps, which are long and know their slopes."""
        return isinstance(self.solver, StiffnessSwitch | AbstractStabilized)

    def begin(self, y0: Any, t0: Array) -> Carry:
        """Before the first step."""
        clock, terms = self.field.clock.reading(t0), self.terms
        order, func = self.solver.error_order(terms), self.solver.func
        first, controller_state = self.control.init(
            terms, clock, self.horizon, y0, None, None, func, order
        )
        # Probes of a first step may go to where a logarithmic clock's time overflows.
        # And where time is long they try steps that it does not resolve.
        least = 2 * self.least_step(clock)
        dt = _FIRST if self.coordinates.logarithmic_clock else jnp.maximum(first - clock, least)
        loss, none = self.coordinates.loss(y0), jnp.zeros((), jnp.int64)
        return Carry(
            clock=clock,
            dt=jnp.asarray(dt, clock.dtype),
            y=y0,
            loss=loss,
            decay=jnp.zeros_like(clock),
            least=self.coordinates.watched(y0),
            bracket=Bracket.unknown(clock),
            progress=Progress(clock, loss, loss),
            last=standing(clock, y0) if self.stabilized else None,
            ended=jnp.asarray(False),
            solver_state=self.solver.init(terms, clock, first, y0, None),
            controller_state=controller_state,
            accepted=none,
            rejected=none,
            status=self.stop.status(self.coordinates, y0, loss, self.rtol),
        )

    def advance(self, carry: Carry, mark: Array) -> Carry:
        """One step towards a mark: propose, step, judge, land."""
        attempt = self.step(carry, *self.propose(carry, mark))
        verdict = self.judge(carry, attempt)
        landed = self.land(carry, attempt, verdict)
        steps = landed.accepted + landed.rejected
        progress, none = landed.progress.renewed(steps, landed.clock, landed.loss)
        status = self.status(carry, verdict, landed)
        status = jnp.where((status == Status.RUNNING) & none, Status.STALLED, status)
        return eqx.tree_at(lambda c: (c.status, c.progress), landed, (status, progress))

    def propose(self, carry: Carry, mark: Array) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        """Whether the next step is free to pass marks, and where it is to end.

        If free, it ends not far behind the stopping loss; where that is bracketed, on it.
        """
        free = self.interpolate & self.stiff(carry)
        end = jnp.where(free, self.horizon, mark) if self.stabilized else mark
        longest = getattr(self.solver, "longest_step", lambda state: jnp.inf)
        dt = jnp.minimum(carry.dt, longest(carry.solver_state))
        dt = jnp.where(free, jnp.minimum(dt, to_stop(carry.loss, carry.decay, self.stop.floor)), dt)
        target = jnp.minimum(carry.clock + dt, end)
        aim = carry.bracket.target(carry.clock, carry.loss, self.stop.floor)
        return free, jnp.where(carry.bracket.known, jnp.minimum(target, aim), target)

    def step(self, carry: Carry, free: Bool[Array, ""], target: Float[Array, ""]) -> Attempt:
        """Try the step."""
        y1, error, dense, solver_state, result = self.solver.step(
            self.terms, carry.clock, target, carry.y, None, carry.solver_state, jnp.asarray(False)
        )
        good = result == diffrax.RESULTS.successful
        error = jax.tree.map(lambda e: jnp.where(good, e, jnp.inf), error)
        return Attempt(free, target, y1, self.coordinates.loss(y1), error, dense, solver_state)

    def judge(self, carry: Carry, attempt: Attempt) -> Verdict:
        """Whether a step's error is small enough and its end a point of the flow to go on from."""
        clock, target, loss = carry.clock, attempt.target, attempt.loss
        order = self.solver.error_order(self.terms)
        even = jnp.where(self.stiff(carry), self.proportional, 1.0)
        control = self.control.weighing(even * self.alert)
        keep, _, after, _, controller_state, _ = control.adapt_step_size(
            clock, target, carry.y, attempt.y1, None, attempt.error, order, carry.controller_state
        )
        across = keep & across_kink(self.field, (clock, target), (carry.y, attempt.y1), self.rtol)
        leap = keep & self.coordinates.leaps(carry.y, attempt.y1)
        invalid = across | leap | (keep & ~jnp.isfinite(loss))
        keep = keep & ~invalid
        below = keep & self.stop.passed(loss)
        # Where records are interpolated, so is the end; else the step is tried again, shorter.
        crossed, below = below & attempt.free, below & ~attempt.free
        taken = keep & ~below
        dt = after - jnp.where(keep, target, clock)
        # A step that was cut short to land on a mark says little about the next one's size.
        cut = taken & (target < clock + carry.dt)
        dt = jnp.where(cut, jnp.maximum(dt, carry.dt), dt)
        dt = jnp.where(below, carry.dt, dt)
        dt = jnp.where(invalid, (target - clock) / 4, dt)
        controller_state = jax.tree.map(
            lambda a, b: jnp.where(below, b, a), controller_state, carry.controller_state
        )
        return Verdict(taken, below, crossed, across, dt, controller_state)

    def land(self, carry: Carry, attempt: Attempt, verdict: Verdict) -> Carry:
        """The flow at the end of a step that was taken, else at its start, and wiser."""
        clock, target, taken = carry.clock, attempt.target, verdict.taken

        def pick(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(taken, a, b), new, old)

        retry = getattr(self.solver, "after_rejection", lambda before, tried: before)
        again = retry(carry.solver_state, attempt.solver_state)
        decay = jnp.log(carry.loss / attempt.loss) / (target - clock)
        last = None
        if self.stabilized:
            last = pick(CubicThrough(t0=clock, t1=target, **attempt.dense), carry.last)
        landed = Carry(
            clock=pick(target, clock),
            dt=verdict.dt,
            y=pick(attempt.y1, carry.y),
            loss=pick(attempt.loss, carry.loss),
            decay=pick(decay, carry.decay),
            least=self.least(carry, attempt, taken),
            bracket=self.narrow(carry, attempt, verdict.below),
            progress=carry.progress,
            last=last,
            ended=carry.ended,
            solver_state=pick(attempt.solver_state, again),
            controller_state=verdict.controller_state,
            accepted=carry.accepted + taken,
            rejected=carry.rejected + ~taken,
            status=carry.status,
        )
        if not self.stabilized or self.stop.loss is None:
            return landed
        return jax.lax.cond(verdict.crossed, lambda c: self.cut_at_crossing(c), lambda c: c, landed)

    def status(self, before: Carry, verdict: Verdict, landed: Carry) -> Int[Array, ""]:
        """Whether to go on after a step or, if not, why not."""
        status = self.stop.status(self.coordinates, landed.y, landed.loss, self.rtol)
        spent = landed.accepted + landed.rejected >= self.stop.steps
        settled = landed.bracket.settled(landed.loss, self.stop.floor)
        status = jnp.where((status == Status.RUNNING) & settled, Status.LOSS, status)
        status = jnp.where((status == Status.RUNNING) & spent, Status.STEPS, status)
        if self.coordinates.logarithmic_clock:
            late = (status == Status.RUNNING) & self.sudden(before, landed)
            status = jnp.where(late, Status.CLOCK, status)
        stuck = (status == Status.RUNNING) & ~(verdict.dt > self.least_step(landed.clock))
        stuck_as = jnp.where(verdict.across, Status.KINK, Status.TOO_SMALL)
        stuck_as = jnp.where(before.bracket.known & verdict.below, Status.LOSS, stuck_as)
        return jnp.where(stuck, stuck_as, status)

    def least_step(self, clock: Array) -> Float[Array, ""]:
        """What a clock that reads this does not tell from no step at all."""
        return 4 * jnp.finfo(clock.dtype).eps * jnp.maximum(clock, self.earliest)

    def time(self, carry: Carry) -> Float[Array, ""]:
        """The time that the flow has come to."""
        return self.field.clock.time(carry.clock)

    def least(self, carry: Carry, attempt: Attempt, taken: Bool[Array, ""]) -> Any:
        """The least so far of what is watched; not computed where nothing is, or nothing moved."""
        before = carry.least
        if not jax.tree.leaves(before):
            return before

        def now() -> Any:
            return jax.tree.map(jnp.minimum, before, self.coordinates.watched(attempt.y1))

        return jax.lax.cond(taken, now, lambda: before)

    def sudden(self, before: Carry, landed: Carry) -> Bool[Array, ""]:
        """Whether a logarithmic clock has become too coarse for what happens now.

        Never after a step that was not taken: compiled, two products of one y may round otherwise.
        """
        change = self.coordinates.relative_change(before.y, landed.y)
        moved = landed.clock - before.clock
        return (moved > 0) & (change > jnp.maximum(_SUDDEN * moved, _NOTHING))

    def stiff(self, carry: Carry) -> Bool[Array, ""]:
        """Whether the next step is a stabilised one."""
        if not self.stabilized:
            return jnp.asarray(False)
        return getattr(carry.solver_state, "stiff", jnp.asarray(True))

    def narrow(self, carry: Carry, attempt: Attempt, below: Bool[Array, ""]) -> Bracket:
        """The bracket of the stopping loss, narrower where a step ended below it."""
        if self.stop.loss is None:
            return carry.bracket
        times, ends = (carry.clock, attempt.target), (carry.y, attempt.y1)

        def narrower() -> Bracket:
            aim = aim_at(self.field, times, ends, attempt.dense, self.stop.floor)
            return Bracket(attempt.target, attempt.loss, aim, carry.bracket.tries)

        found = jax.lax.cond(below, narrower, lambda: carry.bracket)
        return eqx.tree_at(lambda b: b.tries, found, found.tries + found.known)

    def cut_at_crossing(self, carry: Carry) -> Carry:
        """End the step just taken where its interpolant reaches the stopping loss."""
        curve = carry.last
        assert curve is not None
        clock = crossing(self.coordinates, curve, self.stop.floor, halvings=40)
        y = curve.evaluate(clock)
        return eqx.tree_at(
            lambda c: (c.clock, c.y, c.loss, c.solver_state.slope),
            carry,
            (clock, y, self.coordinates.loss(y), self.field(clock, y)),
        )
