"""Symmetric completion by U U^T: a few observed entries, which are small integers."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, permutations, product
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import shape_of, whole
from gradflow.conjectures.family import (
    AbstractFamily,
    Integers,
    Trial,
    closer_parts,
    closer_to_zero,
    total,
    tuples_of_sum,
    with_signs,
)
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.objective import Objective
from gradflow.problems.completion import MatrixCompletion

_Entries = tuple[tuple[int, int, int], ...]
_Places = tuple[tuple[int, int], ...]


class SymmetricCompletions(AbstractFamily):
    """Entries of a symmetric matrix are observed, in both triangles; W = U U^T, U square.

    Integers are (entries, start): triples (i, j, value) with i <= j, and the rows of U, or () for
    the identity. Problems that fall into blocks are left out, since each block is a smaller one, as
    are entries on the diagonal that are not positive. From the identity two that differ by the
    order of rows, or by signs of rows, are one.

    Args:
      sizes: of the matrices, at least 2.
      largest: of the observed values.
      largest_start: of the entries of random starts; 0 for the identity alone. Enumerated problems
        start from the identity.

    Example:
      >>> from itertools import islice
      >>> family = SymmetricCompletions()
      >>> for integers in islice(family.simplest_first(), 3):
      ...     print(family.build(integers).text)
      2 x 2, W[0, 1] = 1, from I
      2 x 2, W[0, 1] = 2, from I
      2 x 2, W[0, 1] = 3, from I
    """

    sizes: tuple[int, ...]
    largest: int
    largest_start: int

    def __init__(
        self,
        sizes: Checked[Any] = (2, 3, 4),
        largest: Checked[int] = 3,
        largest_start: Checked[int] = 0,
    ):
        self.sizes = shape_of("sizes", sizes)
        if not self.sizes or min(self.sizes) < 2:
            raise ValueError(f"sizes must be at least 2, but they are {self.sizes}.")
        self.largest = whole("largest", largest)
        self.largest_start = whole("largest_start", largest_start, 0)

    def build(self, integers: Integers) -> Trial | None:
        entries, start = integers
        size = _size(entries)
        wrong = any(i == j and value <= 0 for i, j, value in entries)
        wrong = wrong or len(start) not in (0, size)
        if wrong or not _connected(tuple(e[:2] for e in entries)) or size < 2:
            return None
        u = np.array(start or np.eye(size), float)
        if abs(np.linalg.det(u)) < 0.5:
            return None
        both = {(i, j): v for i, j, v in entries} | {(j, i): v for i, j, v in entries}
        problem = MatrixCompletion((size, size), list(both), [float(v) for v in both.values()])
        seen = ", ".join(f"W[{i}, {j}] = {value}" for i, j, value in entries)
        begun = f"U = {[list(row) for row in start]}" if start else "I"
        objective = Objective(problem, SymmetricProduct(size, size))
        return Trial(
            objective, (jnp.asarray(u),), integers, f"{size} x {size}, {seen}, from {begun}"
        )

    def draw(self, rng: np.random.Generator) -> Integers:
        size = int(rng.choice(self.sizes))
        places = _places(size)
        count = int(rng.integers(size - 1, len(places) + 1))
        chosen = sorted(rng.choice(len(places), count, replace=False).tolist())
        values = rng.integers(1, self.largest + 1, count)
        signs = rng.choice([-1, 1], count)
        entries = tuple(
            (*places[k], int(value if places[k][0] == places[k][1] else value * sign))
            for k, value, sign in zip(chosen, values, signs, strict=True)
        )
        start: Integers = ()
        if self.largest_start and rng.random() < 0.5:
            rows = rng.integers(-self.largest_start, self.largest_start + 1, (size, size))
            start = tuple(map(tuple, rows.tolist()))
        return entries, start

    def simplest_first(self) -> Iterator[Integers]:
        last = max(self.cost((_full(size, self.largest), ())) for size in self.sizes)
        for cost in range(1, last + 1):
            for size in self.sizes:
                for pattern in _patterns(size) if cost >= 4 * size - 2 else ():
                    left = cost - 2 * size - len(pattern)
                    for values in tuples_of_sum(len(pattern), left, self.largest, 1):
                        yield from _signed(pattern, values, size)

    def simpler(self, integers: Integers) -> Iterator[Integers]:
        entries, start = integers
        if start:
            yield entries, ()
        for k in range(_size(entries)):
            kept = [e for e in entries if k not in e[:2]]
            rows = tuple(row[:k] + row[k + 1 :] for i, row in enumerate(start) if i != k)
            yield _renumbered(kept, k), rows
        for k, (i, j, value) in enumerate(entries):
            if _size(entries[:k] + entries[k + 1 :]) == _size(entries):
                yield entries[:k] + entries[k + 1 :], start
            for other in closer_to_zero(value):
                yield (*entries[:k], (i, j, other), *entries[k + 1 :]), start
        yield from ((entries, other) for other in closer_parts(start))

    def cost(self, integers: Integers) -> int:
        entries, start = integers
        seen = sum(1 + abs(value) for _, _, value in entries)
        return 2 * _size(entries) + seen + total(start)


def _size(entries: _Entries) -> int:
    return 1 + max((j for _, j, _ in entries), default=0)


def _places(size: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(size) for j in range(i, size)]


def _full(size: int, value: int) -> _Entries:
    return tuple((i, j, value) for i, j in _places(size))


def _renumbered(entries: list[tuple[int, int, int]], gone: int) -> _Entries:
    """The entries without row and column `gone`."""
    return tuple((i - (i > gone), j - (j > gone), value) for i, j, value in entries)


def _connected(places: _Places) -> bool:
    """Whether these places join all rows."""
    reached, size = {0}, 1 + max((j for _, j in places), default=0)
    for _ in range(size):
        for place in places:
            if reached & {*place}:
                reached |= {*place}
    return len(reached) == size


@cache
def _patterns(size: int) -> list[_Places]:
    """Connected sets of places, one of each that differ by the order of rows."""
    places, found = _places(size), []
    for count in range(size - 1, len(places) + 1):
        for pattern in combinations(places, count):
            joined = max(j for _, j in pattern) == size - 1 and _connected(pattern)
            if joined and all(pattern <= _moved(pattern, order) for order in _orders(size)):
                found.append(pattern)
    return found


def _orders(size: int) -> Iterator[tuple[int, ...]]:
    return permutations(range(size))


def _moved(pattern: _Places, order: tuple[int, ...]) -> _Places:
    moved = ((order[i], order[j]) for i, j in pattern)
    return tuple(sorted((min(pair), max(pair)) for pair in moved))


def _signed(pattern: _Places, sizes: Integers, size: int) -> Iterator[Integers]:
    """Values of these sizes with all signs off the diagonal: the first of all that are alike."""
    symmetries = [order for order in _orders(size) if _moved(pattern, order) == pattern]
    flips = [(1, *rest) for rest in product((1, -1), repeat=size - 1)]
    free = [k for k, (i, j) in enumerate(pattern) if i != j]
    for signs in with_signs(tuple(1 for _ in free)):
        values = dict(zip(pattern, sizes, strict=True))
        for k, sign in zip(free, signs, strict=True):
            values[pattern[k]] *= sign
        own = tuple(values[place] for place in pattern)
        if own == max(_alike(values, pattern, o, f) for o in symmetries for f in flips):
            yield tuple((*place, values[place]) for place in pattern), ()


def _alike(
    values: dict[tuple[int, int], int],
    pattern: _Places,
    order: tuple[int, ...],
    flips: tuple[int, ...],
) -> Integers:
    """The values of P D W D P^T, with a permutation P and signs D."""
    found = {}
    for (i, j), value in values.items():
        place = (min(order[i], order[j]), max(order[i], order[j]))
        found[place] = flips[i] * flips[j] * value
    return tuple(found[place] for place in pattern)
