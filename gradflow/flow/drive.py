"""From a prepared flow to its end, alone or in a batch."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.logs import LOGGER
from gradflow._util.progress import FlowProgress
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.handover import handed_over
from gradflow.flow.clock import Clock
from gradflow.flow.loop import Leg, Passed, integrate
from gradflow.flow.readings import Asked, Point, at_end, at_ends
from gradflow.flow.recording import Marks, marks_of, observe
from gradflow.flow.setup import Batch, PreparedFlow, time_scale
from gradflow.flow.side_by_side import integrate_side_by_side
from gradflow.flow.stacking import in_turn, stack_alike, unlike
from gradflow.flow.step import Carry
from gradflow.flow.stopping import Status, Stop
from gradflow.observables import Observable

_PARTS = 200
"""Coordinate systems and clocks that a flow may go through."""
_GO_ON = (Status.NEAR_SINGULARITY, Status.CLOCK)


class Part(NamedTuple):
    """A flow's way through one coordinate system on one clock.

    Attributes:
      end: where it got to.
      valid: at which recording times there is something to record.
      times: when.
      reached: which of the recording times it reached.
      seen: the observables at all of them.
    """

    end: Carry
    valid: np.ndarray
    times: np.ndarray
    reached: np.ndarray
    seen: dict[str, Any]


def run(flow: PreparedFlow, begun: Part | None = None) -> dict[str, Any]:
    """Integrate, in one coordinate system after the other where the first does not reach the end.

    Where a logarithmic clock becomes too coarse, another one goes on from zero.

    Args:
      flow: what to integrate.
      begun: what the loop gave in the first coordinates, if it was run already.
    """
    coordinates, y, began = flow.coordinates, flow.y, time.perf_counter()
    records: list[Any] = []
    t, accepted, rejected, status, work, charts = flow.before.time, 0, 0, Status.RUNNING, None, 1
    least: list[Any] = []
    base, scale, done = t, flow.scale, np.zeros(flow.grid.size, bool)
    with FlowProgress(flow.options.progress, flow.options.stop_loss) as bar:
        while not records or (status in _GO_ON and len(records) < _PARTS):
            if status is Status.NEAR_SINGULARITY:
                coordinates, y = handed_over(coordinates, y)
                charts += 1
                LOGGER.debug("at t = %.6g on in other %r coordinates", t, coordinates.name)
            elif status is Status.CLOCK:
                base, scale = t, time_scale(coordinates, y)
                LOGGER.debug("at t = %.6g on with a clock that begins anew", t)
            leg = _leg(flow, coordinates, scale, base, accepted + rejected)
            part, begun = begun or _alone(flow, leg, (y, t), done, bar.handle), None
            count = min(done.size, part.reached.size)
            done[:count] |= part.reached[:count]
            rows = part.valid
            records.append(jax.tree.map(lambda x, rows=rows: x[rows], (part.times, part.seen)))
            y, t = part.end.y, float(leg.clock.time(part.end.clock))
            status = Status(int(part.end.status))
            accepted += int(part.end.accepted)
            rejected += int(part.end.rejected)
            work = getattr(part.end.solver_state, "work", None)
            least.append(jax.tree.map(np.asarray, part.end.least))
    times, observables = jax.tree.map(lambda *pieces: np.concatenate(pieces), *records)
    rtol = jnp.asarray(flow.options.rtol)
    places = Point(flow.coordinates, flow.y, rtol), Point(coordinates, y, rtol)
    return {
        "read": at_end(*places, _asked([flow])),
        "times": times,
        "observables": observables,
        "coordinates": coordinates,
        "y": y,
        "t": t,
        "status": Status.HORIZON if status is Status.RUNNING else status,
        "accepted": accepted,
        "rejected": rejected,
        "charts": charts,
        "work": work,
        "least": jax.tree.map(lambda *each: np.min(each, axis=0), *least),
        "seconds": time.perf_counter() - began,
    }


def run_together(batch: Batch) -> list[dict[str, Any]]:
    """Integrate all in one compiled call; those that need other coordinates go on one by one."""
    began, flows = time.perf_counter(), batch.flows
    through = _together(batch)
    part = jax.device_get(through)  # at once: a slice on the device is a program's run
    logarithmic = flows[0].coordinates.logarithmic_clock
    units = [flow.scale for flow in flows], [flow.before.time for flow in flows]
    clock = Clock(logarithmic, *(jnp.asarray(numbers, jnp.float64) for numbers in units))
    times = np.asarray(clock.time(through.end.clock)).tolist()
    goes_on = np.isin(part.end.status, _GO_ON)
    ends = [
        run(flow, begun=_own(part, k)) if goes_on[k] else _ended(flow, part, k, times[k])
        for k, flow in enumerate(flows)
    ]
    # What goes on was told of its end by itself.
    tree, (starts, common) = jax.tree.map, batch.points
    held = tree(lambda y, y0: _chosen(goes_on, y0, y), part.end.y, jax.device_get(starts.y))
    read = at_ends(starts, common, tree(jnp.asarray, held), len(flows), _asked(flows))
    seconds = time.perf_counter() - began
    return [{"read": its} | end | {"seconds": seconds} for its, end in zip(read, ends, strict=True)]


def _chosen(which: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    return np.where(which.reshape(-1, *[1] * (no.ndim - 1)), yes, no)


def _ended(flow: PreparedFlow, part: Part, k: int, t: float) -> dict[str, Any]:
    """What `run` gives for a flow of a batch that came to its end."""
    rows, end = part.valid[k], part.end
    work = getattr(end.solver_state, "work", None)
    status = Status(int(end.status[k]))
    return {
        "times": part.times[k][rows],
        "observables": jax.tree.map(lambda seen: seen[k][rows], part.seen),
        "coordinates": flow.coordinates,
        "y": jax.tree.map(lambda leaf: leaf[k], end.y),
        "t": t,
        "status": Status.HORIZON if status is Status.RUNNING else status,
        "accepted": int(end.accepted[k]),
        "rejected": int(end.rejected[k]),
        "charts": 1,
        "work": jax.tree.map(lambda leaf: leaf[k], work),
        "least": jax.tree.map(lambda leaf: leaf[k], end.least),
    }


def _asked(flows: Sequence[PreparedFlow]) -> Asked:
    """What is to be told of the ends: the same for all of a batch."""
    conserved = flows[0].dynamics.conserves_balance and flows[0].objective.conserves_balance
    return Asked(any(flow.before.rank is not None for flow in flows), conserved)


def _own(part: Part, k: int) -> Part:
    """Of all flows' parts the k-th."""
    own = jax.tree.map(lambda leaf: leaf[k], part)
    goes_on = jax.tree.map(jnp.asarray, (own.end.y, own.end.clock))
    return own._replace(end=eqx.tree_at(lambda end: (end.y, end.clock), own.end, goes_on))


