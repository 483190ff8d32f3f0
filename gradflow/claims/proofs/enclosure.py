r"""Rigorous enclosures of gradient flows.

Each step takes any polynomial p near the solution, and bounds its defect p' - f(p). With the
logarithmic norm mu of the Jacobian (its largest eigenvalue: that of a gradient flow is symmetric)
over a tube around p,

    |x(t) - p(t)| <= rho exp(mu t) + delta (exp(mu t) - 1) / mu,

so that a Euclidean ball goes in and out, and nothing wraps.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from operator import index
from typing import Any

import numpy as np

from gradflow.claims.proofs.growth import log_norm
from gradflow.claims.proofs.interval import Interval, ends, interval, iv, precision
from gradflow.claims.proofs.tape import Field, Tape, above, rational, scaled

_SHORTEST = -40
"""No unit of time below two to this, or above its inverse."""
_ROUNDED = 2.0**-42  # More than what float64 loses in a polynomial of up to _HIGHEST terms:
# at most three roundings for each, of powers of the share, of the middle, and in sums.
_LOST = 1e-300  # More than what a power or product of float64 loses by underflow.
_HIGHEST = 450
_MOST_BITS = 900
"""A rounding, 2^-900, is float64's still, far above underflow at 2^-1022."""
_PARTS = 4  # of a step, each with its own bound of the growth


@dataclass(frozen=True)
class EnclosedStep:
    """A step of an enclosed flow.

    Attributes:
      time: at its start, exactly.
      width: how long it is, exactly.
      terms: (n, order + 1) terms of a polynomial for each unknown, at the end of the step.
      radius: how far the solution may be from them, in Euclidean norm, during the step.
      end: an interval for each unknown, at the end.
      bits: of the arithmetic.
    """

    time: Fraction
    width: Fraction
    terms: np.ndarray
    radius: Interval
    end: tuple[Interval, ...]
    bits: int

    def over(self, first: Fraction, last: Fraction) -> tuple[Interval, list[Interval]]:
        """Times and enclosures over a part of the step, from shares 0 <= first < last <= 1."""
        if not 0 <= first < last <= 1:
            raise ValueError(f"Shares {first} to {last} are not a part of the step.")
        with precision(self.bits):
            t = interval(self.time + self.width * first, self.time + self.width * last)
            (middles,), (radii,) = _ranges(self.terms, _moved(self.terms.shape[1], first, last))
            error = iv.mpf([-1, 1]) * self.radius
            return t, [
                iv.mpf(m) + iv.mpf([-1, 1]) * iv.mpf(r) + error
                for m, r in zip(middles.tolist(), radii.tolist(), strict=True)
            ]

    def pieces(self, count: int) -> Iterator[tuple[Interval, list[Interval]]]:
        """Times and enclosures over parts of the step, 1 at least, which together cover it."""
        if count < 1:
            raise ValueError(f"{count} parts do not cover a step.")
        for k in range(count):
            yield self.over(Fraction(k, count), Fraction(k + 1, count))


def enclose_flow(
    field: Field, start: Sequence[Any], *, end: Any = None, stop: Any = None, bits: int = 128,
    order: int | None = None, max_steps: int = 10_000,
) -> Iterator[EnclosedStep]:  # fmt: skip
    """Enclose the solution of x' = field(x), step by step.

    Args:
      field: velocities; a gradient flow's, for the growth bound uses its symmetric Jacobian.
      start: whole numbers or fractions.
      end: the last time, above 0.
      stop: a function of the intervals at the end of a step; the flow ends where it is True.
      bits: binary places of the polynomials, from 8 to 900.
      order: their degree, from 2 to 450; half of `bits` by default.
      max_steps: if so many do not reach the end, it is an error.

    Returns:
      Steps, each with an enclosure of all of it and of its end.

    Raises:
      TypeError: if a number is not rational, or one of the last three not whole.
      ValueError: if an argument is outside its range; while it is followed, if the Jacobian is not
        symmetric, a step shrinks below 2^-40, or neither `end` nor `stop` is met in `max_steps`.

    Example:
      >>> from gradflow.claims.proofs import enclose_flow
      >>> *_, last = enclose_flow(lambda x: [-x[0]], [1], end=1, bits=64)
      >>> last.end[0]
      mpi('0.3678794411714423', '0.3678794411714424')
    """
    bits, max_steps = index(bits), index(max_steps)
    order = bits // 2 if order is None else index(order)
    for name, value, least, most in (
        ("bits", bits, 8, _MOST_BITS),
        ("order", order, 2, _HIGHEST),
        ("max_steps", max_steps, 1, math.inf),
    ):
        if not least <= value <= most:
            raise ValueError(f"{name} = {value} is not from {least} to {most}.")
    last = None if end is None else rational(end)
    if last is not None and last <= 0:
        raise ValueError(f"end = {end} is not above 0, so that there is no step.")
    return _steps(field, [rational(x) for x in start], last, stop, (bits, order, max_steps))


