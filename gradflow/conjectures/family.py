"""Families of small problems made of integers: what a search enumerates, draws and shrinks."""

import abc
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from gradflow.factorizations.base import Factors
from gradflow.objective import Objective

Integers = tuple[Any, ...]
"""Nested tuples of whole numbers: all that a problem and its start are made of."""


class Trial(NamedTuple):
    """A problem and a start.

    Attributes:
      objective: the problem and its factorisation.
      start: the factors that a limit multiplies, of size 1.
      integers: what both are made of.
      text: the same to read.
    """

    objective: Objective
    start: Factors
    integers: Integers
    text: str


class AbstractFamily(eqx.Module):
    """Problems with starts, made of integers. An own family gives `build` and `draw`.

    With `simplest_first` a search can say that nothing small was left out; `simpler` and `cost`
    have defaults that fit any nested tuples.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> class OneMeasurement(AbstractFamily):
      ...     def draw(self, rng):
      ...         return tuple(rng.integers(-3, 4, 4).tolist())
      ...
      ...     def build(self, integers):
      ...         if len(integers) != 4 or not any(integers[:3]):
      ...             return None
      ...         a, b, c, y = integers
      ...         problem = gf.MatrixSensing([[[a, b], [b, c]]], [y])
      ...         objective = gf.Objective(problem, gf.SymmetricProduct(2, 2))
      ...         return Trial(objective, (jnp.eye(2),), integers, f"measured {integers}")
      >>> OneMeasurement().build((2, 1, 0, 3)).text
      'measured (2, 1, 0, 3)'
    """

    @abc.abstractmethod
    def build(self, integers: Integers) -> Trial | None:
        """The problem and its start; None where these integers make none."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> Integers:
        """Random ones, which `build` may refuse."""

    def simplest_first(self) -> Iterator[Integers]:
        """All of them, by rising `cost`, one of each that are alike; nothing where nobody knows."""
        return iter(())

    def simpler(self, integers: Integers) -> Iterator[Integers]:
        """What is a little simpler: a part less, a number closer to 0; `build` may refuse it."""
        return simpler_parts(integers)

    def cost(self, integers: Integers) -> int:
        """How complicated they are: the count of numbers and the sum of their sizes."""
        return total(integers)


def total(integers: Integers | int) -> int:
    """The count of numbers and the sum of their sizes.

    Example:
      >>> total(((1, -2), 3))
      9
    """
    if isinstance(integers, tuple):
        return sum(map(total, integers))
    return 1 + abs(integers)


def simpler_parts(integers: Integers) -> Iterator[Integers]:
    """Tuples with a part less, or with a part that is simpler.

    Example:
      >>> list(simpler_parts(((2, 1),)))
      [(), ((1,),), ((2,),), ((0, 1),), ((1, 1),), ((2, 0),)]
    """
    for k in range(len(integers)):
        yield integers[:k] + integers[k + 1 :]
    for k, part in enumerate(integers):
        inner = simpler_parts(part) if isinstance(part, tuple) else closer_to_zero(part)
        for other in inner:
            yield (*integers[:k], other, *integers[k + 1 :])


def closer_parts(integers: Integers) -> Iterator[Integers]:
    """Tuples with one number, however deep, that is closer to 0.

    Example:
      >>> list(closer_parts(((2, 1),)))
      [((0, 1),), ((1, 1),), ((2, 0),)]
    """
    for k, part in enumerate(integers):
        inner = closer_parts(part) if isinstance(part, tuple) else closer_to_zero(part)
        for other in inner:
            yield (*integers[:k], other, *integers[k + 1 :])


def closer_to_zero(number: int) -> Iterator[int]:
    """Whole numbers that are simpler than this one; at the same size, a positive one.

    Example:
      >>> list(closer_to_zero(-5))
      [5, 0, -2, -4]
    """
    if number < 0:
        yield -number
    sign, size = (1 if number > 0 else -1), abs(number)
    yield from dict.fromkeys(sign * other for other in (0, size // 2, size - 1) if other < size)


def tuples_of_sum(length: int, wanted: int, largest: int, least: int = 0) -> Iterator[Integers]:
    """Tuples of whole numbers from `least` to `largest` with this sum.

    Example:
      >>> list(tuples_of_sum(2, 3, 2))
      [(1, 2), (2, 1)]
    """
    if length == 0:
        if wanted == 0:
            yield ()
        return
    for first in range(least, min(largest, wanted) + 1):
        for rest in tuples_of_sum(length - 1, wanted - first, largest, least):
            yield (first, *rest)


def with_signs(numbers: Integers) -> Iterator[Integers]:
    """The numbers with all signs; those that are 0 have none.

    Example:
      >>> list(with_signs((1, 0)))
      [(1, 0), (-1, 0)]
    """
    yield from product(*((x, -x) if x else (0,) for x in numbers))
