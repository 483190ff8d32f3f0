"""Completion by W = W_2 W_1 from starts that are small integers."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import whole
from gradflow.conjectures.family import (
    AbstractFamily,
    Integers,
    Trial,
    closer_parts,
    closer_to_zero,
    total,
)
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.problems.completion import MatrixCompletion


class ProductCompletions(AbstractFamily):
    """Entries of a square matrix are observed; W = W_2 W_1 with square factors of full rank.

    Integers are (entries, starts): triples (i, j, value), and the rows of W_0, for balanced factors
    of it, or of both factors.

    Args:
      size: of the matrices.
      largest: of the observed values.
      largest_start: of the entries of starts.
      balanced: whether starts are balanced.

    Example:
      >>> family = ProductCompletions(balanced=False)
      >>> family.build((((0, 1, 2),), (((1, 0), (0, 1)), ((2, 0), (0, 1))))).text
      '2 x 2, W[0, 1] = 2, from W_1 = [[1, 0], [0, 1]], W_2 = [[2, 0], [0, 1]]'
    """

    size: int
    largest: int
    largest_start: int
    balanced: bool

    def __init__(
        self,
        size: Checked[int] = 2,
        largest: Checked[int] = 3,
        largest_start: Checked[int] = 2,
        balanced: Checked[bool] = True,
    ):
        self.size, self.largest = whole("size", size), whole("largest", largest)
        self.largest_start = whole("largest_start", largest_start)
        self.balanced = bool(balanced)

    def build(self, integers: Integers) -> Trial | None:
        entries, starts = integers
        matrices = [np.array(rows, float) for rows in starts]
        if not entries or any(abs(np.linalg.det(matrix)) < 0.5 for matrix in matrices):
            return None
        problem = MatrixCompletion(
            (self.size, self.size), [e[:2] for e in entries], [float(e[2]) for e in entries]
        )
        model = MatrixProduct((self.size,) * 3)
        start = model.balanced(matrices[0]) if self.balanced else tuple(map(jnp.asarray, matrices))
        shown = [[list(row) for row in rows] for rows in starts]
        begun = (
            f"balanced factors of {shown[0]}"
            if self.balanced
            else f"W_1 = {shown[0]}, W_2 = {shown[1]}"
        )
        seen = ", ".join(f"W[{i}, {j}] = {value}" for i, j, value in entries)
        text = f"{self.size} x {self.size}, {seen}, from {begun}"
        return Trial(Objective(problem, model), start, integers, text)

    def draw(self, rng: np.random.Generator) -> Integers:
        places, n = self.size**2, self.size
        count = int(rng.integers(1, places + 1))
        chosen = sorted(rng.choice(places, count, replace=False).tolist())
        values = rng.integers(-self.largest, self.largest + 1, count).tolist()
        entries = tuple((k // n, k % n, v) for k, v in zip(chosen, values, strict=True))
        top = self.largest_start
        starts = rng.integers(-top, top + 1, (1 if self.balanced else 2, n, n)).tolist()
        return entries, tuple(tuple(map(tuple, rows)) for rows in starts)

    def simpler(self, integers: Integers) -> Iterator[Integers]:
        entries, starts = integers
        for k, (i, j, value) in enumerate(entries):
            yield entries[:k] + entries[k + 1 :], starts
            for other in closer_to_zero(value):
                yield (*entries[:k], (i, j, other), *entries[k + 1 :]), starts
        yield from ((entries, other) for other in closer_parts(starts))

    def cost(self, integers: Integers) -> int:
        entries, starts = integers
        return sum(1 + abs(value) for *_, value in entries) + total(starts)
