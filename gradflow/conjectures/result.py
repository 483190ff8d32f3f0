"""What a search for a counterexample gives back."""

from collections.abc import Mapping
from typing import NamedTuple

from gradflow.conjectures.conjecture import Judged
from gradflow.conjectures.family import Trial


class Counterexample(NamedTuple):
    """A problem and a start at whose limit a conjecture is violated.

    Attributes:
      trial: both; `trial.integers` is what they are made of.
      judged: the limit and its margin.
      confirmed: the same by the computation that confirms.
      found: the text of the first violation, of which this is a shrunk one.
    """

    trial: Trial
    judged: Judged
    confirmed: Judged
    found: str

    def __str__(self) -> str:
        lines = [
            self.trial.text,
            f"margin {_number(self.judged)} ({self.judged.reached.how})",
            f"confirmed: {_number(self.confirmed)} ({self.confirmed.reached.how})",
        ]
        if self.judged.witness:
            lines.append(f"because {self.judged.witness}")
        if self.found != self.trial.text:
            lines.append(f"shrunk from: {self.found}")
        return "\n  ".join(lines)


class SearchResult(NamedTuple):
    """How a search ended.

    Attributes:
      name: the conjecture.
      counterexample: the smallest that was found; None if there is none.
      looked_at: how many problems were.
      enumerated: how many of them by rising size, one of each that are alike.
      cost: up to which all were, as the family counts.
      exhausted: whether the family enumerates no others.
      spoken_of: of how many the conjecture speaks.
      left_out: why not of the others -> how many.
      unconfirmed: texts of violations that were not confirmed.
      least_margin: the least margin that was no violation; infinite if there was none.
      least_error: what that may be off.
      closest: the text of where that was.
      seconds: how long it took.
      seed: of the random problems.
    """

    name: str
    counterexample: Counterexample | None
    looked_at: int
    enumerated: int
    cost: int
    exhausted: bool
    spoken_of: int
    left_out: Mapping[str, int]
    unconfirmed: tuple[str, ...]
    least_margin: float
    least_error: float
    closest: str
    seconds: float
    seed: int

    def __str__(self) -> str:
        lines = [f"{self.name}:"]
        if self.counterexample is None:
            lines.append("no counterexample was found")
        else:
            lines.append(f"fails at {self.counterexample}")
        every = "all that are enumerated" if self.exhausted else f"all up to a cost of {self.cost}"
        parts = [f"{self.enumerated} by size ({every})"] if self.enumerated else []
        if self.looked_at > self.enumerated:
            parts.append(f"{self.looked_at - self.enumerated} random (seed {self.seed})")
        lines.append(
            f"looked at {self.looked_at} problems in {self.seconds:.0f} s: {', '.join(parts)}; it "
            f"speaks of {self.spoken_of}"
        )
        if self.spoken_of and self.closest:
            lines.append(
                f"least margin of the others: {self.least_margin:.2g} ± {self.least_error:.1g}, at "
                f"{self.closest}"
            )
        if self.left_out:
            counts = ", ".join(f"{why} ({count})" for why, count in self.left_out.items())
            lines.append(f"left out: {counts}")
        lines.extend(f"violated, but not confirmed: {text}" for text in self.unconfirmed)
        return "\n  ".join(lines)


def _number(judged: Judged) -> str:
    return f"{judged.margin:.6g} ± {judged.error:.1g}"
