r"""What a flow needs before it starts: checks, coordinates, solver, tolerances, recording times."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import numpy as np
from jaxtyping import Array

from gradflow._util.logs import LOGGER
from gradflow._util.programs import make_room
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.dynamics.base import AbstractDynamics
from gradflow.flow.options import FlowOptions
from gradflow.flow.placing import place, spread_over
from gradflow.flow.ranks import rank_to_keep
from gradflow.flow.readings import AtStart, Point, at_start, at_starts, learn_norms
from gradflow.flow.recording import check_observables, recording_times
from gradflow.flow.resuming import Before, taken_up
from gradflow.flow.sizes import check_size
from gradflow.flow.solvers import Choice, choose_solver
from gradflow.flow.stacking import alike, kind_of, stack_alike
from gradflow.objective import Objective
from gradflow.observables import Observable, check_entries, default_observables, resolve
from gradflow.spreading import SPREAD_RECORDS
from gradflow.state import State


class PreparedFlow(NamedTuple):
    """A flow, ready to run.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      initial: the parameters at the start, by name.
      dynamics: what they obey.
      coordinates: what they are held in.
      y: the start in these coordinates.
      grid: recording times, from the start's; the last is the horizon.
      scale: the start's time scale, the unit of a logarithmic clock.
      pairs: observables by name.
      solver: a diffrax solver.
      atol: absolute tolerance of a step.
      interpolate: whether stabilised steps pass recording times.
      reasons: for the coordinates and for the solver.
      options: what was asked.
      before: what came before the start, its time among it.
    """

    objective: Objective
    initial: dict[str, Any]
    dynamics: AbstractDynamics
    coordinates: AbstractCoordinates
    y: Any
    grid: np.ndarray
    scale: float
    pairs: tuple[tuple[str, Observable], ...]
    solver: diffrax.AbstractSolver
    atol: float
    interpolate: bool
    reasons: tuple[str, str]
    options: FlowOptions
    before: Before


class _Placed(NamedTuple):
    """A flow whose start is in coordinates; see `PreparedFlow`."""

    objective: Objective
    initial: dict[str, Any]
    dynamics: AbstractDynamics
    coordinates: AbstractCoordinates
    y: Any
    pairs: tuple[tuple[str, Observable], ...]
    why: str
    options: FlowOptions
    before: Before


def prepare_flow(objective: Objective, start: Any, options: FlowOptions) -> PreparedFlow:
    """Check what was asked and choose what was left open; see `gradflow.solve_flow`.

    Raises:
      ValueError: as `gradflow.solve_flow` says.
    """
    options = _checked(options)
    make_room()
    placed = _placed(objective, start, options)
    _check_told(placed)
    read = at_start(placed.coordinates, placed.y, options.rtol)
    return _prepared(placed, read, _solver(placed))


class PreparedBatch(NamedTuple):
    """Flows that are alike, ready to run.

    Attributes:
      places: which of the flows that were asked for these are.
      flows: what each needs.
      points: their coordinates, starts and rtol, stacked: arrays, and what they have in common.
    """

    places: list[int]
    flows: list[PreparedFlow]
    points: tuple[Point, Point]


def prepare_flows(
    objectives: Sequence[Objective], starts: Sequence[Any], options: Sequence[FlowOptions]
) -> list[PreparedBatch]:
    """What `prepare_flow` gives for each, in as many batches as there are kinds of coordinates.

    What coordinates tell of starts is computed in one program for a batch.

    Raises:
      ValueError: as `gradflow.solve_flows` says.
    """
    checked: dict[int, FlowOptions] = {}
    for given in {id(one): one for one in options}.values():
        checked[id(given)] = _checked(given)
    make_room()
    alike(objectives)
    learn_norms([one.problem for one in objectives])
    each = enumerate(zip(objectives, starts, [checked[id(one)] for one in options], strict=True))
    placed = [_placed_of_batch(k, *asked) for k, asked in each]
    groups: dict[Any, list[int]] = {}
    for k, flow in enumerate(placed):  # columns of zeros are left out of some coordinates
        groups.setdefault(kind_of((flow.coordinates, flow.y)), []).append(k)
    return [_batch(places, [placed[k] for k in places]) for places in groups.values()]


def _batch(places: list[int], placed: list[_Placed]) -> PreparedBatch:
    points = stack_alike(
        [Point(p.coordinates, p.y, np.float64(p.options.rtol)) for p in placed], places
    )
    read = at_starts(*points, len(placed))
    _check_told(placed[0])  # as for all, since they are alike
    solver = _solver(placed[0])
    flows = [_prepared(*each, solver) for each in zip(placed, read, strict=True)]
    return PreparedBatch(places, flows, points)


def _placed_of_batch(k: int, objective: Objective, start: Any, options: FlowOptions) -> _Placed:
    try:
        return _placed(objective, start, options)
    except ValueError as error:
        raise ValueError(f"Flow {k} of the batch: {error}") from error


def _placed(objective: Objective, start: Any, options: FlowOptions) -> _Placed:
    """Up to here all is done by the host, flow by flow."""
    start, before = taken_up(objective, start, options)
    coordinates, y, dynamics, initial, why = place(objective, start, options)
    before.check(dynamics)
    check_size(objective.problem)
    coordinates = before.watched(coordinates)
    observe = options.observe
    if observe is None:
        observe = default_observables(objective.problem)
    if options.mesh is not None:
        coordinates, y = spread_over(options.mesh, coordinates, y)
        observe = options.observe or SPREAD_RECORDS
    return _Placed(
        objective, initial, dynamics, coordinates, y, resolve(observe), why, options, before
    )


def _check_told(flow: _Placed) -> None:
    """See that the coordinates can tell every observable."""
    check_entries(flow.pairs, State(flow.coordinates, flow.y))
    check_observables(flow.pairs, flow.coordinates, flow.y)


def _solver(flow: _Placed) -> Choice:
    if flow.options.solver == "auto":
        return choose_solver(flow.coordinates, flow.dynamics, flow.y)
    return Choice(flow.options.solver, "as asked")


def _prepared(flow: _Placed, read: AtStart, solver: Choice) -> PreparedFlow:
    options, coordinates, atol = flow.options, flow.coordinates, flow.options.atol
    if not bool(read.smooth):
        raise ValueError(
            f"{type(flow.objective.penalty).__name__} has no gradient at the start: singular values"
            f" of the product below rtol = {options.rtol} times the largest count as zero. Start "
            "from a product of full rank, lower rtol, or use gradflow.run_descent, which takes a "
            "subgradient."
        )
    logarithmic = coordinates.logarithmic_clock
    if atol is None:
        relative = (
            1e-2
            if logarithmic or coordinates.of_order_one
            else (float(read.size) or 1.0) * (1e-3 if coordinates.normwise else 1)
        )
        atol = options.rtol * relative
    LOGGER.info(
        "flow: coordinates %s (%s), solver %s (%s)",
        coordinates.name,
        flow.why,
        type(solver.value).__name__,
        solver.reason,
    )
    scale = _unit_of_time(read.scale)
    rank = None
    if options.mesh is None:
        rank = rank_to_keep(flow.objective, flow.dynamics, coordinates, flow.y)
    interpolate = options.record is None if options.interpolate is None else options.interpolate
    return PreparedFlow(
        objective=flow.objective,
        initial=flow.initial,
        dynamics=flow.dynamics,
        coordinates=coordinates,
        y=flow.y,
        grid=recording_times(options, scale, logarithmic, flow.before.time),
        scale=scale,
        pairs=flow.pairs,
        solver=solver.value,
        atol=atol,
        interpolate=interpolate,
        reasons=(flow.why, solver.reason),
        options=options,
        before=flow.before.rising(float(read.growth), float(read.paid)).keeping(rank),
    )


def _checked(options: FlowOptions) -> FlowOptions:
    """Options of today, since Adam's model was once given as coordinates."""
    if isinstance(options.coordinates, AbstractDynamics):
        warnings.warn(
            "Adam's model is a dynamics, no coordinates: give dynamics=gradflow.AdamFlow(...)",
            DeprecationWarning,
            stacklevel=5,
        )
        options = dataclasses.replace(options, dynamics=options.coordinates, coordinates="factors")
    options.check()
    return options


@eqx.filter_jit
def _time_scale(coordinates: AbstractCoordinates, y: Any) -> Array:
    return coordinates.time_scale(y)


def time_scale(coordinates: AbstractCoordinates, y: Any) -> float:
    """The unit of time of a flow from y; 1 for a flow at rest.

    Args:
      coordinates: those of the flow.
      y: where it starts.
    """
    return _unit_of_time(_time_scale(coordinates, y))


def _unit_of_time(scale: Any) -> float:
    return float(scale) if np.isfinite(scale) and scale > 0 else 1.0