def _leg(
    flow: PreparedFlow, coordinates: AbstractCoordinates, scale: float, base: float, spent: int
) -> Leg:
    """The flow in these coordinates, on a clock of this scale and base."""
    options, number = flow.options, jnp.float64
    stop = Stop(
        None if options.stop_loss is None else jnp.asarray(options.stop_loss, number),
        None if options.stop_gradient is None else jnp.asarray(options.stop_gradient, number),
        jnp.asarray(options.max_steps - spent, jnp.int64),
    )
    clock = Clock(
        coordinates.logarithmic_clock, *(jnp.asarray(value, number) for value in (scale, base))
    )
    return Leg(
        coordinates=coordinates,
        clock=clock,
        solver=flow.solver,
        rtol=jnp.asarray(options.rtol, number),
        atol=jnp.asarray(flow.atol, number),
        stop=stop,
        first=jnp.asarray(flow.grid[:2][-1], number),
        horizon=jnp.asarray(flow.grid[-1], number),
        interpolate=jnp.asarray(flow.interpolate),
    )


def _legs(batch: Batch) -> tuple[Leg, Leg]:
    """The flows' legs: arrays with a leading axis, and what they have in common."""
    first, (arrays, rest) = batch.flows[0], batch.points

    def numbers(flow: PreparedFlow) -> tuple[Any, ...]:
        """In the order of a leg's fields."""
        options, real = flow.options, np.float64
        stops = [s if s is None else real(s) for s in (options.stop_loss, options.stop_gradient)]
        return (
            (real(flow.scale), real(flow.before.time)),
            flow.solver,
            (real(options.rtol), real(flow.atol)),
            (*stops, np.int64(options.max_steps)),
            (real(flow.grid[:2][-1]), real(flow.grid[-1])),
            np.bool_(flow.interpolate),
        )

    leg = _leg(first, first.coordinates, first.scale, first.before.time, 0)
    kind = jax.tree.structure(leg)
    kinds = [jax.tree.structure(part) for part in (first.coordinates, numbers(first))]

    def made(*parts: Any) -> Leg:
        leaves = [k.flatten_up_to(part) for k, part in zip(kinds, parts, strict=True)]
        return kind.unflatten(leaves[0] + leaves[1])

    own, common = stack_alike([numbers(flow) for flow in batch.flows])
    return made(arrays.coordinates, own), made(rest.coordinates, common)


