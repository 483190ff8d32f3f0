"""Symmetric sensing through measurements that commute: polynomials in one integer matrix."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import shape_of, whole
from gradflow.conjectures.family import AbstractFamily, Integers, Trial
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.objective import Objective
from gradflow.problems.sensing import MatrixSensing


class CommutingSensing(AbstractFamily):
    """Measurements A_i = a_i I + b_i S + c_i S^2, which commute; W = U U^T from the identity.

    Integers are (S, rows): the upper triangle of S, row by row, and (a, b, c, y) for each
    measurement.

    Args:
      sizes: of S.
      largest: of all numbers but the labels, which go to the square of the size times that.
      measurements: how many at most.

    Example:
      >>> family = CommutingSensing()
      >>> family.build(((0, 1, 0), ((1, 1, 0, 2),))).text
      'S = [[0, 1], [1, 0]], measured 1 I + 1 S + 0 S^2: 2, from I'
    """

    sizes: tuple[int, ...]
    largest: int
    measurements: int

    def __init__(
        self,
        sizes: Checked[Any] = (2, 3, 4),
        largest: Checked[int] = 2,
        measurements: Checked[int] = 2,
    ):
        self.sizes = shape_of("sizes", sizes)
        self.largest = whole("largest", largest)
        self.measurements = whole("measurements", measurements)

    def build(self, integers: Integers) -> Trial | None:
        triangle, rows = integers
        size = int((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
        whole_triangle = size * (size + 1) // 2 == len(triangle) > 0
        if not whole_triangle or not rows or any(len(row) != 4 for row in rows):
            return None
        s = np.zeros((size, size))
        s[np.triu_indices(size)] = triangle
        s = s + np.triu(s, 1).T
        powers = np.stack([np.eye(size), s, s @ s])
        table = np.array(rows, float)
        a = np.tensordot(table[:, :3], powers, 1)
        if np.linalg.matrix_rank(a.reshape(len(a), -1)) < len(a) or not np.any(table[:, 3]):
            return None
        objective = Objective(MatrixSensing(a, table[:, 3]), SymmetricProduct(size, size))
        seen = "; ".join(f"{a} I + {b} S + {c} S^2: {y}" for a, b, c, y in rows)
        text = f"S = {s.astype(int).tolist()}, measured {seen}, from I"
        return Trial(objective, (jnp.eye(size),), integers, text)

    def draw(self, rng: np.random.Generator) -> Integers:
        size, top = int(rng.choice(self.sizes)), self.largest
        triangle = rng.integers(-top, top + 1, size * (size + 1) // 2)
        count = int(rng.integers(1, self.measurements + 1))
        rows = rng.integers(-top, top + 1, (count, 4))
        rows[:, 3] = rng.integers(-top * size**2, top * size**2 + 1, count)
        return tuple(triangle.tolist()), tuple(map(tuple, rows.tolist()))
