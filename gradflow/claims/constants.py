"""Whether the constants of an inequality are the best ones, and what the best are."""

from dataclasses import dataclass
from typing import Literal

Known = Literal["proved", "found", "open", "none"]

MEANINGS = {
    "proved": "proved",
    "found": "found numerically, not proved",
    "open": "not known",
    "none": "no constant to ask for",
}
"""How it is known that no constant is better."""


@dataclass(frozen=True)
class Best:
    r"""What became of the question whether an inequality could be stronger.

    A constant is the best if the inequality fails with any better one in its place, whatever the
    others are: at some point that meets the hypotheses, or in a limit of such points.

    Attributes:
      printed: the constant, power or range as printed, in LaTeX.
      best: the best one, in LaTeX; as printed where it is that.
      known: how that is known, a key of `MEANINGS`.
      why: where the best one is attained or approached, or why there is none, in a sentence.

    Raises:
      ValueError: if a part is missing.

    Example:
      >>> Best("2", r"2/\sqrt e", "proved", "attained at p = 1/e.").improves
      True
    """

    printed: str
    best: str
    known: Known
    why: str

    def __post_init__(self) -> None:
        if self.known not in MEANINGS or not self.why:
            raise ValueError(f"{self} needs one of {', '.join(MEANINGS)}, and a reason.")
        if self.known != "none" and not (self.printed and self.best):
            raise ValueError(f"{self} needs the printed constant and the best one.")

    @property
    def stands(self) -> bool:
        """Whether the printed one is known to be the best."""
        return self.known in ("proved", "found") and self.best == self.printed

    @property
    def improves(self) -> bool:
        """Whether something better than is printed is known."""
        return self.known in ("proved", "found") and self.best != self.printed
