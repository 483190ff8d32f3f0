"""Rigorous enclosures of 2x2 flows, at every time up to the last, and bounds along them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

from gradflow.claims import Case, Confirmation
from gradflow.claims.proofs import enclose_flow
from gradflow.claims.proofs.covering import Part, cover
from gradflow.claims.proofs.enclosure import EnclosedStep
from gradflow.claims.proofs.interval import Interval, ends, interval, iv, precision

from ._fields import Mirrored, Whole
from ._proofs import Matrix, Point

BITS = 128
LOSS = Fraction(5, 1000)
"""How far most flows are followed."""
HALVINGS = 16
HALF, SMALL, TINY = Fraction(1, 2), Fraction(1, 32), Fraction(1, 128)
PLAIN, PERTURBED, OTHER = (1, 1, 0), (1, 1, TINY), (2, HALF, Fraction(1, 8))
"""z, z' and epsilon."""

Sides = Callable[[Point], tuple[Interval, Interval]]


@dataclass(frozen=True)
class Flow:
    """A flow to enclose.

    Attributes:
      name: what it starts from.
      of: its equations.
      start: the unknowns of these at time 0.
      stop: the loss it is followed to.
    """

    name: str
    of: Whole
    start: tuple[Any, ...]
    stop: Fraction = LOSS

    @property
    def title(self) -> str:
        """Depth and start."""
        return f"{self.of.title}, {self.name}"


_A, _B = (Fraction(3, 5), Fraction(4, 5)), (Fraction(12, 13), Fraction(5, 13))
FLOWS = (
    Flow("W(0) = I/1024", Mirrored(2, PLAIN), (SMALL, 0, 0, SMALL)),
    Flow("W(0) = I/2", Mirrored(2, PLAIN), (HALF, HALF, -HALF, HALF)),
    Flow("W(0) = diag(1, 1/4)", Mirrored(2, PLAIN), (1, 0, 0, HALF)),
    Flow("W(0) positive definite, W_1 = ((3/4, 1/4), (-1/8, 1/2))", Mirrored(2, PLAIN),
         (Fraction(3, 4), Fraction(1, 4), -Fraction(1, 8), HALF)),
    Flow("W(0) = U diag(1, 1/4) V, rotations U = (12, 5; -5, 12)/13, V = (3, 4; -4, 3)/5",
         Whole(2, PLAIN),
         (*_A, -_A[1] * HALF, _A[0] * HALF, _B[0], _B[1] * HALF, -_B[1], _B[0] * HALF)),
    Flow("W(0) = ((256, 1), (1, 1 + 1/256))", Mirrored(2, PLAIN), (16, Fraction(1, 16), 0, 1)),
    Flow("W(0) = ((25, 1), (1, 1/25 + 1/4096))", Mirrored(2, PLAIN),
         (5, Fraction(1, 5), 0, Fraction(1, 64)), Fraction(78, 10**5)),
    Flow("W(0) = I/8", Mirrored(3, PLAIN), (HALF, HALF, -HALF, HALF, HALF, 0, 0, HALF)),
    Flow("W(0) = ((9, 7), (7, 9))/16", Mirrored(3, PLAIN), (1, 1, -HALF, HALF, 1, 0, 0, HALF)),
    Flow("W(0) = I/4", Mirrored(4, PLAIN), (HALF, HALF, -HALF, HALF) * 2),
    Flow("W(0) = diag(1, 1/16)", Mirrored(4, PLAIN), (1, 0, 0, HALF) * 2),
)  # fmt: skip
"""Of Theorem 1: z = z' = 1, epsilon = 0."""
FROM_IDENTITY = tuple(FLOWS[k] for k in (0, 1, 7, 9))
SPARED = FLOWS[1:]
"""From I/1024 the best bound on the effective rank is met up to 1e-12, as good as touched."""
SEVERAL = tuple(FLOWS[k] for k in (0, 1, 2, 5, 7, 9))
"""Of each depth the quickest, among them those that nearly meet the best bounds."""
PERTURBED_FLOWS = (
    Flow("W(0) = I/1024, epsilon = 1/128", Mirrored(2, PERTURBED), (SMALL, 0, 0, SMALL)),
    Flow("W(0) = ((256, 1), (1, 1 + 1/256)), epsilon = 1/128", Mirrored(2, PERTURBED),
         (16, Fraction(1, 16), 0, 1)),
    Flow("W(0) = ((25, 1), (1, 1/25 + 1/4096)), epsilon = 1/128", Mirrored(2, PERTURBED),
         (5, Fraction(1, 5), 0, Fraction(1, 64)), Fraction(5, 10**4)),
    Flow("W(0) = I/4, z = 2, z' = 1/2, epsilon = 1/8", Whole(2, OTHER), (HALF, 0, 0, HALF) * 2),
)  # fmt: skip
"""Of Theorem 2."""
SHALLOW = (Flow("W(0) = I", Whole(1, PLAIN), (1, 0, 0, 1)),)