def _alone(
    flow: PreparedFlow, leg: Leg, start: tuple[Any, float], done: np.ndarray, handle: int
) -> Part:
    """One flow through its recording times."""
    y, t = start

    def go(at: Any, marks: Marks) -> tuple[Carry, Passed]:
        return integrate(leg, at, marks, jnp.asarray(handle), handle >= 0)

    def look(points: Any, valid: Any) -> dict[str, Any]:
        return observe(flow.pairs, leg.coordinates, leg.rtol, points, valid, in_turn())

    return _through(go, look, (y, jnp.asarray(t)), marks_of(flow.grid, done, _bytes(y)))


def _together(batch: Batch) -> Part:
    """All flows through their recording times; every array has a leading axis, of flows."""
    flows, y = batch.flows, batch.points[0].y
    for k, flow in zip(batch.places, flows, strict=True):
        if flow.grid.size != flows[0].grid.size:
            raise unlike(k)
    (stacked, common), pairs = _legs(batch), flows[0].pairs

    def go(at: Any, marks: Marks) -> tuple[Carry, Passed]:
        return _integrate_all(stacked, common, at, marks, in_turn())

    def look(points: Any, valid: Any) -> dict[str, Any]:
        return _observe_all(stacked, common, pairs, points, valid, in_turn())

    grid, size = np.stack([flow.grid for flow in flows]), _bytes(y)
    if not in_turn():  # at the end of a portion all wait for the slowest: fewer of them
        size //= 8
    begin = jnp.asarray([flow.before.time for flow in flows])
    return _through(go, look, (y, begin), marks_of(grid, np.zeros(grid.shape, bool), size))


def _through(
    go: Callable[[Any, Marks], tuple[Carry, Passed]],
    look: Callable[[Any, Any], dict[str, Any]],
    at: Any,
    portions: Iterable[Marks],
) -> Part:
    """Through the recording times; points are let go once they are observed."""
    pieces: list[Any] = []
    for marks in portions:
        at, passed = go(at, marks)
        seen = look(passed.points, passed.valid)
        piece = (passed.valid, passed.times, passed.reached, seen)
        pieces.append(jax.tree.map(np.asarray, piece))
        if np.all(np.asarray(at.status) != Status.RUNNING):
            break
    axis = pieces[0][0].ndim - 1
    return Part(at, *jax.tree.map(lambda *arrays: np.concatenate(arrays, axis), *pieces))


@eqx.filter_jit
def _integrate_all(
    arrays: Leg, rest: Leg, start: Any, marks: Marks, turn: bool
) -> tuple[Carry, Passed]:
    def one(each: tuple[Leg, Any, Marks]) -> tuple[Carry, Passed]:
        leg, at, portion = each
        return integrate(eqx.combine(leg, rest), at, portion, jnp.asarray(-1), progress=False)

    if turn:
        return jax.lax.map(one, (arrays, start, marks))
    return integrate_side_by_side(arrays, rest, start, marks)


@eqx.filter_jit
def _observe_all(
    arrays: Leg,
    rest: Leg,
    pairs: tuple[tuple[str, Observable], ...],
    points: Any,
    valid: Any,
    turn: bool,
) -> dict[str, Any]:
    def one(each: tuple[Leg, Any, Any]) -> dict[str, Any]:
        leg, at, which = each
        coordinates = eqx.combine(leg, rest).coordinates
        return observe(pairs, coordinates, leg.rtol, at, which, turn)

    given = (arrays, points, valid)
    return jax.lax.map(one, given) if turn else jax.vmap(one)(given)


def _bytes(y: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(y))
