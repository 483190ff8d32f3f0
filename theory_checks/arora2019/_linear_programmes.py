"""Linear programmes in rational numbers: the least trace of a diagonal W >= 0 that fits."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import sympy

Rows = list[list[int]]


def _rational(x: Any) -> Any:
    return sympy.Rational(str(x))


class Optimum(NamedTuple):
    """A linear programme min c.w over w >= 0 with A w = y, solved exactly.

    Attributes:
      value: the minimum.
      dual: nu with A^T nu <= c and nu.y = value.
      primal: a minimiser.
    """

    value: Fraction
    dual: tuple[Fraction, ...]
    primal: tuple[Fraction, ...]


def minimal_trace(a: Rows, y: Sequence[Any], c: Sequence[Any]) -> Optimum:
    """Try every basis until one is feasible on both sides, which proves that it is optimal.

    Raises:
      ValueError: if there is none, so that no w >= 0 fits or the minimum is not attained.
    """
    matrix, labels = sympy.Matrix(a), sympy.Matrix([_rational(x) for x in y])
    count, d = matrix.shape
    for basis in itertools.combinations(range(d), count):
        square = matrix.extract(list(range(count)), list(basis))
        if square.det() == 0:
            continue
        w = square.inv() * labels
        nu = square.T.inv() * sympy.Matrix([_rational(c[k]) for k in basis])
        slack = sympy.Matrix([_rational(x) for x in c]) - matrix.T * nu
        if min(w) >= 0 and min(slack) >= 0:
            full = [Fraction(0)] * d
            for k, value in zip(basis, w, strict=True):
                full[k] = Fraction(int(value.p), int(value.q))
            dual = tuple(Fraction(int(x.p), int(x.q)) for x in nu)
            value = sum((c[k] * full[k] for k in range(d)), Fraction(0))
            return Optimum(value, dual, tuple(full))
    raise ValueError(f"No basis of {a} is optimal for the labels {list(y)}; change the labels.")
