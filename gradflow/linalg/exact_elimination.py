"""Gaussian elimination without rounding: what the entries of a float64 matrix say exactly."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import mpmath
import numpy as np

Exact = list[list[Fraction]]
"""A matrix of rational numbers, as rows."""

_ROUNDING = 2.0**-52
_DETERMINED = 0.1
"""How much the logarithm of the last pivot may depend on the rounding of entries."""
_BITS = 120
"""Of logarithms and exponentials: float64 has 53."""


class Elimination(NamedTuple):
    """W[rows][:, columns] = L diag(signs exp(log_pivots)) U, up to the rounding of these arrays.

    Attributes:
      lower: (m, k) unit lower trapezoidal L.
      log_pivots: (k,) logarithms of the pivots' sizes.
      upper: (k, n) unit upper trapezoidal U.
      signs: (k,) the pivots' signs.
      rows: (m,) the order of the rows.
      columns: (n,) the order of the columns.
    """

    lower: np.ndarray
    log_pivots: np.ndarray
    upper: np.ndarray
    signs: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def exactly(w: np.ndarray) -> Exact:
    """The numbers that a float64 matrix holds."""
    return [[Fraction(float(x)) for x in row] for row in np.asarray(w)]


def exact_product(factors: Sequence[np.ndarray]) -> Exact:
    """W_N ... W_1 without rounding.

    Args:
      factors: float64 matrices W_1, ..., W_N, the first acting first.

    Example:
      >>> import numpy as np
      >>> exact_product([np.array([[1e-200]]), np.array([[1e-200]])])[0][0] > 0
      True
    """
    result, power = None, 0
    for factor in factors:
        scaled, shift = _as_integers(np.asarray(factor))
        result = scaled if result is None else scaled.dot(result)
        power += shift
    assert result is not None
    unit = Fraction(2) ** power
    return [[int(x) * unit for x in row] for row in result]


def _as_integers(w: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers and the power of two that they are to be multiplied with."""
    mantissas, exponents = np.frexp(w)
    least = int(np.min(exponents[w != 0], initial=0)) - 53
    shifts = np.where(w != 0, exponents - least - 53, 0)
    whole = [
        [int(m * 2**53) << int(s) for m, s in zip(*pair, strict=True)]
        for pair in zip(mantissas, shifts, strict=True)
    ]
    return np.array(whole, dtype=object), least


def eliminate(w: Exact) -> Elimination | None:
    """Gaussian elimination with complete pivoting; None if the rank is not full.

    Args:
      w: the matrix; it is not changed.

    Example:
      >>> import numpy as np
      >>> found = eliminate(exactly(np.array([[1.0, 2.0], [3.0, 4.0]])))
      >>> found.rows.tolist(), found.columns.tolist(), found.signs.tolist()
      ([1, 0], [1, 0], [1.0, -1.0])
      >>> np.exp(found.log_pivots).round(6).tolist()
      [4.0, 0.5]
    """
    left = [list(row) for row in w]
    m, n = len(left), len(left[0])
    k = min(m, n)
    rows, columns = list(range(m)), list(range(n))
    pivots: list[Fraction] = []
    for step in range(k):
        candidates = ((i, j) for i in range(step, m) for j in range(step, n))
        i, j = max(candidates, key=lambda at: abs(left[at[0]][at[1]]))
        if left[i][j] == 0:
            return None
        left[step], left[i] = left[i], left[step]
        rows[step], rows[i] = rows[i], rows[step]
        columns[step], columns[j] = columns[j], columns[step]
        for row in left:
            row[step], row[j] = row[j], row[step]
        pivot = left[step][step]
        pivots.append(pivot)
        for i in range(step + 1, m):
            ratio = left[i][step] / pivot
            left[i][step] = ratio
            if ratio:
                for j in range(step + 1, n):
                    left[i][j] -= ratio * left[step][j]
    lower, upper = np.eye(m, k), np.eye(k, n)
    for i in range(m):
        for j in range(min(i, k)):
            lower[i, j] = float(left[i][j])
    for i in range(k):
        for j in range(i + 1, n):
            upper[i, j] = float(left[i][j] / pivots[i])
    return Elimination(
        lower,
        np.array([log_abs(pivot) for pivot in pivots]),
        upper,
        np.array([math.copysign(1.0, pivot) for pivot in pivots]),
        np.array(rows),
        np.array(columns),
    )


def full_rank_by_entries(factors: Sequence[np.ndarray]) -> bool:
    """Whether the last pivot of W_N ... W_1 is more than round-off of the factors' entries.

    Each entry is moved by a rounding, so zeros stay zeros: diag(1, 1e-20) is of full rank.

    Args:
      factors: float64 matrices W_1, ..., W_N.

    Example:
      >>> import numpy as np
      >>> full_rank_by_entries([np.diag([1.0, 1e-20])])
      True
      >>> full_rank_by_entries([np.array([[0.1, 0.3], [0.2, 0.6]])])
      False
    """
    rng = np.random.default_rng(0)
    moved = [f * (1 + _ROUNDING * rng.choice([-1.0, 1.0], size=f.shape)) for f in factors]
    before, after = (eliminate(exact_product(each)) for each in (factors, moved))
    if before is None or after is None:
        return False
    return bool(abs(after.log_pivots[-1] - before.log_pivots[-1]) < _DETERMINED)


def log_abs(x: Fraction) -> float:
    """The natural logarithm of |x|, of any size."""
    with mpmath.workprec(_BITS):
        return float(mpmath.log(abs(mpmath.mpf(x.numerator) / x.denominator)))


def exact_exp(x: float) -> Fraction:
    """exp(x) of any size, to more digits than x has."""
    with mpmath.workprec(_BITS):
        _, mantissa, power, _ = mpmath.exp(x)._mpf_
    return Fraction(int(mantissa)) * Fraction(2) ** int(power)
