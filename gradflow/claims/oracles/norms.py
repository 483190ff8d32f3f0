"""Norms and quasi-norms on 2x2 matrices, with the constants that razin2020's bounds need."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from gradflow.claims.oracles.high_precision import Matrix, singular_values_2x2


@dataclass(frozen=True)
class Norm:
    """A (quasi-)norm.

    Attributes:
      name: what it is.
      c: a constant of its weakened triangle inequality ||A + B|| <= c (||A|| + ||B||).
      units: (2, 2) norms of the four matrices e_i e_j^T.
      of: from (products (..., 2, 2), singular values (..., 2)) to values (...).
      precisely: the same for one mpmath matrix.
    """

    name: str
    c: float
    units: tuple[tuple[float, float], tuple[float, float]]
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    precisely: Callable[[Matrix], Any]

    @property
    def a(self) -> float:
        """A of razin2020, Theorem 1: ||e_1 e_1^T|| / (sqrt(2) c)."""
        return self.units[0][0] / (math.sqrt(2) * self.c)

    @property
    def b(self) -> float:
        """B of razin2020, Theorem 1: max(sqrt(2) a, 8 c^2 max ||e_i e_j^T||)."""
        return max(math.sqrt(2) * self.a, 8 * self.c**2 * max(max(row) for row in self.units))


def schatten(p: float) -> Norm:
    """The Schatten-p (quasi-)norm, c = max(1, 2^(1/p - 1))."""

    def of(w: np.ndarray, s: np.ndarray) -> np.ndarray:
        del w
        top = s[..., :1]
        if math.isinf(p):
            return top[..., 0]
        return top[..., 0] * np.sum((s / top) ** p, axis=-1) ** (1 / p)

    def precisely(w: Matrix) -> Any:
        first, second = singular_values_2x2(w)
        if math.isinf(p):
            return first
        power = mpmath.mpf(p)
        return (first**power + second**power) ** (1 / power)

    c = 1.0 if p >= 1 else 2 ** (1 / p - 1)
    return Norm(f"Schatten-{p:.3g}", c, ((1, 1), (1, 1)), of, precisely)


def entrywise(p: float, weights: tuple[tuple[float, float], tuple[float, float]]) -> Norm:
    """The p-(quasi-)norm of the weighted entries; p = inf is the largest one."""
    scale = np.array(weights)

    def of(w: np.ndarray, s: np.ndarray) -> np.ndarray:
        del s
        entries = np.abs(w * scale)
        if math.isinf(p):
            return np.max(entries, axis=(-2, -1))
        return np.sum(entries**p, axis=(-2, -1)) ** (1 / p)

    def precisely(w: Matrix) -> Any:
        entries = [abs(w[i, j]) * mpmath.mpf(weights[i][j]) for i in (0, 1) for j in (0, 1)]
        if math.isinf(p):
            return max(entries)
        power = mpmath.mpf(p)
        return sum(x**power for x in entries) ** (1 / power)

    c = 1.0 if p >= 1 else 2 ** (1 / p - 1)
    plain = weights == ((1, 1), (1, 1))
    name = f"entrywise-{p:.3g}" + ("" if plain else f" with weights {weights}")
    return Norm(name, c, weights, of, precisely)


SCHATTEN = tuple(schatten(p) for p in (0.25, 1 / 3, 0.5, 2 / 3, 1.0, 2.0, 4.0, math.inf))
NORMS = (
    *SCHATTEN,
    entrywise(1.0, ((1, 1), (1, 1))),
    entrywise(0.5, ((1, 1), (1, 1))),
    entrywise(math.inf, ((1, 1), (1, 1))),
    entrywise(math.inf, ((1, 10), (0.1, 1))),
    entrywise(math.inf, ((10, 1), (1, 0.1))),
)
"""Schatten (quasi-)norms, and others for "any norm or quasi-norm"."""
