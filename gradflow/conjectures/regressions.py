"""Linear regression by a diagonal network: a few data of small integers."""

from collections.abc import Iterator
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
    tuples_of_sum,
    with_signs,
)
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.objective import Objective
from gradflow.problems.regression import LeastSquares


class Regressions(AbstractFamily):
    """Least squares with fewer data than entries; beta = w_+^D - w_-^D.

    Integers are (data, start): rows (x_1, ..., x_d, y), and w_+ = w_-, or () for all 1.

    Args:
      sizes: pairs (data, entries), with fewer data than entries.
      largest: of the numbers in the data.
      depth: D.
      largest_start: of the parameters of random starts, and of enumerated ones; 1 for equal ones.

    Example:
      >>> family = Regressions()
      >>> family.build((((1, 2, 1),), ())).text
      'data [[1, 2]] beta = [1], depth 2, from w_+ = w_- = [1, 1]'
    """

    sizes: tuple[tuple[int, int], ...]
    largest: int
    depth: int
    largest_start: int

    def __init__(
        self,
        sizes: Checked[Any] = ((1, 2), (1, 3), (2, 3), (2, 4), (3, 5)),
        largest: Checked[int] = 3,
        depth: Checked[int] = 2,
        largest_start: Checked[int] = 1,
    ):
        try:
            self.sizes = tuple((n, d) for n, d in (shape_of("sizes", p, 2) for p in sizes))
        except TypeError:
            self.sizes = ()
        if not self.sizes or any(n >= d for n, d in self.sizes):
            raise ValueError(
                f"sizes must be pairs of fewer data than entries, but they are {sizes!r}."
            )
        self.largest, self.depth = whole("largest", largest), whole("depth", depth, 2)
        self.largest_start = whole("largest_start", largest_start)

    def build(self, integers: Integers) -> Trial | None:
        data, start = integers
        table = np.array(data, float)
        if table.ndim != 2 or table.shape[1] < 2 or not len(table) < table.shape[1] - 1:
            return None
        x, y = table[:, :-1], table[:, -1]
        size = x.shape[1]
        parameters = np.array(start or (1,) * size, float)
        if np.linalg.matrix_rank(x) < len(x) or not np.any(y) or np.any(parameters <= 0):
            return None
        if not np.all(np.any(x, axis=0)):
            return None  # an entry that nothing is known of stays at 0
        w = jnp.asarray(parameters)
        objective = Objective(LeastSquares(x, y), DiagonalNetwork(size, self.depth))
        text = (
            f"data {[list(row[:-1]) for row in data]} beta = {[row[-1] for row in data]}, depth "
            f"{self.depth}, from w_+ = w_- = {list(start or (1,) * size)}"
        )
        return Trial(objective, (w, w), integers, text)

    def draw(self, rng: np.random.Generator) -> Integers:
        data, size = self.sizes[int(rng.integers(len(self.sizes)))]
        rows = rng.integers(-self.largest, self.largest + 1, (data, size + 1))
        start = rng.integers(1, self.largest_start + 1, size).tolist()
        return tuple(map(tuple, rows.tolist())), () if max(start) == 1 else tuple(start)

    def simplest_first(self) -> Iterator[Integers]:
        most = self.largest_start if self.largest_start > 1 else 0
        lengths = {(n, d): n * (d + 1) for n, d in self.sizes}
        last = max(
            length * (1 + self.largest) + d * (1 + most) for (_, d), length in lengths.items()
        )
        for cost in range(1, last + 1):
            for (_, size), length in lengths.items():
                for beyond in range(size * most + 1):
                    left = cost - length - beyond - (size if beyond else 0)
                    starts = list(tuples_of_sum(size, beyond, most, 1)) if beyond else [()]
                    if left < 1 or not starts:
                        continue
                    for numbers in tuples_of_sum(length, left, self.largest):
                        for table in _signed(numbers, size):
                            yield from ((table, s) for s in starts if not s or max(s) > 1)

    def simpler(self, integers: Integers) -> Iterator[Integers]:
        data, start = integers
        if start:
            yield data, ()
        for k in range(len(data)):
            yield data[:k] + data[k + 1 :], start
        for k in range(len(data[0]) - 1):
            kept = start[:k] + start[k + 1 :]
            yield tuple(row[:k] + row[k + 1 :] for row in data), kept
        yield from ((other, start) for other in closer_parts(data))
        for k, number in enumerate(start):
            for other in range(1, number):
                yield data, (*start[:k], other, *start[k + 1 :])


def _signed(numbers: Integers, size: int) -> Iterator[Integers]:
    """Rows of these sizes with all signs, one of each that differ by order or signs of entries."""
    rows = [numbers[k : k + size + 1] for k in range(0, len(numbers), size + 1)]
    rest = tuple(x for row in rows[1:] for x in row)
    if rows != sorted(rows) or list(rows[0][:-1]) != sorted(rows[0][:-1]):
        return  # another order of rows and entries comes before
    for signed in with_signs(rest):
        others = [signed[k : k + size + 1] for k in range(0, len(signed), size + 1)]
        if all(row[-1] >= 0 for row in others):  # a row and its opposite are alike
            yield (rows[0], *others)
