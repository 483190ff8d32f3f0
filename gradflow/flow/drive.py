"""From a prepared flow to its end, alone or in a batch."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.progress import FlowProgress
from gradflow.flow.clock import Clock
from gradflow.flow.loop import Leg, Passed, integrate
from gradflow.flow.readings import Asked, Point, at_end, at_ends
from gradflow.flow.recording import Marks, marks_of, observe
from gradflow.flow.running import Part, RunningFlow
from gradflow.flow.setup import PreparedBatch, PreparedFlow
from gradflow.flow.side_by_side import integrate_side_by_side
from gradflow.flow.stacking import in_turn, kind_of, stack_alike
from gradflow.flow.step import Carry
from gradflow.flow.stopping import Status, Stop, another_follows
from gradflow.observables import Observable

_MANY = 4096
"""Flows that go on in other coordinates from which one more program for all pays on a CPU."""


def run(flow: PreparedFlow) -> dict[str, Any]:
    """Integrate, in one coordinate system after the other where the first does not reach the end.

    Where a logarithmic clock becomes too coarse, another one goes on from zero.

    Args:
      flow: what to integrate.
    """
    running, began = RunningFlow(flow), time.perf_counter()
    with FlowProgress(flow.options.progress, flow.options.stop_loss) as bar:
        while running.goes_on:
            running.turn()
            _alone(running, bar.handle)
    read = at_end(*running.points, _asked([flow]))
    return {"read": read, "seconds": time.perf_counter() - began} | running.result()


def run_together(batch: PreparedBatch) -> list[dict[str, Any]]:
    """Integrate all in one compiled call.

    Those that need other coordinates or another clock then go on, together with those that do so in
    coordinates alike; on a CPU one by one, unless they are very many.
    """
    began, flows = time.perf_counter(), batch.flows
    several = [RunningFlow(flow) for flow in flows]
    part, times = _together(several, batch.points)
    goes_on = np.asarray(another_follows(part.end.status))
    others = {int(k): several[k] for k in np.flatnonzero(goes_on)}
    for k, one in others.items():
        one.take(part.of(k), times[k])
    _go_on(list(others.values()))
    # What goes on is told of its end by itself.
    tree, (starts, common) = jax.tree.map, batch.points
    held = tree(lambda y, y0: _chosen(goes_on, y0, y), part.end.y, jax.device_get(starts.y))
    asked = _asked(flows)
    reads = at_ends(starts, common, tree(jnp.asarray, held), len(flows), asked)
    ends = [
        {"read": at_end(*others[k].points, asked)} | others[k].result()
        if k in others
        else {"read": reads[k]} | _ended(flow, part, k, times[k])
        for k, flow in enumerate(flows)
    ]
    seconds = time.perf_counter() - began
    return [end | {"seconds": seconds} for end in ends]


def _go_on(several: list[RunningFlow]) -> None:
    """To their ends, part by part."""
    while going := [one for one in several if one.goes_on]:
        groups: dict[Any, list[RunningFlow]] = {}
        for one in going:
            one.turn()
            groups.setdefault(kind_of((one.coordinates, one.y)), []).append(one)
        for group in groups.values():
            if len(group) < (_MANY if in_turn() else 2):
                for one in group:
                    _alone(one, -1)
            else:
                _as_a_batch(group)


def _as_a_batch(several: list[RunningFlow]) -> None:
    """A part of each, in one compiled call."""
    missing = 0 if in_turn() else _lanes(len(several)) - len(several)
    lanes = several + several[:1] * missing
    points = [Point(w.coordinates, w.y, np.float64(w.flow.options.rtol)) for w in lanes]
    part, times = _together(lanes, stack_alike(points))
    for k, one in enumerate(several):
        one.take(part.of(k), times[k])


def _lanes(count: int) -> int:
    """A power of four, so that few numbers of flows side by side are compiled."""
    return 4 ** math.ceil(math.log(count, 4))


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


def _leg(running: RunningFlow) -> Leg:
    """What is ahead of a flow."""
    flow, coordinates = running.flow, running.coordinates
    options, number = flow.options, jnp.float64
    stop = Stop(
        None if options.stop_loss is None else jnp.asarray(options.stop_loss, number),
        None if options.stop_gradient is None else jnp.asarray(options.stop_gradient, number),
        jnp.asarray(options.max_steps - running.accepted - running.rejected, jnp.int64),
    )
    clock = Clock(
        coordinates.logarithmic_clock,
        *(jnp.asarray(x, number) for x in (running.scale, running.base)),
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


def _legs(several: Sequence[RunningFlow], points: tuple[Point, Point]) -> tuple[Leg, Leg]:
    """The flows' legs: arrays with a leading axis, and what they have in common."""
    first, (arrays, rest) = several[0], points

    def numbers(one: RunningFlow) -> tuple[Any, ...]:
        """In the order of a leg's fields."""
        flow, options, real = one.flow, one.flow.options, np.float64
        stops = [s if s is None else real(s) for s in (options.stop_loss, options.stop_gradient)]
        return (
            (real(one.scale), real(one.base)),
            flow.solver,
            (real(options.rtol), real(flow.atol)),
            (*stops, np.int64(options.max_steps - one.accepted - one.rejected)),
            (real(flow.grid[:2][-1]), real(flow.grid[-1])),
            np.bool_(flow.interpolate),
        )

    leg = _leg(first)
    kind = jax.tree.structure(leg)
    kinds = [jax.tree.structure(part) for part in (first.coordinates, numbers(first))]

    def made(*parts: Any) -> Leg:
        leaves = [k.flatten_up_to(part) for k, part in zip(kinds, parts, strict=True)]
        return kind.unflatten(leaves[0] + leaves[1])

    own, common = stack_alike([numbers(one) for one in several])
    return made(arrays.coordinates, own), made(rest.coordinates, common)


