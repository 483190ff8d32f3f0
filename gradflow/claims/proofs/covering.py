"""A number's sign at every time of an enclosed flow, by halving steps."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from gradflow.claims.proofs.interval import Interval


@dataclass(frozen=True)
class Part:
    """A part of a step.

    Attributes:
      step: which step, from 0.
      first: where it begins, as a share of the step.
      last: where it ends, likewise.
    """

    step: int
    first: Fraction
    last: Fraction

    def halves(self) -> "tuple[Part, Part]":
        """Both, in order."""
        middle = (self.first + self.last) / 2
        return Part(self.step, self.first, middle), Part(self.step, middle, self.last)


def cover(
    steps: int, gap: Callable[[Part], Interval], halvings: int = 10
) -> dict[Part, Interval]:  # fmt: skip
    """A gap on parts of steps that cover all times, each halved until the gap's sign is certain.

    Args:
      steps: how many.
      gap: an enclosure over a part; larger less smaller side.
      halvings: of one step, at most; what is undecided then stays so, and spans 0.

    Returns:
      The parts in order of time, and the gap on each; or one part alone, where it is negative.

    Raises:
      ValueError: if there is nothing to cover.
    """
    if steps < 1 or halvings < 0:
        raise ValueError(f"{steps} steps with {halvings} halvings have no part to look at.")
    found: dict[Part, Interval] = {}
    left = [Part(k, Fraction(0), Fraction(1)) for k in range(steps)]
    for halving in range(halvings + 1):
        undecided = []
        for part in left:
            value = gap(part)
            if value < 0:
                return {part: value}
            if value > 0 or halving == halvings:
                found[part] = value
            else:
                undecided.append(part)
        left = [half for part in undecided for half in part.halves()]
    return dict(sorted(found.items(), key=lambda one: (one[0].step, one[0].first)))
