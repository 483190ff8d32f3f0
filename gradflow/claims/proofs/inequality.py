"""Inequalities over whole boxes, by branch and bound in interval arithmetic."""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import sympy

from gradflow.claims.proofs.interval import (
    Interval,
    ends,
    exact,
    interval,
    iv,
    middle,
    precision,
)
from gradflow.claims.proofs.outward import decided
from gradflow.claims.proofs.proof import Proof

Function = Callable[..., Interval]


def prove_inequality(
    statement: str,
    function: Function,
    box: Sequence[tuple[Any, Any]],
    *,
    gradient: Callable[..., Sequence[Interval]] | None = None,
    points: Sequence[Sequence[Any]] = (),
    max_boxes: int = 20_000,
    bits: int = 53,
) -> Proof:
    r"""Prove that a function is not negative on a box, or find a point where it is.

    Boxes are halved until the function is certainly not negative on each. With a gradient the mean
    value theorem sharpens its range, and along a variable in which it is certainly monotone only
    the face where it is smallest is looked at. A bound that touches zero inside cannot be closed
    so: divide by what vanishes, or use a series there. A proof is of the points at which the
    function is defined; a refutation is a point that is certainly in the box.

    Args:
      statement: what is proved, for the reader.
      function: of intervals, one a variable, from + - * / ** and the sqrt, exp, log, sin and cos
        of `interval.iv`.
      box: finite lower and upper end of each variable, as `interval` takes them.
      gradient: of intervals, to enclosures of the derivatives.
      points: of the box, where to look for a refutation first; the middles of boxes are looked
        at, too.
      max_boxes: more are not tried; what is left is open.
      bits: of the interval arithmetic.

    Raises:
      TypeError: if the function gives anything but an interval of `interval.iv`, as a float, or
        hangs on a comparison that is not certain, as min and max do.
      ValueError: if an end of the box is infinite, the ends are not in order, a point is not
        certainly in the box, or the gradient is seen to be another function's.

    Example:
      >>> from gradflow.claims.proofs import prove_inequality
      >>> prove_inequality("x (1 - x) <= 1/4", lambda x: 0.26 - x * (1 - x), [(0, 1)]).outcome
      'proved'
      >>> found = prove_inequality("x (1 - x) <= 1/5", lambda x: 0.2 - x * (1 - x), [(0, 1)])
      >>> found.outcome, found.witness
      ('refuted', {'at': ['0.5'], 'value': 'at most -0.05'})
    """
    function = _enclosing(function)
    with precision(bits):
        first, inner = [_checked(*pair) for pair in box], [_inner(*pair) for pair in box]
        for point in points:
            _check_point(point, box)
            at = [interval(x) for x in point]
            if function(*at) < 0:
                return _refuted(statement, at, function(*at))
        waiting, count = [(_low(function(*first)), 0, first)], 0
        while waiting:  # the box of the lowest bound first: there a refutation is likeliest
            low, _, part = heapq.heappop(waiting)
            if low >= 0:
                break
            if gradient is not None:
                slopes = gradient(*part)
                middles = [middle(x) for x in part]
                _check_slopes(function, slopes, middles, part)
                if _from(function(*middles), slopes, middles, part) >= 0:
                    continue
                part = [_face(x, slope) for x, slope in zip(part, slopes, strict=True)]
                if function(*part) >= 0:
                    continue
            at = [_inside(x, *within) for x, within in zip(part, inner, strict=True)]
            if function(*at) < 0:
                return _refuted(statement, at, function(*at))
            halves = _halves(part)
            if not halves or count > max_boxes:
                return Proof(statement, "open", (f"not decided in {count} boxes",))
            for half in halves:
                count += 1
                heapq.heappush(waiting, (_low(function(*half)), count, half))
    step = (
        f"{count + 1} boxes in {len(box)} variable{'s' * (len(box) > 1)}, intervals of {bits} bits"
    )
    return Proof(statement, "proved", (step,))


