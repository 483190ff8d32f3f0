"""A field as a list of operations, on power series in whole numbers: `enclose_flow` computes so.

The norm of a power series is sum_k |c_k| w^k. It bounds the series on [0, w] and its product with
another by the product of both norms. All bounds are rounded up by more than float64 can be off.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from gradflow.claims.proofs.interval import exact

Field = Callable[[Sequence[Any]], Sequence[Any]]
"""From unknowns to their velocities, by + - * and fractions alone."""


def above(x: Any) -> Any:
    """No less than a sum of a few hundred positive terms that float64 gave as x."""
    return x * (1 + 2.0**-40) + 1e-300


def rational(x: Any) -> Fraction:
    """A number as it is.

    Raises:
      TypeError: if it is not rational.
    """
    found = exact(x)
    if found is None:
        raise TypeError(f"{x!r} is not rational: enclose the flow with it as one more unknown.")
    return found


def scaled(terms: Sequence[int], bits: int) -> np.ndarray:
    """Terms / 2^bits for up to 1000 bits, each off by one rounding; infinite beyond float64."""
    try:
        return np.array(terms, float) * 2.0**-bits
    except OverflowError:
        return np.array([_scaled(c, bits) for c in terms])


def _scaled(c: int, bits: int) -> float:
    spare = max(abs(c).bit_length() - 64, 0)  # bits that are shifted out, below a rounding
    try:
        return math.ldexp(float(c >> spare), spare - bits)
    except OverflowError:
        return math.inf if c > 0 else -math.inf


class _Rule(NamedTuple):
    """An operation: its kind, its operands' places on the tape, a factor or constant."""

    kind: str
    one: int = 0
    other: int = 0
    number: Fraction = Fraction(1)


class Tape:
    """What a field does, each operation once.

    Args:
      field: velocities.
      count: how many unknowns there are.

    Attributes:
      rules: the operations after the unknowns, each on places before its own.
      rates: the places of the velocities.
    """

    def __init__(self, field: Field, count: int):
        self.count, self.rules = count, list[_Rule]()
        self._places: dict[_Rule, int] = {}
        found = field([_Symbol(self, k) for k in range(count)])
        self.rates = [self.symbol(rate).place for rate in found]

    def add(self, kind: str, *operands: int, number: Fraction = Fraction(1)) -> "_Symbol":
        """The operation's place, a new one or that of the same before."""
        rule = _Rule(kind, *operands, number=number)
        if rule not in self._places:
            self._places[rule] = self.count + len(self.rules)
            self.rules.append(rule)
        return _Symbol(self, self._places[rule])

    def symbol(self, x: Any) -> "_Symbol":
        """A symbol as it is; a number as a constant."""
        return x if isinstance(x, _Symbol) else self.add("constant", number=rational(x))

    def __call__(self, unknowns: Sequence[Any]) -> list[Any]:
        """The field on other numbers."""
        found = list(unknowns)
        for kind, one, other, number in self.rules:
            if kind == "product":
                found.append(found[one] * found[other])
            elif kind == "sum":
                found.append(found[one] + found[other])
            elif kind == "multiple":
                found.append(found[one] * number)
            else:
                found.append(found[0] * 0 + number)
        return [found[k] for k in self.rates]

    def expand(self, known: list[list[int]], bits: int, order: int, unit: int) -> list[list[int]]:
        """Power series of all places, times 2^bits.

        Args:
          known: of the unknowns; terms that are missing up to `order` are those of the solution.
          bits: binary places.
          order: the last power of the unknowns; the operations' series end one before.
          unit: of time, its logarithm to the base 2.

        Returns:
          Terms, rounded, of each place.
        """
        found = [*known, *([] for _ in self.rules)]
        work = list(zip(self.rules, found[self.count :], strict=True))
        moves = [(x, found[k]) for x, k in zip(known, self.rates, strict=True)]
        up, down = max(unit, 0), max(-unit, 0)
        for k in range(order):
            for (kind, one, other, number), terms in work:
                if kind == "product":
                    pairs = map(mul, found[one][: k + 1], found[other][k::-1])
                    terms.append(sum(pairs) >> bits)
                elif kind == "sum":
                    terms.append(found[one][k] + found[other][k])
                elif kind == "multiple":
                    terms.append(found[one][k] * number.numerator // number.denominator)
                else:
                    terms.append((number.numerator << bits) // number.denominator if k == 0 else 0)
            for x, rate in moves:
                if len(x) == k + 1:
                    x.append((rate[k] << up >> down) // (k + 1))
        return found

    def norms(
        self, terms: Sequence[list[int]], bits: int, powers: np.ndarray
    ) -> tuple[list[np.ndarray], list[float]]:
        """Norms of the terms of all places, and of all that they leave out.

        Args:
          terms: as `expand` gives them.
          bits: binary places.
          powers: (order + 1,) of the width, from 0 on, not below it.
        """
        sizes = [above(np.abs(scaled(x, bits)) * powers[: len(x)]) for x in terms]
        whole = [above(float(np.sum(x))) for x in sizes]
        missing = [0.0] * self.count
        kept = len(powers) - 1
        rounded = above(float(np.sum(powers[:kept])) * 2.0**-bits)
        for kind, one, other, number in self.rules:
            if kind == "product":
                a, b, less_a, less_b = sizes[one], sizes[other], missing[one], missing[other]
                rest = np.append(np.cumsum(b[::-1])[::-1], 0.0)  # of the terms from each one on
                higher = float(np.sum(a * rest[np.clip(kept - np.arange(len(a)), 0, len(b))]))
                less = higher + whole[one] * less_b + (whole[other] + less_b) * less_a + rounded
            elif kind == "sum":
                less = sum(missing[k] + float(np.sum(sizes[k][kept:])) for k in (one, other))
            elif kind == "multiple":
                lost = missing[one] + float(np.sum(sizes[one][kept:]))
                less = lost * above(abs(float(number))) + rounded * (number.denominator > 1)
            else:
                less = 2.0**-bits * ((number.numerator << bits) % number.denominator > 0)
            missing.append(above(less))
        return sizes, missing


class _Symbol:
    """A place on a tape."""

    def __init__(self, tape: Tape, place: int):
        self.tape, self.place = tape, place

    def __bool__(self) -> bool:
        raise TypeError("A field is one polynomial: nothing may hang on what an unknown is.")

    def __eq__(self, other: object) -> bool:
        return bool(self)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __add__(self, other: Any) -> "_Symbol":
        return self.tape.add("sum", *sorted((self.place, self.tape.symbol(other).place)))

    def __neg__(self) -> "_Symbol":
        return self * -1

    def __sub__(self, other: Any) -> "_Symbol":
        return self + -self.tape.symbol(other)

    def __rsub__(self, other: Any) -> "_Symbol":
        return self.tape.symbol(other) + -self

    def __mul__(self, other: Any) -> "_Symbol":
        if isinstance(other, _Symbol):
            return self.tape.add("product", *sorted((self.place, other.place)))
        return self.tape.add("multiple", self.place, number=rational(other))

    __radd__, __rmul__ = __add__, __mul__