def _steps(
    field: Field, start: list[Fraction], last: Fraction | None, stop: Any,
    numbers: tuple[int, int, int],
) -> Iterator[EnclosedStep]:  # fmt: skip
    bits, order, max_steps = numbers
    time, centre = Fraction(0), [round(x * 2**bits) for x in start]
    off = any(Fraction(c, 2**bits) != x for c, x in zip(centre, start, strict=True))
    rho = above(math.sqrt(len(centre)) * 2.0**-bits) if off else 0.0
    tape, unit = Tape(field, len(centre)), 0
    steep = -min(3.0, _MOST_BITS / order)  # so that no term is beyond float64's range
    for _ in range(max_steps):
        p = _taylor(tape, centre, bits, order, unit)
        while p.wanted < steep and unit > _SHORTEST:
            unit = max(_SHORTEST, unit + math.floor(p.wanted))
            p = _taylor(tape, centre, bits, order, unit)
        share = Fraction(min(4096, math.floor(2 ** (p.wanted + 12)) or 1), 4096)
        if last is not None:
            share = min(share, (last - time) / Fraction(2) ** unit)
        step, centre, rho = _step(p, time, share, rho)
        yield step
        time += step.width
        if (stop is not None and stop(step.end)) or (last is not None and time >= last):
            return
        unit = min(max(_SHORTEST, unit + math.ceil(p.wanted)), -_SHORTEST)
    raise ValueError(
        f"{max_steps} steps end at t = {float(time):g}, before what was asked for; give more."
    )


@dataclass(frozen=True)
class _Approximate:
    """Polynomials near a solution, in units of time of their own.

    Attributes:
      tape: the field.
      terms: of the polynomials and of all that the field makes of them.
      bits: binary places.
      unit: of time, its logarithm to the base 2.
      wanted: how wide a step should be, in units, as a logarithm; no proof hangs on it.
    """

    tape: Tape
    terms: list[list[int]]
    bits: int
    unit: int
    wanted: float

    @property
    def polynomials(self) -> list[list[int]]:
        """Those of the unknowns."""
        return self.terms[: self.tape.count]

    def defect(self, powers: np.ndarray) -> float:
        """The Euclidean norm of p' - f(p) per unit, at most, up to a width.

        Args:
          powers: (order + 1,) of the width, not below it.
        """
        norms, missing = self.tape.norms(self.terms, self.bits, powers)
        count, up, down = len(powers) - 1, 2 ** max(self.unit, 0), 2 ** max(-self.unit, 0)
        found = []
        for x, place in zip(self.polynomials, self.tape.rates, strict=True):
            rates = self.terms[place]
            off = [abs((k + 1) * x[k + 1] * down - rates[k] * up) for k in range(count)]
            known = float(np.sum(scaled(off, self.bits) * powers[:count])) / down
            beyond = missing[place] + float(np.sum(norms[place][count:]))
            found.append(above(known + beyond * 2.0**self.unit))
        return above(math.hypot(*found))


