r"""Recomputation outside floating point: 50 decimal digits (mpmath) or rational numbers.

Inputs are floating-point matrices, taken as the exact rational numbers that they are.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

DIGITS = 50

Matrix = Any
"""An `mpmath.matrix` (mpmath has no types)."""
Real = Any
"""An `mpmath.mpf`."""


def precise(w: Any) -> Matrix:
    """A matrix of floats as an mpmath matrix, without rounding."""
    return mpmath.matrix(np.asarray(w, float).tolist())


def exact(w: Any) -> np.ndarray:
    """An array of floats or whole numbers as fractions, without rounding."""
    w = np.asarray(w)
    return np.reshape(np.array([Fraction(x) for x in w.ravel().tolist()], object), w.shape)


def decimal(x: float) -> Fraction:
    """The fraction that a number is in decimals, as it is written: 11/10 for 1.1."""
    return Fraction(str(x))


def singular_values_2x2(w: Matrix) -> tuple[Real, Real]:
    """Both singular values, the second through the determinant, without cancellation."""
    square = sum(x**2 for x in w)
    det = abs(w[0, 0] * w[1, 1] - w[0, 1] * w[1, 0])
    first = mpmath.sqrt((square + mpmath.sqrt((square - 2 * det) * (square + 2 * det))) / 2)
    return first, det / first if first else mpmath.mpf(0)


def svd(w: Matrix) -> tuple[Matrix, list[Real], Matrix]:
    """U, singular values and V (not transposed) of a small matrix; thin."""
    u, s, vt = mpmath.svd_r(w)
    return u, list(s), vt.T


def balanced_factors(w: Matrix, depth: int) -> list[Matrix]:
    """Balanced factors W_1, ..., W_N of a small matrix, with hidden sizes min(m, n)."""
    if depth == 1:
        return [w]
    u, s, v = svd(w)
    root = mpmath.diag([x ** (mpmath.mpf(1) / depth) for x in s])
    return [root * v.T, *[root] * (depth - 2), u * root]


def product(matrices: Sequence[Matrix], size: int) -> Matrix:
    """The product of matrices from left to right; the identity if there is none."""
    result = mpmath.eye(size)
    for matrix in matrices:
        result = result * matrix
    return result


def product_velocity(w: Matrix, gradient: Matrix, depth: int) -> Matrix:
    """dW/dt by the chain rule alone: each balanced factor moves down its own gradient."""
    factors = balanced_factors(w, depth)
    total = mpmath.zeros(w.rows, w.cols)
    for j in range(depth):
        above = product(list(reversed(factors[j + 1 :])), w.rows)
        below = product(list(reversed(factors[:j])), factors[j - 1].rows if j else w.cols)
        total += above * (-(above.T * gradient * below.T)) * below
    return total


def show(w: Any, digits: int = 17) -> str:
    """A matrix in plain numbers, all digits of its floats."""
    rows = np.asarray(w, float).tolist()
    return (
        "[" + ", ".join("[" + ", ".join(f"{x:.{digits}g}" for x in row) + "]" for row in rows) + "]"
    )
