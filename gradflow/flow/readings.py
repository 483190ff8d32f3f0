"""What coordinates tell at a flow's start and at its end: one program each, alone or in a batch.

Operation by operation this would take longer than a small flow.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from gradflow.coordinates.base import (
    AbstractCoordinates,
    expected_norm,
    know_norms,
    root_mean_square,
    without_norms,
)
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.flow.error_control import growth_from
from gradflow.flow.stacking import apart, in_turn, stack_alike
from gradflow.problems.base import AbstractProblem


class AtStart(NamedTuple):
    """Numbers of a start.

    Attributes:
      scale: the time scale.
      size: the root mean square of y.
      smooth: whether the velocity is defined.
      growth: how many times relative errors made there will grow.
      paid: what of it steps pay for.
    """

    scale: Any
    size: Any
    smooth: Any
    growth: Any
    paid: Any


class AtEnd(NamedTuple):
    """Numbers of an end, and its arrays.

    Attributes:
      growth: how many times relative errors made there would grow.
      units: sizes and shares of hidden units at the start and at the end; None if not watched.
      losses: at the start and at the end, and what rounding makes of the last; None where it holds
        more digits than the product.
      singular_values: of the product, if they were asked for.
      moved: the largest change of an invariant, and the largest squared norm of a factor; None if
        nothing is conserved.
      named: the arrays that stand for the point, with their names, in order.
    """

    growth: Any
    units: Any
    losses: Any
    singular_values: Any
    moved: Any
    named: tuple[tuple[str, Any], ...]


class Point(NamedTuple):
    """Where a flow is.

    Attributes:
      coordinates: those of y.
      y: the point.
      rtol: relative tolerance of the steps.
    """

    coordinates: AbstractCoordinates
    y: Any
    rtol: Any


class Asked(NamedTuple):
    """What is to be told of ends.

    Attributes:
      spectrum: singular values.
      invariants: how far these moved.
    """

    spectrum: bool
    invariants: bool


def at_start(coordinates: AbstractCoordinates, y: Any, rtol: float) -> AtStart:
    """The numbers of one start."""
    return jax.device_get(_at_start(Point(coordinates, y, jnp.asarray(rtol))))


def at_starts(arrays: Point, rest: Point, count: int) -> list[AtStart]:
    """The same of many that are alike.

    Args:
      arrays: what they have for themselves, stacked.
      rest: what they have in common.
      count: how many there are.
    """
    return apart(_at_starts(arrays, rest, in_turn()), count)


def at_end(start: Point, end: Point, asked: Asked) -> AtEnd:
    """The numbers of one end, with its start."""
    same = start.coordinates is end.coordinates
    return jax.device_get(_at_end(start, end._replace(coordinates=None) if same else end, asked))


def at_ends(arrays: Point, rest: Point, ends: Any, count: int, asked: Asked) -> list[AtEnd]:
    """The same of many that are alike and end in the coordinates in which they start.

    Args:
      arrays: of the starts, what they have for themselves, stacked.
      rest: what they have in common.
      ends: the y of the ends, stacked.
      count: how many there are.
      asked: what is to be told.
    """
    return apart(_at_ends((arrays, ends), (rest, rest.y), asked, in_turn()), count)


def learn_norms(problems: Sequence[AbstractProblem]) -> None:
    """Let `known_norm` know many problems that are alike.

    Args:
      problems: any number, of which some may come more than once.
    """
    new = without_norms(problems)
    if len(new) > 1:
        arrays, rest = stack_alike(new)
        know_norms(new, jax.device_get(_expected_norms(arrays, rest, in_turn())))


def _each(function: Callable[..., Any], arrays: Any, rest: Any, turn: bool) -> Any:
    words: list[Any] = []  # names of arrays, which are no arrays

    def one(own: Any) -> Any:
        numbers, other = eqx.partition(function(eqx.combine(own, rest)), eqx.is_array)
        words.append(other)
        return numbers

    found = jax.lax.map(one, arrays) if turn else jax.vmap(one)(arrays)
    return eqx.combine(found, words[0])


@eqx.filter_jit
def _at_start(start: Point) -> AtStart:
    coordinates, y, rtol = start
    growth, paid = growth_from(coordinates, y, rtol)
    scale, smooth = coordinates.time_scale(y), coordinates.smooth(y, rtol)
    return AtStart(scale, root_mean_square(y), smooth, growth, paid)


@eqx.filter_jit
def _at_starts(arrays: Any, rest: Any, turn: bool) -> AtStart:
    return _each(_at_start, arrays, rest, turn)


@eqx.filter_jit
def _at_end(start: Point, end: Any, asked: Asked) -> AtEnd:
    """Coordinates at the end are None if they are those of the start."""
    first, begun, rtol = start
    coordinates, y = end.coordinates or first, end.y
    units = coordinates.units(y)
    if units is not None:
        units = first.units(begun), units
    losses = None
    if not coordinates.holds_residuals:
        losses = first.loss(begun), coordinates.loss(y), coordinates.loss_by_rounding(y)
    moved = None
    if asked.invariants and isinstance(first, FactorCoordinates):
        factors = [first.factors(point) for point in (begun, y)]
        before, after = map(first.objective.factorization.invariants, factors)
        changes = [jnp.linalg.norm(b - a) for a, b in zip(before, after, strict=True)]
        if changes:
            size = jnp.max(jnp.stack([jnp.sum(f**2) for f in factors[1]]))
            moved = jnp.max(jnp.stack(changes)), size
    return AtEnd(
        growth_from(coordinates, y, rtol)[0],
        units,
        losses,
        coordinates.singular_values(y) if asked.spectrum else None,
        moved,
        tuple(coordinates.named(y).items()),
    )


@eqx.filter_jit
def _at_ends(arrays: Any, rest: Any, asked: Asked, turn: bool) -> AtEnd:
    def one(both: Any) -> AtEnd:
        start, y = both
        return _at_end(start, Point(None, y, None), asked)  # type: ignore[arg-type]

    return _each(one, arrays, rest, turn)


@eqx.filter_jit
def _expected_norms(arrays: Any, rest: Any, turn: bool) -> Any:
    return _each(expected_norm, arrays, rest, turn)
