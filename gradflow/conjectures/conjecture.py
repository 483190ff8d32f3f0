"""A conjecture about the limit of a flow, and what one problem says of it."""

from typing import NamedTuple

import equinox as eqx
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive, real
from gradflow.conjectures.family import AbstractFamily, Trial
from gradflow.conjectures.limits import AbstractLimit, Reached
from gradflow.conjectures.margins import Margin, MarginFunction


class Conjecture(eqx.Module):
    """A claim about where flows end: a family of problems, a limit and a margin.

    Args:
      name: what is claimed, in words.
      family: problems and starts, made of integers.
      limit: how the end of a flow is found, and how a violation is confirmed.
      margin: by how much the claim holds at an end; 0 or above where it does.
      tolerance: what a margin must be below 0, beyond all errors, to count.

    Example:
      >>> import gradflow as gf
      >>> conjecture = Conjecture(
      ...     "W has no negative entry",
      ...     gf.conjectures.SymmetricCompletions(sizes=(2,), largest=1),
      ...     gf.conjectures.VanishingStart(),
      ...     lambda reached: float(reached.product.min()),
      ... )
      >>> conjecture.name
      'W has no negative entry'
    """

    name: str
    family: AbstractFamily
    limit: AbstractLimit
    margin: MarginFunction
    tolerance: float

    def __init__(
        self,
        name: Checked[str],
        family: Checked[AbstractFamily],
        limit: Checked[AbstractLimit],
        margin: Checked[MarginFunction],
        *,
        tolerance: Checked[float] = 1e-6,
    ):
        for given, kind in ((family, AbstractFamily), (limit, AbstractLimit)):
            if not isinstance(given, kind):
                raise ValueError(f"A conjecture needs an {kind.__name__}, not {given!r}.")
        if not callable(margin):
            raise ValueError(f"margin must be a function of a Reached, but it is {margin!r}.")
        self.name, self.family, self.limit, self.margin = name, family, limit, margin
        self.tolerance = positive("tolerance", tolerance)

    def judge(self, trial: Trial) -> "Judged | None":
        """What this problem says; None where the conjecture does not speak of it.

        Raises:
          Undetermined: where the limit is not known.
        """
        return self._judged(self.limit.reach(trial))

    def confirm(self, trial: Trial) -> "Judged | None":
        """The same by the computation that confirms."""
        return self._judged(self.limit.confirm(trial))

    def _judged(self, approximations: tuple[Reached, ...]) -> "Judged | None":
        margins = []
        for reached in approximations:
            margin = self.margin(reached)
            if margin is None:
                return None
            margins.append(margin if isinstance(margin, Margin) else Margin(real(margin)))
            if np.isnan(margins[-1].value):
                raise ValueError(
                    f"The margin is not a number but {margin!r} at {reached.trial.text}; return "
                    "one that is below 0 where the conjecture is violated, or None where it does "
                    "not speak of a limit."
                )
        change = max(abs(margins[-1].value - other.value) for other in margins)
        error = self.tolerance + margins[-1].error + change
        return Judged(approximations[-1], margins[-1].value, error, margins[-1].witness)


class Judged(NamedTuple):
    """What one problem says of a conjecture.

    Attributes:
      reached: the limit.
      margin: there.
      error: what that may be off.
      witness: what shows a violation, in words.
    """

    reached: Reached
    margin: float
    error: float
    witness: str

    @property
    def violated(self) -> bool:
        """Whether the margin is below 0 by more than its error."""
        return self.margin < -self.error

    def agrees(self, other: "Judged") -> bool:
        """Whether both are the same number, as far as they are known."""
        return abs(self.margin - other.margin) <= self.error + other.error
