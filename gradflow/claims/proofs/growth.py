"""How fast solutions may part: the largest eigenvalue of a symmetric Jacobian over boxes.

Intervals are middle and radius in float64; each radius is rounded up by more than both can be off.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from gradflow.claims.proofs.tape import Field

_ROUNDED = 2.0**-48
_TINY = 1e-300  # More than what float64 loses in one operation by underflow.
_SCALE = 2.0**40


class Dual:
    """Intervals with their derivatives, over several boxes at once.

    Args:
      value: (..., 1) middles.
      radius: (..., 1) likewise.
      slopes: (..., n) middles of the derivatives by each unknown.
      radii: (..., n) likewise.
    """

    def __init__(self, value: Any, radius: Any, slopes: Any, radii: Any):
        self.value, self.radius, self.slopes, self.radii = value, radius, slopes, radii

    def _as_dual(self, other: Any) -> "Dual":
        if isinstance(other, Dual):
            return other
        value = np.full_like(self.value, float(other))
        zero = np.zeros_like(self.slopes)
        exact = Fraction(float(other)) == Fraction(other)
        return Dual(value, (_ROUNDED * np.abs(value) + _TINY) * (not exact), zero, zero)

    def __add__(self, other: Any) -> "Dual":
        other = self._as_dual(other)
        value, slopes = self.value + other.value, self.slopes + other.slopes
        radius, radii = self.radius + other.radius, self.radii + other.radii
        radius = radius + (_ROUNDED * (np.abs(value) + radius) + _TINY)
        radii = radii + (_ROUNDED * (np.abs(slopes) + radii) + _TINY)
        return Dual(value, radius, slopes, radii)

    def __neg__(self) -> "Dual":
        return Dual(-self.value, self.radius, -self.slopes, self.radii)

    def __sub__(self, other: Any) -> "Dual":
        return self + -self._as_dual(other)

    def __rsub__(self, other: Any) -> "Dual":
        return self._as_dual(other) - self

    def __mul__(self, other: Any) -> "Dual":
        other = self._as_dual(other)
        size, most = np.abs(self.value), np.abs(other.value)
        within, reach = size + self.radius, most + other.radius
        radius = within * other.radius + most * self.radius + (_ROUNDED * within * reach + _TINY)
        slopes = self.value * other.slopes + other.value * self.slopes
        steep, fast = np.abs(self.slopes), np.abs(other.slopes)
        radii = within * other.radii + self.radius * fast + reach * self.radii
        radii = radii + other.radius * steep
        radii = radii + (_ROUNDED * (radii + within * fast + reach * steep) + _TINY)
        return Dual(self.value * other.value, radius, slopes, radii)

    __radd__, __rmul__ = __add__, __mul__


def log_norm(field: Field, middles: np.ndarray, radii: np.ndarray) -> list[float]:
    """Upper bounds of the largest eigenvalue of a field's symmetric Jacobian over boxes.

    Args:
      field: velocities.
      middles: (boxes, n) of the boxes.
      radii: (boxes, n) likewise.

    Raises:
      ValueError: if the Jacobian is not symmetric.
    """
    boxes, n = middles.shape
    one = np.eye(n)
    unknowns = [
        Dual(middles[:, k : k + 1], radii[:, k : k + 1], np.tile(one[k], (boxes, 1)),
             np.zeros((boxes, n)))
        for k in range(n)
    ]  # fmt: skip
    rates = [unknowns[0]._as_dual(0) + rate for rate in field(unknowns)]
    jacobian = np.stack([rate.slopes for rate in rates], 1)
    spread = np.stack([rate.radii for rate in rates], 1)
    across = np.swapaxes(jacobian, 1, 2)
    if np.any(np.abs(jacobian - across) > 1.01 * (spread + np.swapaxes(spread, 1, 2))):
        raise ValueError("The field's Jacobian is not symmetric: this is no gradient flow.")
    with np.errstate(all="ignore"):
        size = _frobenius(spread)
    return [
        _largest(j, float(s)) if np.isfinite(s) and np.all(np.isfinite(j)) else math.inf
        for j, s in zip((jacobian + across) / 2, size, strict=True)
    ]


def _frobenius(spread: np.ndarray) -> np.ndarray:
    """Upper bounds of the Frobenius norms of (boxes, n, n)."""
    most = np.max(spread, axis=(1, 2), initial=_TINY)
    shares = spread / most[:, None, None]  # their squares lose nothing that counts by underflow
    count = spread.shape[1] ** 2
    return most * np.sqrt(np.sum(shares**2, axis=(1, 2))) * (1 + count * _ROUNDED)


def _largest(jacobian: np.ndarray, spread: float) -> float:
    """Of a symmetric matrix and all within `spread` of it: guessed, then proved by minors."""
    whole = np.rint(jacobian * _SCALE)
    size = float(np.max(np.abs(whole), initial=1.0))
    if size > 2.0**900:
        return math.inf
    guess = float(np.linalg.eigvalsh(whole)[-1])
    bound = math.ceil(guess + 1e-9 * size)
    rows = [[-int(x) for x in row] for row in whole.tolist()]
    for k in range(len(rows)):
        rows[k][k] += bound
    if not positive_definite(rows):
        bound = int(max(np.sum(np.abs(whole), axis=1)) * 1.01)  # Gershgorin
    rounded = len(rows) * (1 / _SCALE + _ROUNDED * size / _SCALE)
    total = bound / _SCALE + spread + rounded
    return total + len(rows) ** 2 * _ROUNDED * (abs(bound) / _SCALE + spread + rounded)


def positive_definite(rows: list[list[int]]) -> bool:
    """Whether a symmetric matrix of whole numbers is: all leading minors, by Bareiss."""
    a, before = [list(row) for row in rows], 1
    for k in range(len(a)):
        pivot = a[k][k]
        if pivot <= 0:
            return False
        for i in range(k + 1, len(a)):
            for j in range(k + 1, len(a)):
                a[i][j] = (a[i][j] * pivot - a[i][k] * a[k][j]) // before
        before = pivot
    return True
