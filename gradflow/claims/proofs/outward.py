"""The interval arithmetic of mpmath, with exponentials, logarithms and powers rounded outward.

mpmath finds them with 14 bits more than asked for, and rounds these as if they were exact: in one
call of some ten thousand the true value is on the other side of a rounding, outside the interval.
Here more bits are found, and what they may be off by is added before they are rounded. Sums,
products, quotients, square roots and whole powers are rounded exactly by mpmath itself, and its
sine and cosine allow for their errors; no proof should rest on other functions of the context.
"""

from collections.abc import Callable
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


def _context() -> Any:
    """An interval context of mpmath's, its own one left as it is."""
    found: Any = MPIntervalContext()
    found.exp, found.ln = (found._wrap_mpi_function(f) for f in (exp, log))
    one = (libmp.fone, libmp.fone)
    found.e = found._constant(lambda bits, way: exp(one, bits)[way == libmp.round_ceiling])

    def to(x: Any, y: Any) -> Any:
        return found.make_mpf(power(x._mpi_, found.convert(y)._mpi_, found.prec))

    found.mpf.__pow__ = to
    found.mpf.__rpow__ = lambda x, y: to(found.convert(y), x)
    return found


iv = _context()
