"""Interval arithmetic, by mpmath: enclosures of numbers, boxes, entropy; `iv` keeps its precision.

A comparison of intervals is True where it is certain, False where its opposite is, else None; so
write `if not x > 0`, never `if x <= 0`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import reduce
from operator import add, mul
from typing import Any

import mpmath
import numpy as np
import sympy

from gradflow.claims.proofs import outward

iv: Any = outward.iv

Interval = Any
"""An `iv.mpf` (mpmath has no types)."""


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
      low: a whole number, fraction, `mpf`, float (the exact binary number), scalar of numpy's,
        interval, or a number of sympy's from rational numbers, pi and e by sums, products, powers,
        exponentials and logarithms.
      high: likewise; the same number if it is left out.

    Raises:
      TypeError: of any other number, which would not be enclosed for certain.
      ValueError: if the ends are in the wrong order, or a root or logarithm is not real.
    """
    first = _point(low)
    if high is None:
        return first
    last = _point(high)
    if last < first:
        raise ValueError(f"{low} is above {high}: give the lower end first.")
    return iv.mpf([first.a, last.b])


def exact(x: Any) -> Fraction | None:
    """A rational number as it is; None of one that is infinite, irrational or an interval."""
    if isinstance(x, Fraction):
        return Fraction(int(x.numerator), int(x.denominator))  # not in numpy's integers, which wrap
    if isinstance(x, sympy.Rational):
        return Fraction(int(x.p), int(x.q))
    if isinstance(x, int | np.integer):
        return Fraction(int(x))
    if isinstance(x, float | np.floating):
        return Fraction(*x.as_integer_ratio()) if np.isfinite(x) else None
    if type(x) is mpmath.mpf and mpmath.isfinite(x):
        sign, digits, exponent, _ = x._mpf_
        return Fraction(-int(digits) if sign else int(digits)) * Fraction(2) ** exponent
    return None


def _point(x: Any) -> Interval:
    if isinstance(x, Fraction):
        return iv.mpf(int(x.numerator)) / int(x.denominator)
    if isinstance(x, int | float | outward.INTERVAL) or type(x) is mpmath.mpf:
        return iv.mpf(x)
    if isinstance(x, np.integer | np.floating):
        found = exact(x)
        return iv.mpf(float(x)) if found is None else _point(found)
    if isinstance(x, sympy.Expr):
        return _number(x)
    raise TypeError(
        f"{x!r} ({type(x).__name__}) has no certain enclosure: give a whole number, a Fraction, a "
        "float, or an exact number of sympy's, such as sympy.sqrt(2) / 3 or sympy.pi."
    )


def _number(x: Any) -> Interval:
    """An exact number of sympy's, by its parts."""
    if isinstance(x, sympy.Rational):
        return iv.mpf(int(x.p)) / int(x.q)
    if x is sympy.pi:
        return +iv.pi
    if x is sympy.E:
        return iv.exp(iv.mpf(1))
    if not isinstance(x, sympy.Add | sympy.Mul | sympy.Pow | sympy.exp | sympy.log):
        remedy = {
            "Float": "a rounded number: give a sympy.Rational",
            "Symbol": "an unknown: put in a number",
        }.get(type(x).__name__, "not made of rational numbers, pi, e, + * ** exp and log")
        raise TypeError(f"{x} ({type(x).__name__}) has no certain enclosure, as {remedy}.")
    if isinstance(x, sympy.Pow) and isinstance(x.exp, sympy.Rational) and x.exp.q <= 2:
        base = _number(x.base)
        return (base if x.exp.q == 1 else iv.sqrt(base)) ** int(x.exp.p)
    parts = [_number(part) for part in x.args]
    if isinstance(x, sympy.Add | sympy.Mul):
        return reduce(add if isinstance(x, sympy.Add) else mul, parts)
    if isinstance(x, sympy.Pow):
        return iv.exp(iv.log(parts[0]) * parts[1])
    return iv.exp(*parts) if isinstance(x, sympy.exp) else iv.log(*parts)


def ends(x: Interval) -> tuple[Any, Any]:
    """The exact ends of an interval, as `mpf`."""
    low, high = x._mpi_
    return mpmath.mp.make_mpf(low), mpmath.mp.make_mpf(high)


def middle(x: Interval) -> Interval:
    """A binary number inside a bounded interval.

    Raises:
      ValueError: if an end is infinite.
    """
    low, high = ends(x)
    if not (mpmath.isfinite(low) and mpmath.isfinite(high)):
        raise ValueError(f"{x} has no middle; give finite ends.")
    with mpmath.workprec(iv.prec + 10):
        rounded = (low + high) / 2
    return iv.mpf(min(max(rounded, low), high))


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
