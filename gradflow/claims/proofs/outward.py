"""The interval arithmetic of mpmath, with exponentials, logarithms and powers rounded outward.

mpmath finds them with 14 bits more than asked for, and rounds these as if they were exact: in one
call of some ten thousand the true value is on the other side of a rounding, outside the interval.
Here more bits are found, and what they may be off by is added before they are rounded. Sums,
products, quotients, square roots and whole powers are rounded exactly by mpmath itself, and its
sine and cosine allow for their errors; no proof should rest on other functions of the context.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mpmath import libmp
from mpmath.ctx_iv import MPIntervalContext, ivmpf

Ends = tuple[Any, Any]
"""Lower and upper end, as mpmath keeps numbers."""

INTERVAL: type = ivmpf
"""Intervals of any precision."""

_MORE, _SURE = 20, 16
"""Bits found beyond those asked for, and how many of these are relied on."""


def _outward(function: Callable[..., Any], exact: Any) -> Callable[[Ends, int], Ends]:
    """An increasing function over an interval; at `exact` its value is a whole number."""

    def over(x: Ends, bits: int) -> Ends:
        low, high = x
        return end(low, bits, libmp.round_floor), end(high, bits, libmp.round_ceiling)

    def end(x: Any, bits: int, rounding: str) -> Any:
        value = function(x, bits + _MORE, libmp.round_nearest)
        negative, digits, _, _ = value
        if x == exact or not digits:  # without digits: zero or infinite
            return value
        larger = bool(negative) == (rounding == libmp.round_floor)
        whole = 1 << (bits + _SURE)
        factor = libmp.from_man_exp(whole + (1 if larger else -1), -bits - _SURE)
        return libmp.mpf_mul(value, factor, bits, rounding)

    return over


exp, log = _outward(libmp.mpf_exp, libmp.fzero), _outward(libmp.mpf_log, libmp.fone)


def power(x: Ends, y: Ends, bits: int) -> Ends:
    """x^y; of an x below zero whole powers alone."""
    if y[0] == y[1] and y[0] not in (libmp.finf, libmp.fninf):
        if y[0] == libmp.from_int(libmp.to_int(y[0])):
            return libmp.mpi_pow_int(x, libmp.to_int(y[0]), bits)
        if y[0] == libmp.fhalf:
            return libmp.mpi_sqrt(x, bits)
    return exp(libmp.mpi_mul(log(x, bits + _MORE), y, bits + _MORE), bits)


_undecided_raises = ContextVar("_undecided_raises", default=False)


@contextmanager
def decided() -> Iterator[None]:
    """Within it a comparison of intervals that is not certain raises, and so min and max do.

    Their None would count as False, and a function with a branch would be one of its branches.
    """
    token = _undecided_raises.set(True)
    try:
        yield
    finally:
        _undecided_raises.reset(token)


def _decided(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def comparing(x: Any, y: Any) -> Any:
        found = compare(x, y)
        if found is None and _undecided_raises.get():
            raise TypeError(
                f"Whether {x} is below, equal to or above {y} is not certain, so nothing may hang "
                "on it: prove each branch over a box of its own; max(x, y) is (x + y + |x - y|)/2."
            )
        return found

    return comparing


def _context() -> Any:
    """An interval context of mpmath's, its own one left as it is."""
    found: Any = MPIntervalContext()
    found.exp, found.ln = (found._wrap_mpi_function(f) for f in (exp, log))
    one = (libmp.fone, libmp.fone)
    found.e = found._constant(lambda bits, way: exp(one, bits)[way == libmp.round_ceiling])

    def to(x: Any, y: Any) -> Any:
        return found.make_mpf(power(x._mpi_, found.convert(y)._mpi_, found.prec))

    for name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
        setattr(found.mpf, name, _decided(getattr(found.mpf, name)))
    found.mpf.__pow__ = to
    found.mpf.__rpow__ = lambda x, y: to(found.convert(y), x)
    return found


iv = _context()