@cache
def steps(flow: Flow) -> tuple[EnclosedStep, ...]:
    """All steps to the last loss."""

    def there(x: Sequence[Interval]) -> bool:
        return bool(flow.of.point(x).s ** 2 / 2 < interval(flow.stop))

    with precision(BITS):
        return tuple(enclose_flow(flow.of.velocities, flow.start, stop=there, bits=BITS))


@cache
def _at(flow: Flow, part: Part) -> Point:
    """W over a part of a step."""
    with precision(64):
        return flow.of.point(steps(flow)[part.step].over(part.first, part.last)[1])


def _places(flow: Flow) -> list[Sequence[Interval]]:
    """The unknowns at the start and at the ends of all steps."""
    return [[interval(x) for x in flow.start], *(step.end for step in steps(flow))]


@cache
def ends_of(flow: Flow) -> tuple[Point, ...]:
    """W there."""
    with precision(BITS):
        return tuple(flow.of.point(x) for x in _places(flow))


def last_loss(flow: Flow) -> float:
    """An upper bound, rounded."""
    with precision(BITS):
        return float((ends_of(flow)[-1].s ** 2 / 2).b)


def _relative(gap: Interval, *sides: Interval) -> Interval:
    """The gap by the largest sizes of both sides."""
    return gap / sum(iv.mpf(abs(side).b) for side in sides)


def enclosed_case(flow: Flow, sides: Sides, label: str = "") -> Case:
    """A bound at every time of a flow."""

    def gap(part: Part) -> Interval:
        with precision(64):
            larger, smaller = sides(_at(flow, part))
            return _relative(larger - smaller, larger, smaller)

    gaps = cover(len(steps(flow)), gap, HALVINGS)
    parts, slack = list(gaps), list(gaps.values())

    def witness(k: int) -> Mapping[str, Any]:
        return {"times": _times(flow, parts[k]), "W": _shown(_at(flow, parts[k]).w)}

    found = _case(
        flow, slack, witness, "at every time", label,
        f"{len(steps(flow))} steps, {len(slack)} pieces of time",
    )  # fmt: skip
    return replace(found, along=("time", [_times(flow, part)[0] for part in parts]))


def _at_ends(flow: Flow, slack: list[Interval], what: str) -> Case:
    """Numbers at the ends of all steps, or between neighbours of them."""
    return _case(
        flow, slack, lambda k: {"number": k}, "at the ends of all steps", what,
        f"{len(steps(flow))} steps",
    )  # fmt: skip


def _case(
    flow: Flow, slack: list[Interval], witness: Callable[[int], Mapping[str, Any]], when: str,
    label: str, notes: str,
) -> Case:  # fmt: skip
    def confirm(k: int) -> Confirmation:
        text = f"{flow.title}, {witness(k)}: the slack is in {slack[k]}"
        return Confirmation(bool(slack[k] < 0), text, (slack[k],))

    last = steps(flow)[-1]
    return Case(
        name=f"{flow.title}, {when}" + (f", {label}" if label else ""),
        slack=slack,
        hypotheses=flow.of.met(ends_of(flow)[0]),
        size=8,
        witness=witness,
        confirm=confirm,
        notes=f"{notes}; loss {last_loss(flow):.3g} at t = {float(last.time + last.width):.4g}",
    )


