r"""Errors of the limit at a finite alpha, as sums of powers of alpha."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SAFETY = 30.0
"""How many times the sum of the leading corrections a predicted error is."""
FLOOR = 1e-6
"""How well numbers of time scales 1 / rate are known whatever alpha."""


class Terms(NamedTuple):
    """The sum of exp(log) alpha^power.

    Attributes:
      logs: logarithms of the coefficients.
      powers: of alpha; negative where errors grow more slowly than times.
    """

    logs: tuple[float, ...] = ()
    powers: tuple[float, ...] = ()

    def plus(self, log: float, power: float) -> "Terms":
        """With one more term; none if its coefficient is 0, an infinite one if it is not known."""
        if log == -np.inf:
            return self
        if np.isnan(log) or log == np.inf:
            log, power = np.inf, 0.0
        return Terms((*self.logs, float(log)), (*self.powers, float(power)))

    def with_all(self, other: "Terms") -> "Terms":
        """Both sums."""
        return Terms(self.logs + other.logs, self.powers + other.powers)

    def times(self, factor: float) -> "Terms":
        """Each coefficient that many times as large."""
        if factor == 0:
            return Terms()
        shift = float(np.log(factor))
        return Terms(tuple(log + shift for log in self.logs), self.powers)


def table(sums: Iterable[Terms]) -> np.ndarray:
    """(sums, terms, 2) logarithms and powers; -inf, 0 where a sum has fewer terms."""
    rows = list(sums)
    most = max((len(row.logs) for row in rows), default=0)
    found = np.zeros((len(rows), most, 2))
    found[..., 0] = -np.inf
    for at, row in zip(found, rows, strict=True):
        at[: len(row.logs), 0], at[: len(row.logs), 1] = row.logs, row.powers
    return found


def evaluate(terms: np.ndarray, log_alpha: float) -> np.ndarray:
    """The sums of a `table` at an alpha, given by its logarithm."""
    with np.errstate(over="ignore"):
        return np.sum(np.exp(terms[..., 0] + terms[..., 1] * log_alpha), axis=-1)
