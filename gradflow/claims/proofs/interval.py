"""Interval arithmetic, by mpmath: enclosures of numbers, boxes, entropy; `iv` keeps its precision.

A comparison of intervals is True where it is certain, False where its opposite is, else None; so
write `if not x > 0`, never `if x <= 0`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import mpmath
import sympy

iv: Any = mpmath.iv

Interval = Any
"""An `mpmath.iv.mpf` (mpmath has no types)."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Interval arithmetic of so many bits; afterwards that of before."""
    before = iv.prec
    iv.prec = bits
    try:
        yield
    finally:
        iv.prec = before


def interval(low: Any, high: Any = None) -> Interval:
    """The smallest interval found around one number or from one to another.

    Args:
      low: a whole number, fraction, `mpf`, float (the exact binary number), interval, or a number
        of sympy's.
      high: likewise; the same number if it is left out.
    """
    first = _point(low)
    return first if high is None else iv.mpf([first.a, _point(high).b])


def _point(x: Any) -> Interval:
    if isinstance(x, Fraction):
        return iv.mpf(x.numerator) / x.denominator
    if isinstance(x, sympy.Rational):
        return iv.mpf(int(x.p)) / int(x.q)
    if isinstance(x, sympy.Basic):
        return sympy.lambdify((), x, modules=[{"sqrt": iv.sqrt, "log": iv.log}, "math"])()
    return iv.mpf(x)


def ends(x: Interval) -> tuple[Any, Any]:
    """The exact ends of an interval, as `mpf`."""
    low, high = x._mpi_
    return mpmath.mp.make_mpf(low), mpmath.mp.make_mpf(high)


def middle(x: Interval) -> Interval:
    """A binary number inside an interval."""
    low, high = ends(x)
    with mpmath.workprec(iv.prec + 10):
        return iv.mpf((low + high) / 2) if mpmath.isfinite(high - low) else iv.mpf(0)


def hull(parts: Sequence[Interval]) -> Interval:
    """The smallest interval around some."""
    lows, highs = zip(*(ends(part) for part in parts), strict=True)
    return iv.mpf([min(lows), max(highs)])


def entropy(p: Interval) -> Interval:
    """-p ln p - (1-p) ln(1-p) over an interval within [0, 1]; it rises to 1/2 and falls after."""

    def at(x: Any) -> Interval:
        x = iv.mpf(x)
        if x == 0 or x == 1:
            return iv.mpf(0)
        return -x * iv.log(x) - (1 - x) * iv.log(1 - x)

    low, high = ends(p)
    values = [at(low), at(high)]
    if low <= 0.5 <= high:
        values.append(iv.log(iv.mpf(2)))
    return hull(values)