def _times(flow: Flow, part: Part) -> list[float]:
    step = steps(flow)[part.step]
    return [float(step.time + step.width * share) for share in (part.first, part.last)]


def _shown(w: Matrix) -> list[list[str]]:
    return [[str(x) for x in row] for row in w]


def along(sides: Sides, flows: Sequence[Flow] = FLOWS, label: str = "") -> Iterator[Case]:
    """A bound at every time of several flows."""
    for flow in flows:
        yield enclosed_case(flow, sides, label)


def signs(depths: Sequence[int]) -> Iterator[Case]:
    """The determinants."""
    for flow in (*SHALLOW, *FLOWS):
        if flow.of.depth in depths:
            with precision(BITS):
                found = [_relative(at.det, at.det) for at in ends_of(flow)]
            yield _at_ends(flow, found, "det W")


def definite(depths: Sequence[int]) -> Iterator[Case]:
    """Leading minors from alpha I; W stays symmetric, since its transpose obeys the same."""
    for flow in (*SHALLOW, *FROM_IDENTITY):
        if flow.of.depth in depths:
            minors = [x for at in ends_of(flow) for x in (at.w[0][0], at.det)]
            with precision(BITS):
                found = [_relative(x, x) for x in minors]
            yield _at_ends(flow, found, "leading minors")


def losses(share: float) -> Iterator[Case]:
    """What the loss loses from each end of a step to the next, less a share of what the path asks.

    Args:
      share: of |theta(b) - theta(a)|^2 / (b - a), all factors together.
    """
    for flow in FLOWS:
        with precision(BITS):
            loss = [at.s**2 / 2 for at in ends_of(flow)]
            places, fall = _places(flow), []
            for k, step in enumerate(steps(flow)):
                path = flow.of.copies * sum(
                    (b - a) ** 2 for a, b in zip(*places[k : k + 2], strict=True)
                )
                asked = interval(share) * path / interval(step.width)
                fall.append(_relative(loss[k] - loss[k + 1] - asked, loss[k]))
        yield _at_ends(flow, fall, "the loss falls")


def spectral_norm(power: float) -> Iterator[Case]:
    """(8) for the smallest of the Schatten norms with p >= 1; a = 1/sqrt(2) and b = 8 for all."""
    exponent = -interval(power)

    def sides(at: Point) -> tuple[Interval, Interval]:
        return at.first, iv.exp(exponent * iv.log(at.s**2 / 2)) / iv.sqrt(iv.mpf(2)) - 8

    yield from along(sides, label="spectral norm")


def effective_rank(constant: float) -> Iterator[Case]:
    """(9); from I/1024 the best constant is nearly met."""
    share = interval(constant) / iv.sqrt(iv.mpf(2))
    yield from along(lambda at: (1 + share * at.s, at.rank), SEVERAL)


def distance(constant: float) -> Iterator[Case]:
    """(10); from ((256, 1), (1, 1 + 1/256)) the best constant is nearly met."""
    share = interval(constant) / iv.sqrt(iv.mpf(2))
    yield from along(lambda at: (share * at.s, at.second), SEVERAL)


def entry_and_loss(at: Point, factor: float = 1.0) -> tuple[Interval, Interval]:
    """|w_11| and (|z| - s)(|z'| - s)/(|epsilon| + s), or 0 from s = min(|z|, |z'|) on."""
    low, high = ends(at.s)
    least = ends(at.least)[0]
    s = iv.mpf([min(low, least), min(high, least)])
    return at.entry, interval(factor) * (at.z - s) * (at.z2 - s) / (at.epsilon + at.s)
