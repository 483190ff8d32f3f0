r"""Rigorous enclosures of gradient flows.

Each step takes any polynomial p near the solution, and bounds its defect p' - f(p) in exact
arithmetic. With the logarithmic norm mu of the Jacobian (its largest eigenvalue: that of a gradient
flow is symmetric) over a tube around p,

    |x(t) - p(t)| <= rho exp(mu t) + delta (exp(mu t) - 1) / mu,

so that a Euclidean ball goes in and out, and nothing wraps.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gradflow.claims.proofs.interval import Interval, ends, interval, iv, precision
from gradflow.claims.proofs.series import Polynomial, Series

Field = Callable[[Sequence[Any]], Sequence[Any]]
"""From unknowns to their velocities, by + - * and binary fractions alone."""
_SHIFT = 20  # Steps are whole multiples of 2^-20.


@dataclass(frozen=True)
class Step:
    """A step of an enclosed flow.

    Attributes:
      time: at its start, exactly.
      width: how long it is, exactly.
      polynomials: one for each unknown, in the time since its start.
      radius: how far the solution may be from them, in Euclidean norm, during the step.
      end: an interval for each unknown, at the end.
      bits: of the arithmetic.
    """

    time: Fraction
    width: Fraction
    polynomials: tuple[Polynomial, ...]
    radius: Interval
    end: tuple[Interval, ...]
    bits: int

    def pieces(self, count: int) -> Iterator[tuple[Interval, list[Interval]]]:
        """Times and enclosures over parts of the step, which together cover it."""
        with precision(self.bits):
            for k in range(count):
                t = interval(self.width * k / count, self.width * (k + 1) / count)
                error = iv.mpf([-1, 1]) * self.radius
                yield interval(self.time) + t, [_value(p, t) + error for p in self.polynomials]


def enclose_flow(
    field: Field, start: Sequence[Any], *, end: Any = None, stop: Any = None, bits: int = 128,
    order: int | None = None, max_steps: int = 10_000,
) -> Iterator[Step]:  # fmt: skip
    """Enclose the solution of x' = field(x) from exact numbers, step by step.

    Args:
      field: velocities; a gradient flow's, for the growth bound uses its symmetric Jacobian.
      start: whole numbers or binary fractions.
      end: the last time, a multiple of 2^-20.
      stop: a function of the intervals at the end of a step; the flow ends where it is True.
      bits: binary places of the polynomials.
      order: their degree; a quarter of `bits` by default.
      max_steps: after so many it ends in any case.

    Yields:
      Steps, each with an enclosure of all of it and of its end.

    Raises:
      ValueError: if the Jacobian is not symmetric, or a step shrinks below 2^-20.

    Example:
      >>> from gradflow.claims.proofs import enclose_flow
      >>> *_, last = enclose_flow(lambda x: [-x[0]], [1], end=1, bits=64)
      >>> last.end[0]
      mpi('0.3678794411714423', '0.3678794411714424')
    """
    order = order or bits // 4
    time, last = Fraction(0), None if end is None else Fraction(end)
    centre = [int(Fraction(x) * 2**bits) for x in start]
    with precision(bits):
        rho = iv.mpf(0)
    for _ in range(max_steps):
        if last is not None and time >= last:
            return
        with precision(bits):
            series = _taylor(field, centre, bits, order)
            wanted = _width(series, order, bits)
            if last is not None:
                wanted = min(wanted, int((last - time) * 2**_SHIFT))
            step, centre, rho = _step(field, series, time, wanted, rho, bits)
        yield step
        time += step.width
        if stop is not None and stop(step.end):
            return


def _taylor(field: Field, centre: list[int], bits: int, order: int) -> list[Polynomial]:
    """Taylor polynomials, in fixed point: whatever they are, their defect is bounded exactly."""
    unknowns = [Series(bits, lambda k: 0, [c]) for c in centre]
    rates = field(unknowns)
    for k in range(order):
        for x, rate in zip(unknowns, rates, strict=True):
            x.known.append(rate[k] // (k + 1))
    return [Polynomial(x.known, bits) for x in unknowns]


def _width(series: list[Polynomial], order: int, bits: int) -> int:
    """A width, in 2^-20, at which the last terms are a few roundings; no proof hangs on it."""
    logs = [
        (bits - math.log2(max(abs(p.terms[k]) for p in series) or 1) + 4) / k
        for k in (order - 1, order)
        if any(p.terms[k] for p in series)
    ]
    # terms are times 2^bits: coefficient * h^k = 2^(4 - bits) at h = 2^((4 - log2 term) / k).
    wanted = min((x - bits / k for x, k in zip(logs, (order - 1, order), strict=False)), default=0)
    return max(1, min(int(2 ** (wanted + _SHIFT)), 1 << _SHIFT))


def _step(
    field: Field, series: list[Polynomial], time: Fraction, width: int, rho: Interval, bits: int
) -> tuple[Step, list[int], Interval]:
    """One step, halved until the tube holds."""
    defect = [p.derivative() - rate for p, rate in zip(series, field(series), strict=True)]
    while width:
        sizes = [d.size(width, _SHIFT) for d in defect]
        delta = iv.sqrt(sum((interval(s) ** 2 for s in sizes), iv.mpf(0)))
        h = interval(Fraction(width, 1 << _SHIFT))
        tube = 4 * (rho + delta * h) + iv.mpf(2) ** -bits
        grown = _grown(field, series, h, tube, rho, delta)
        if grown is not None:
            break
        width //= 2
    else:
        raise ValueError(
            f"No step from t = {float(time):g} on is proved to stay near its polynomial; give "
            "more bits."
        )
    exact = [_at(p, width) for p in series]
    centre = [round(x * 2**bits) for x in exact]
    moved = iv.sqrt(iv.mpf(len(centre))) * iv.mpf(2) ** -bits
    rho = iv.mpf(ends(grown + moved)[1])
    around = iv.mpf([-1, 1]) * rho
    box = tuple(interval(Fraction(c, 1 << bits)) + around for c in centre)
    width_exact = Fraction(width, 1 << _SHIFT)
    return Step(time, width_exact, tuple(series), iv.mpf(ends(tube)[1]), box, bits), centre, rho


def _grown(
    field: Field, series: list[Polynomial], h: Interval, tube: Interval, rho: Interval, delta: Any
) -> Interval | None:
    """The radius at the end, if the solution cannot leave the tube before; None if it might."""
    zero_to_h = interval(0, ends(h)[1])
    around = iv.mpf([-1, 1]) * tube
    growth = iv.exp(log_norm(field, [_value(p, zero_to_h) + around for p in series]) * h)
    # (exp(mu t) - 1) / mu is at most t max(exp(mu t), 1), whatever the sign of mu.
    most = iv.mpf(max(ends(growth)[1], 1))
    if not (rho + delta * h) * most < tube:
        return None
    return rho * growth + delta * h * most


def log_norm(field: Field, box: Sequence[Interval]) -> Interval:
    """An upper bound of the largest eigenvalue of a field's symmetric Jacobian over a box."""
    n = len(box)
    unknowns = [Dual(x, {k: iv.mpf(1)}) for k, x in enumerate(box)]
    rows = [_dual(rate).slopes for rate in field(unknowns)]
    jacobian = [[row.get(k, iv.mpf(0)) for k in range(n)] for row in rows]
    centre, spread = np.zeros((n, n)), Fraction(0)
    scale = 1 << 40
    for i in range(n):
        for j in range(i + 1):
            both = jacobian[i][j] - jacobian[j][i]
            if 0 not in both:
                raise ValueError("The field's Jacobian is not symmetric: this is no gradient flow.")
            low, high = ends(jacobian[i][j])
            middle = round(float(low + high) / 2 * scale)
            centre[i, j] = centre[j, i] = middle
            at = Fraction(middle, scale)
            gap = max(_fraction(high) - at, at - _fraction(low))
            spread += (1 + (i != j)) * gap**2
    guess = np.linalg.eigvalsh(centre / scale)[-1]
    slack = 1e-9 * (1 + np.max(np.abs(centre)) / scale)
    bound = math.ceil((guess + slack) * scale)
    whole = [[int(-x) for x in row] for row in centre]
    for k in range(n):
        whole[k][k] += bound
    if not positive_definite(whole):
        bound = int(max(np.sum(np.abs(centre), axis=1))) + n  # Gershgorin
    root = iv.sqrt(interval(spread))
    return iv.mpf(ends(interval(Fraction(bound, scale)) + root)[1])


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


