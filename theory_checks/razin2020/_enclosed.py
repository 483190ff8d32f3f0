"""Rigorous enclosures of the 2x2 flows of depth 2, at every time up to the last."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import enclose_flow
from gradflow.claims.proofs.interval import Interval, precision

from ._proofs import Point


def field(x: Sequence[Any]) -> list[Any]:
    """Velocities of W_1 and W_2, row by row, under the half-sum loss of (6)."""
    a, b, c, d, p, q, r, s = x  # W_1 = ((a, b), (c, d)), W_2 = ((p, q), (r, s))
    g12, g21, g22 = p * b + q * d - 1, r * a + s * c - 1, r * b + s * d
    return [
        -(r * g21), -(p * g12 + r * g22), -(s * g21), -(q * g12 + s * g22),
        -(g12 * b), -(g12 * d), -(g21 * a + g22 * b), -(g21 * c + g22 * d),
    ]  # fmt: skip


def product(x: Sequence[Interval]) -> tuple[tuple[Interval, Interval], tuple[Interval, Interval]]:
    """W_2 W_1."""
    a, b, c, d, p, q, r, s = x
    return (p * a + q * c, p * b + q * d), (r * a + s * c, r * b + s * d)


@cache
def moments() -> tuple[Point, ...]:
    """W over pieces of time that cover [0, 4], from W_1 = W_2 = diag(1, 1/2)."""
    half = Fraction(1, 2)
    start = (1, 0, 0, half, 1, 0, 0, half)
    found = []
    with precision(128):
        for step in enclose_flow(field, start, end=4, bits=128):
            found += [Point(product(x)) for _, x in step.pieces(8)]
    return tuple(found)


def enclosed_case(sides: Callable[[Point], tuple[Interval, Interval]]) -> Case:
    """A bound at every time from 0 to 4 of one flow."""
    with precision(128):
        both = [sides(at) for at in moments()]
        slack = [larger - smaller for larger, smaller in both]
        loss = moments()[-1].s ** 2 / 2
    return Case(
        name="depth 2 from W_1 = W_2 = diag(1, 1/2), every time up to 4",
        slack=slack,
        hypotheses={"balanced, det W(0) > 0": ByConstruction("W_1 = W_2 is symmetric, det 1/4")},
        size=8,
        notes=f"{len(slack)} pieces of time; the loss falls to {float(loss.b):.4f}",
    )