def _alone(running: RunningFlow, handle: int) -> None:
    """A part of one flow, through its recording times."""
    flow, leg = running.flow, _leg(running)

    def go(at: Any, marks: Marks) -> tuple[Carry, Passed]:
        return integrate(leg, at, marks, jnp.asarray(handle), handle >= 0)

    def look(points: Any, valid: Any) -> dict[str, Any]:
        return observe(flow.pairs, leg.coordinates, leg.rtol, points, valid, in_turn())

    marks = marks_of(flow.grid, running.done, _bytes(running.y))
    part = _through(go, look, (running.y, jnp.asarray(running.t)), marks)
    running.take(part, float(leg.clock.time(part.end.clock)))


def _together(
    several: Sequence[RunningFlow], points: tuple[Point, Point]
) -> tuple[Part, list[float]]:
    """A part of many flows, with a leading axis, of flows; and when each ends.

    Args:
      several: the flows, in coordinates alike.
      points: where they are, stacked.
    """
    (stacked, common), pairs = _legs(several, points), several[0].flow.pairs

    def go(at: Any, marks: Marks) -> tuple[Carry, Passed]:
        return _integrate_all(stacked, common, at, marks, in_turn())

    def look(seen: Any, valid: Any) -> dict[str, Any]:
        return _observe_all(stacked, common, pairs, seen, valid, in_turn())

    longest, size = max(one.flow.grid.size for one in several), _bytes(points[0].y)
    grid, done = (
        np.stack([np.pad(row, (0, longest - row.size), mode="edge") for row in rows])
        for rows in zip(*((one.flow.grid, one.done) for one in several), strict=True)
    )
    if not in_turn():  # at the end of a portion all wait for the slowest: fewer of them
        size //= 8
    begin = jnp.asarray([one.t for one in several])
    through = _through(go, look, (points[0].y, begin), marks_of(grid, done, size))
    part = jax.device_get(through)  # at once: a slice on the device is a program's run
    units = [one.scale for one in several], [one.base for one in several]
    logarithmic = several[0].coordinates.logarithmic_clock
    clock = Clock(logarithmic, *(jnp.asarray(numbers, jnp.float64) for numbers in units))
    return part, np.asarray(clock.time(through.end.clock)).tolist()


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
