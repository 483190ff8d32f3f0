"""A pivoted QR decomposition of float64 columns in long fixed-point arithmetic.

The numbers are taken as exact. Columns of any size, and with any small angle between them, give
directions, sizes and ratios right to the last bit; in float64 an angle a is known to 1e-16/a.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

BITS = 512
"""After the point, for columns whose largest entry is between 1/2 and 1."""


class LongQR(NamedTuple):
    """q = directions diag(exp(logs)) rows, for r linearly independent columns.

    Attributes:
      directions: (n, r) orthonormal columns.
      logs: (r,) logarithms, in falling order.
      rows: (r, k) upper triangular but for the order of its columns; largest entries 1.
      tilt: (r, r) directions^T J directions with J the signs, each entry right to the last bit;
        None without signs.
    """

    directions: Float[np.ndarray, "n r"]
    logs: Float[np.ndarray, " r"]
    rows: Float[np.ndarray, "r k"]
    tilt: Float[np.ndarray, "r r"] | None


def long_qr(q: Float[np.ndarray, "n k"], signs: Float[np.ndarray, " n"] | None = None) -> LongQR:
    """See the module's docstring: Gram and Schmidt's way, the longest remainder first.

    Args:
      q: the columns; a remainder below 2^-256 of its column is none.
      signs: None, or 1 or -1 for each row.
    """
    _, powers = np.frexp(np.max(np.abs(q), axis=0, initial=0.0))
    left = [
        np.array([_fixed(x, int(p)) for x in c], object) for c, p in zip(q.T, powers, strict=True)
    ]
    directions, logs, entries = [], [], []
    open_ = {k for k in range(q.shape[1]) if np.any(q[:, k])}
    while open_:
        lengths = {k: math.isqrt(int(left[k] @ left[k])) for k in open_}
        open_ = {k for k in open_ if lengths[k] >> (BITS // 2)}
        if not open_ or len(directions) == len(q):
            break
        first = max(open_, key=lambda k: int(powers[k]) + math.log2(lengths[k]))
        o = (left[first] << BITS) // lengths[first]
        row = np.zeros(q.shape[1])
        for k in open_:
            along = int(o @ left[k]) >> BITS
            row[k] = np.ldexp(along / lengths[first], int(powers[k] - powers[first]))
            left[k] = left[k] - ((along * o) >> BITS)
        row[first] = 1.0
        open_.remove(first)
        directions.append(o)
        entries.append(row)
        logs.append(math.log(2) * (int(powers[first]) - BITS) + math.log(lengths[first]))
    o = np.array(directions).T
    tilt = None if signs is None else _numbers(_tilt(o, signs.astype(int).astype(object)))
    return LongQR(_numbers(o), np.array(logs), np.array(entries), tilt)


def _tilt(o: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """O^T diag(signs) O in units of 2^-BITS."""
    count = o.shape[1]
    tilt = np.empty((count, count), object)
    for k in range(count):
        tilt[k, : k + 1] = tilt[: k + 1, k] = ((signs * o[:, k]) @ o[:, : k + 1]) >> BITS
    return tilt


def _numbers(fixed: np.ndarray) -> np.ndarray:
    one = 1 << BITS
    return np.array([[int(x) / one for x in row] for row in fixed])


def _fixed(x: float, power: int) -> int:
    """X / 2^power in units of 2^-BITS."""
    above, below = float(x).as_integer_ratio()
    shift = BITS - power
    return (above << shift) // below if shift >= 0 else above // (below << -shift)