def _taylor(tape: Tape, centre: list[int], bits: int, order: int, unit: int) -> _Approximate:
    """Taylor polynomials, in fixed point: whatever they are, their defect is bounded."""
    terms = tape.expand([[c] for c in centre], bits, order, unit)
    logs = [
        (8 - math.log2(most)) / k
        for k in (order - 1, order)
        if (most := max(abs(x[k]) for x in terms[: tape.count]))
    ]
    return _Approximate(tape, terms, bits, unit, max(-60.0, min(logs, default=8.0)))


def _step(
    p: _Approximate, time: Fraction, share: Fraction, rho: float
) -> tuple[EnclosedStep, list[int], float]:
    """One step, halved until the tube holds."""
    unit, bits, count = Fraction(2) ** p.unit, p.bits, len(p.terms[0])
    whole = np.stack([scaled(x, bits) for x in p.polynomials])
    lost = above(_LOST * (float(np.sum(np.abs(whole))) + 1))  # of terms whose powers underflow
    while True:
        powers = float(share) ** np.arange(count)
        defect = p.defect(above(powers))
        terms = whole * powers
        tube = 4 * above(rho + defect * float(above(share))) + 2.0**-bits
        reach = above(tube + lost)
        after = _grown(p.tape, terms, share, p.unit, (tube, reach), rho, defect)
        if after is not None:
            break
        share /= 2
        if share * unit < Fraction(2) ** _SHORTEST:
            raise ValueError(
                f"No step from t = {float(time):g} on is proved to stay near its polynomial; give "
                "more bits."
            )
    centre = [_at(x, share) for x in p.polynomials]
    rho = above(after + math.sqrt(len(centre)) * count * 2.0**-bits)
    with precision(bits):
        around = iv.mpf([-1, 1]) * rho
        box = tuple(interval(Fraction(c, 1 << bits)) + around for c in centre)
        return EnclosedStep(time, share * unit, terms, iv.mpf(reach), box, bits), centre, rho


def _grown(
    field: Field, terms: np.ndarray, share: Fraction, unit: int, tubes: tuple[float, float],
    rho: float, defect: float,
) -> float | None:  # fmt: skip
    """The radius at the end, if the solution cannot leave the tube before; None if it might.

    `tubes` are the radii of that tube and of one around the float64 terms, which contains it.
    """
    tube, reach = tubes
    middles, radii = _ranges(terms, _parts(terms.shape[1]))
    part = above(float(share) / _PARTS)
    for mu in log_norm(field, middles, above(radii + reach)):
        exponent = above(abs(mu) * part * 2.0**unit) * (1 if mu > 0 else 1 - 2.0**-30)
        if not exponent < 700:
            return None
        growth = above(float(ends(iv.exp(iv.mpf(math.copysign(exponent, mu))))[1]))
        # (exp(mu t) - 1) / mu is at most t max(exp(mu t), 1), whatever the sign of mu.
        if not above(rho + defect * part) * max(growth, 1.0) < tube:
            return None
        rho = above(rho * growth + defect * part * max(growth, 1.0))
    return rho


def _at(terms: list[int], share: Fraction) -> int:
    """A polynomial, off by less than a rounding for each term."""
    total = 0
    for x in reversed(terms):
        total = total * share.numerator // share.denominator + x
    return total


def _ranges(terms: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials over parts of [0, 1], as middles and radii, each (parts, polynomials)."""
    found = moved @ terms.T
    lost = _ROUNDED * np.sum(np.abs(terms), axis=1)
    return found[:, 0], above(np.sum(np.abs(found[:, 1:]), axis=1) + lost)


@cache
def _parts(count: int) -> np.ndarray:
    parts = [_moved(count, Fraction(k, _PARTS), Fraction(k + 1, _PARTS)) for k in range(_PARTS)]
    return np.concatenate(parts)


@lru_cache(maxsize=512)
def _moved(count: int, first: Fraction, last: Fraction) -> np.ndarray:
    """(1, count, count) from terms in t to those in s, t = (first + last + (last - first) s)/2."""
    j, k = np.arange(count)[:, None], np.arange(count)
    binomials = np.array([[math.comb(b, a) for b in range(count)] for a in range(count)], float)
    middle, half = float(first + last) / 2, float(last - first) / 2
    return (binomials * middle ** np.maximum(k - j, 0) * half**j)[None]
