"""Power series in whole numbers, with bounds of what they leave out: `enclose_flow` computes so.

The norm of a power series is sum_k |c_k| w^k. It bounds the series on [0, w] and its product with
another by the product of both norms. All bounds are rounded up by more than float64 can be off.
"""

from collections.abc import Sequence
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np

Number = int | Fraction


def above(x: Any) -> Any:
    """No less than a sum of a few hundred positive terms that float64 gave as x."""
    return x * (1 + 2.0**-40) + 1e-300


class Series:
    """A polynomial, or an expression in polynomials of which the first coefficients are found.

    Args:
      bits: binary places of the coefficients.
      known: coefficients times 2^bits; all of them, unless a subclass finds more.
    """

    def __init__(self, bits: int, known: Sequence[int] = ()):
        self.bits, self.known = bits, list(known)
        self._measured: tuple[Any, Any] = (None, None)

    def __getitem__(self, k: int) -> int:
        """The coefficient of t^k, rounded."""
        return self.known[k] if k < len(self.known) else self.up_to(k)[k]

    def _next(self, k: int) -> int:
        return 0

    def up_to(self, k: int) -> list[int]:
        """The coefficients from 0 to k, rounded."""
        while len(self.known) <= k:
            self.known.append(self._next(len(self.known)))
        return self.known[: k + 1]

    def norms(self, powers: np.ndarray) -> tuple[np.ndarray, float]:
        """Norms of the terms that are known, and of all that they leave out.

        Args:
          powers: (n,) of the width, from 0 on.
        """
        if self._measured[0] is not powers:
            sizes = np.abs(np.array(self.known, float)) * powers[: len(self.known)]
            terms = above(sizes * 2.0**-self.bits)
            self._measured = powers, (terms, float(above(self._missing(powers))))
        return self._measured[1]

    def _missing(self, powers: np.ndarray) -> float:
        return 0.0

    def as_series(self, other: Any) -> "Series":
        """Itself, or a number as a series."""
        if isinstance(other, Series):
            return other
        return _Constant(self.bits, Fraction(other))

    def __add__(self, other: Any) -> "Series":
        return _Sum(self, self.as_series(other))

    def __neg__(self) -> "Series":
        return self * -1

    def __sub__(self, other: Any) -> "Series":
        return self + -self.as_series(other)

    def __rsub__(self, other: Any) -> "Series":
        return self.as_series(other) - self

    def __mul__(self, other: Any) -> "Series":
        if isinstance(other, Series):
            return _Product(self, other)
        return _Multiple(self, Fraction(other))

    __radd__, __rmul__ = __add__, __mul__


class _Constant(Series):
    def __init__(self, bits: int, value: Fraction):
        super().__init__(bits, [value.numerator * 2**bits // value.denominator])
        self.value = value

    def _missing(self, powers: np.ndarray) -> float:
        exact = Fraction(self.known[0], 2**self.bits) == self.value
        return 0.0 if exact else 2.0**-self.bits


class _Sum(Series):
    def __init__(self, one: Series, other: Series):
        super().__init__(one.bits)
        self.parts = one, other

    def _next(self, k: int) -> int:
        one, other = self.parts
        return one[k] + other[k]

    def _missing(self, powers: np.ndarray) -> float:
        found = [part.norms(powers) for part in self.parts]
        return sum(missing + float(np.sum(norms[len(self.known) :])) for norms, missing in found)


class _Multiple(Series):
    def __init__(self, one: Series, factor: Fraction):
        super().__init__(one.bits)
        self.part, self.factor = one, factor

    def _next(self, k: int) -> int:
        return self.part[k] * self.factor.numerator // self.factor.denominator

    def _missing(self, powers: np.ndarray) -> float:
        norms, missing = self.part.norms(powers)
        found = float(above(abs(self.factor))) * (missing + float(np.sum(norms[len(self.known) :])))
        exact = self.factor.denominator == 1
        return found if exact else found + _roundings(powers[: len(self.known)], self.bits)


def _roundings(powers: np.ndarray, bits: int) -> float:
    """The norm of one rounding in each term."""
    return float(np.sum(powers)) * 2.0**-bits


class _Product(Series):
    def __init__(self, one: Series, other: Series):
        super().__init__(one.bits)
        self.parts = one, other

    def _next(self, k: int) -> int:
        one, other = (part.up_to(k) for part in self.parts)
        return sum(map(mul, one, reversed(other))) >> self.bits

    def _missing(self, powers: np.ndarray) -> float:
        """Terms of higher powers, what the factors miss, and a rounding of each term."""
        (a, less_a), (b, less_b) = (part.norms(powers) for part in self.parts)
        kept = len(self.known)
        rest = np.append(np.cumsum(b[::-1])[::-1], 0.0)  # norms of the terms from each one on
        higher = float(np.sum(a * rest[np.clip(kept - np.arange(len(a)), 0, len(b))]))
        both = float(np.sum(a)) * less_b + float(np.sum(b)) * less_a + less_a * less_b
        return higher + both + _roundings(powers[:kept], self.bits)