class Dual:
    """An interval with its derivatives."""

    def __init__(self, value: Interval, slopes: dict[int, Interval]):
        self.value, self.slopes = value, slopes

    def __add__(self, other: Any) -> "Dual":
        other = _dual(other)
        slopes = dict(self.slopes)
        for k, slope in other.slopes.items():
            slopes[k] = slopes[k] + slope if k in slopes else slope
        return Dual(self.value + other.value, slopes)

    def __neg__(self) -> "Dual":
        return Dual(-self.value, {k: -slope for k, slope in self.slopes.items()})

    def __sub__(self, other: Any) -> "Dual":
        return self + -_dual(other)

    def __rsub__(self, other: Any) -> "Dual":
        return _dual(other) - self

    def __mul__(self, other: Any) -> "Dual":
        other = _dual(other)
        first = Dual(self.value * other.value, {k: s * other.value for k, s in self.slopes.items()})
        return first + Dual(iv.mpf(0), {k: self.value * s for k, s in other.slopes.items()})

    __radd__, __rmul__ = __add__, __mul__


def _dual(x: Any) -> Dual:
    return x if isinstance(x, Dual) else Dual(interval(Fraction(x)), {})


def _value(p: Polynomial, t: Interval) -> Interval:
    """A polynomial over an interval of times."""
    total = iv.mpf(0)
    for x in reversed(p.terms):
        total = total * t + x
    return total / 2**p.places


def _at(p: Polynomial, width: int) -> Fraction:
    """A polynomial at width / 2^20, exactly."""
    total, scale = 0, 1
    for x in reversed(p.terms):
        total = total * width + x * scale
        scale <<= _SHIFT
    return Fraction(total, (scale >> _SHIFT) << p.places)


def _fraction(x: Any) -> Fraction:
    """An `mpf` as a fraction."""
    sign, mantissa, exponent, _ = x._mpf_
    value = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -value if sign else value
