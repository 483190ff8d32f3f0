"""What a batch of runs recorded, and where its runs ended: a few arrays, not some for each run."""

from typing import Any, NamedTuple

import jax
import numpy as np


def log_marks(steps: int, each: int) -> np.ndarray:
    """Iterations to record at, so many a decade, from 1 to below `steps`.

    Args:
      steps: of the run.
      each: how many a decade.

    Example:
      >>> log_marks(100, 4).tolist()
      [1, 2, 3, 6, 10, 18, 32, 56]
    """
    return np.unique(np.round(10 ** np.arange(0, np.log10(steps), 1 / each)).astype(int))


class Records(NamedTuple):
    """Records of all runs, in one array each.

    Attributes:
      runs: whose record each is.
      counts: at which iteration.
      seen: the observables there.
    """

    runs: np.ndarray
    counts: np.ndarray
    seen: Any

    @classmethod
    def of(cls, going: np.ndarray, found: Any) -> "Records":
        """Those of a chunk.

        Args:
          going: the runs that went through it.
          found: valid or not, iteration, observables; runs first, then stops.
        """
        valid, counts, seen = found
        at = np.nonzero(valid)
        return cls(going[at[0]], counts[at], jax.tree.map(lambda array: array[at], seen))


class Ends(NamedTuple):
    """Where runs ended.

    Attributes:
      runs: which.
      parameters: the last ones.
      counts: iterations done.
      statuses: why they ended.
      going: what they would go on with; see `gradflow.descent.resuming`.
    """

    runs: np.ndarray
    parameters: Any
    counts: np.ndarray
    statuses: np.ndarray
    going: Any

    def take(self, which: np.ndarray) -> "Ends":
        """Those in these places."""
        return jax.tree.map(lambda array: array[which], self)


def in_order(parts: list[Any]) -> Any:
    """All parts as one, the runs' numbers rising; each run's records stay in their order."""
    if len(parts) > 1:
        parts = [jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)]
    order = np.argsort(parts[0].runs, kind="stable")
    if np.array_equal(order, np.arange(len(order))):
        return parts[0]
    return jax.tree.map(lambda array: array[order], parts[0])