def _from(value: Interval, slopes: Any, middles: list[Interval], at: list[Interval]) -> Interval:
    """The range of a function by the mean value theorem."""
    parts = zip(slopes, at, middles, strict=True)
    return value + sum(slope * (x - m) for slope, x, m in parts)


def _check_slopes(
    function: Function, slopes: Any, middles: list[Interval], part: list[Interval]
) -> None:
    """See that a gradient may be the function's: the one corner has a value that it allows."""
    corner = [interval(ends(x)[0]) for x in part]
    apart = function(*corner) - _from(function(*middles), slopes, middles, corner)
    if apart > 0 or apart < 0:
        raise ValueError(
            f"From {[_shown(x) for x in middles]} to {[_shown(x) for x in corner]} the function "
            "changes by more than its gradient allows: one of both is wrong."
        )


def _enclosing(function: Function) -> Function:
    def enclosing(*at: Interval) -> Interval:
        with decided():
            value = function(*at)
        if not isinstance(value, iv.mpf):
            raise TypeError(
                f"The function gives {value!r} ({type(value).__name__}), no interval: compute with "
                "gradflow.claims.proofs.interval.iv alone."
            )
        return value

    return enclosing


def _checked(low: Any, high: Any) -> Interval:
    """A side of the box, rounded outward."""
    side = interval(low, high)
    if not all(mpmath.isfinite(x) for x in ends(side)):
        raise ValueError(
            f"The box reaches from {low} to {high}: give finite ends, and put x = 1/u or x = "
            "u/(1-u) for what grows without bound."
        )
    if not _least(low, high):
        raise ValueError(f"{low} is not seen to be at most {high}: give more bits.")
    return side


def _least(low: Any, high: Any) -> bool:
    """Whether one number is certainly at most another."""
    one, other = exact(low), exact(high)
    if one is not None and other is not None:
        return one <= other
    return (isinstance(low, sympy.Expr) and low == high) or bool(interval(low) <= interval(high))


def _check_point(point: Sequence[Any], box: Sequence[tuple[Any, Any]]) -> None:
    for x, (low, high) in zip(point, box, strict=True):
        if not (_least(low, x) and _least(x, high)):
            raise ValueError(
                f"{x} is not seen to lie from {low} to {high}: a point outside the box refutes "
                "nothing; use `counterexample` for a statement of more than the box."
            )


def _inner(low: Any, high: Any) -> tuple[Any, Any]:
    """The ends rounded inward: what lies between them is certainly in the box."""
    return ends(interval(low))[1], ends(interval(high))[0]


def _inside(x: Interval, low: Any, high: Any) -> Interval:
    """The middle of a part, moved into the box if it is outside; all of a side without inside."""
    if low > high:
        return iv.mpf([high, low])
    return iv.mpf(min(max(ends(middle(x))[0], low), high))


def _low(value: Interval) -> Any:
    """The lower end; -infinity of what is no number."""
    low = ends(value)[0]
    return -mpmath.inf if mpmath.isnan(low) else low


def _refuted(statement: str, at: Sequence[Interval], value: Interval) -> Proof:
    """A refutation by one point."""
    witness = {"at": [_shown(x) for x in at], "value": f"at most {float(ends(value)[1]):.6g}"}
    return Proof(statement, "refuted", witness=witness)


def _shown(x: Interval) -> str:
    low, high = ends(x)
    return f"{float(low):.17g}" if low == high else f"{float((low + high) / 2):.17g} or next to it"


def _face(x: Interval, slope: Interval) -> Interval:
    """Where a function that is monotone in a variable is smallest; else all of the interval."""
    low, high = ends(x)
    if slope >= 0:
        return interval(low)
    return interval(high) if slope <= 0 else x


def _halves(part: list[Interval]) -> list[list[Interval]]:
    """Two halves of a box, cut across its widest side; nothing of a point."""
    sides = [ends(x) for x in part]
    k = max(range(len(part)), key=lambda k: sides[k][1] - sides[k][0])
    low, high = sides[k]
    if low == high:
        return []
    cut = ends(middle(part[k]))[0]
    return [[*part[:k], interval(*pair), *part[k + 1 :]] for pair in ((low, cut), (cut, high))]
