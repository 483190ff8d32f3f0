"""Power series and polynomials in time, in whole numbers: what `enclose_flow` runs a field on."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

Number = int | Fraction


class Series:
    """A power series whose coefficients, in fixed point, are found when they are asked for.

    Args:
      bits: binary places.
      rule: from k to the coefficient of t^k, given those before.
    """

    def __init__(self, bits: int, rule: Callable[[int], int], known: Sequence[int] = ()):
        self.bits, self.rule, self.known = bits, rule, list(known)

    def __getitem__(self, k: int) -> int:
        while len(self.known) <= k:
            self.known.append(self.rule(len(self.known)))
        return self.known[k]

    def _as_series(self, other: Any) -> "Series":
        if isinstance(other, Series):
            return other
        return Series(self.bits, lambda k: 0, [int(Fraction(other) * 2**self.bits)])

    def __add__(self, other: Any) -> "Series":
        other = self._as_series(other)
        return Series(self.bits, lambda k: self[k] + other[k])

    def __neg__(self) -> "Series":
        return Series(self.bits, lambda k: -self[k])

    def __sub__(self, other: Any) -> "Series":
        return self + -self._as_series(other)

    def __rsub__(self, other: Any) -> "Series":
        return self._as_series(other) - self

    def __mul__(self, other: Any) -> "Series":
        other = self._as_series(other)
        return Series(
            self.bits, lambda k: sum(self[i] * other[k - i] for i in range(k + 1)) >> self.bits
        )

    __radd__, __rmul__ = __add__, __mul__


class Polynomial:
    """A polynomial with binary fractions for coefficients, whose arithmetic is exact.

    Args:
      terms: coefficients times 2^places.
      places: how many binary places they have.
    """

    def __init__(self, terms: list[int], places: int):
        self.terms, self.places = terms, places

    def _as_polynomial(self, other: Any) -> "Polynomial":
        if isinstance(other, Polynomial):
            return other
        number = Fraction(other)
        places = number.denominator.bit_length() - 1
        if number.denominator != 1 << places:
            raise ValueError(f"{other} is no binary fraction; multiply the field by it afterwards.")
        return Polynomial([number.numerator], places)

    def __add__(self, other: Any) -> "Polynomial":
        other = self._as_polynomial(other)
        places = max(self.places, other.places)
        a, b = ([x << places - p.places for x in p.terms] for p in (self, other))
        size = max(len(a), len(b))
        a, b = (x + [0] * (size - len(x)) for x in (a, b))
        return Polynomial([x + y for x, y in zip(a, b, strict=True)], places)

    def __neg__(self) -> "Polynomial":
        return Polynomial([-x for x in self.terms], self.places)

    def __sub__(self, other: Any) -> "Polynomial":
        return self + -self._as_polynomial(other)

    def __rsub__(self, other: Any) -> "Polynomial":
        return self._as_polynomial(other) - self

    def __mul__(self, other: Any) -> "Polynomial":
        other = self._as_polynomial(other)
        result = [0] * (len(self.terms) + len(other.terms) - 1)
        for i, x in enumerate(self.terms):
            if x:
                for j, y in enumerate(other.terms, start=i):
                    result[j] += x * y
        return Polynomial(result, self.places + other.places)

    __radd__, __rmul__ = __add__, __mul__

    def derivative(self) -> "Polynomial":
        """In time."""
        return Polynomial([k * x for k, x in enumerate(self.terms)][1:] or [0], self.places)

    def size(self, numerator: int, shift: int) -> Fraction:
        """An upper bound of its size for times from 0 to numerator / 2^shift."""
        total = 0
        for x in reversed(self.terms):
            total = -(-total * numerator >> shift) + abs(x)  # rounded up
        return Fraction(total, 1 << self.places)
