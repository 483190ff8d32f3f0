"""Limits along a geometric sequence of times, extrapolated."""

from typing import NamedTuple

import numpy as np


class Limit(NamedTuple):
    """An extrapolated limit and how far off it may be.

    Attributes:
      value: the limit.
      error: the distance from the estimate one time earlier.
    """

    value: float
    error: float


def extrapolate(values: np.ndarray) -> Limit:
    r"""The limit of v_k = L + C q^k + smaller terms, by Aitken's delta-squared process.

    A quantity that follows a power law in time is of this form at times T, rT, r^2 T, .... The
    estimate from the last three values is compared with that from the three before the last.

    Args:
      values: at least four, at geometric times.

    Raises:
      ValueError: if there are fewer.

    References:
      Aitken 1926.
    """
    if len(values) < 4:
        raise ValueError(f"A limit needs at least 4 values, but there are {len(values)}.")
    last, before = _aitken(values[-3:]), _aitken(values[-4:-1])
    rounding = 8 * np.finfo(float).eps * float(np.max(np.abs(values[-4:])))
    return Limit(last, abs(last - before) + rounding)


def _aitken(v: np.ndarray) -> float:
    first, second = v[1] - v[0], v[2] - v[1]
    if abs(second) <= 1e-14 * max(abs(v[2]), 1e-300) or second == first:
        return float(v[2])
    return float(v[2] - second**2 / (second - first))
