"""Inequalities over whole boxes, by branch and bound in interval arithmetic."""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from gradflow.claims.proofs.interval import Interval, ends, interval, middle, precision
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
    so: divide by what vanishes, or use a series there.

    Args:
      statement: what is proved, for the reader.
      function: of intervals, one a variable, from + - * / and the functions of `mpmath.iv`.
      box: lower and upper end of each variable: whole numbers, fractions, floats, mpf.
      gradient: of intervals, to enclosures of the derivatives.
      points: where to look for a refutation first; the middles of boxes are looked at, too.
      max_boxes: more are not tried; what is left is open.
      bits: of the interval arithmetic.

    Example:
      >>> from gradflow.claims.proofs import prove_inequality
      >>> prove_inequality("x (1 - x) <= 1/4", lambda x: 0.26 - x * (1 - x), [(0, 1)]).outcome
      'proved'
      >>> found = prove_inequality("x (1 - x) <= 1/5", lambda x: 0.2 - x * (1 - x), [(0, 1)])
      >>> found.outcome, found.witness
      ('refuted', {'at': ['0.5'], 'value': 'at most -0.05'})
    """
    with precision(bits):
        for point in points:
            at = [interval(x) for x in point]
            if function(*at) < 0:
                return _refuted(statement, at, function(*at))
        first = [interval(*pair) for pair in box]
        waiting, count = [(ends(function(*first))[0], 0, first)], 0
        while waiting:  # the box of the lowest bound first: there a refutation is likeliest
            low, _, part = heapq.heappop(waiting)
            if low >= 0:
                break
            if gradient is not None:
                slopes = gradient(*part)
                middles = [middle(x) for x in part]
                parts = zip(slopes, part, middles, strict=True)
                if function(*middles) + sum(slope * (x - m) for slope, x, m in parts) >= 0:
                    continue
                part = [_face(x, slope) for x, slope in zip(part, slopes, strict=True)]
                if function(*part) >= 0:
                    continue
            at = [middle(x) for x in part]
            if function(*at) < 0:
                return _refuted(statement, at, function(*at))
            halves = _halves(part)
            if not halves or count > max_boxes:
                return Proof(statement, "open", (f"not decided in {count} boxes",))
            for half in halves:
                count += 1
                heapq.heappush(waiting, (ends(function(*half))[0], count, half))
    step = (
        f"{count + 1} boxes in {len(box)} variable{'s' * (len(box) > 1)}, intervals of {bits} bits"
    )
    return Proof(statement, "proved", (step,))


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
