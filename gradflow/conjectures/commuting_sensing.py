"""Symmetric sensing through measurements that commute: polynomials in one integer matrix."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import shape_of, whole
from gradflow.conjectures.family import AbstractFamily, Integers, Trial, closer_parts
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.objective import Objective
from gradflow.problems.sensing import MatrixSensing


class CommutingSensing(AbstractFamily):
    """Measurements A_i = a_i I + b_i S + c_i S^2, which commute; W = U U^T from the identity.

    Integers are (S, rows, truth): the upper triangle of S, row by row; (a, b, c) for each
    measurement; and (p, q), so that the labels are those of (p I + q S)^2 and something fits.

    Args:
      sizes: of S.
      largest: of all these numbers.
      measurements: how many at most.

    Example:
      >>> family = CommutingSensing()
      >>> family.build(((0, 1, 0), ((1, 1, 0),), (1, 0))).text
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
        triangle, rows, truth = integers
        size = _size(triangle)
        if size < 1 or not rows:
            return None
        s = np.zeros((size, size))
        s[np.triu_indices(size)] = triangle
        s = s + np.triu(s, 1).T
        a = np.tensordot(np.array(rows, float), np.stack([np.eye(size), s, s @ s]), 1)
        root = truth[0] * np.eye(size) + truth[1] * s
        y = np.einsum("iab,ab->i", a, root @ root)
        if np.linalg.matrix_rank(a.reshape(len(a), -1)) < len(a) or not np.any(y):
            return None
        objective = Objective(MatrixSensing(a, y), SymmetricProduct(size, size))
        named = zip(rows, y.astype(int).tolist(), strict=True)
        seen = "; ".join(f"{a} I + {b} S + {c} S^2: {label}" for (a, b, c), label in named)
        text = f"S = {s.astype(int).tolist()}, measured {seen}, from I"
        return Trial(objective, (jnp.eye(size),), integers, text)

    def draw(self, rng: np.random.Generator) -> Integers:
        size, top = int(rng.choice(self.sizes)), self.largest
        triangle = rng.integers(-top, top + 1, size * (size + 1) // 2)
        count = int(rng.integers(1, self.measurements + 1))
        rows = rng.integers(-top, top + 1, (count, 3))
        truth = rng.integers(-top, top + 1, 2)
        return tuple(triangle.tolist()), tuple(map(tuple, rows.tolist())), tuple(truth.tolist())

    def simpler(self, integers: Integers) -> Iterator[Integers]:
        triangle, rows, truth = integers
        size = _size(triangle)
        for k in range(size):
            places = zip(*np.triu_indices(size), strict=True)
            kept = (x for x, place in zip(triangle, places, strict=True) if k not in place)
            yield tuple(kept), rows, truth
        for k in range(len(rows)):
            yield triangle, rows[:k] + rows[k + 1 :], truth
        yield from closer_parts(integers)


def _size(triangle: Integers) -> int:
    """Of the matrix whose upper triangle this is."""
    return round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
