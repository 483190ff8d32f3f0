"""What a flow with noise can be asked, and its defaults."""

from dataclasses import dataclass

import diffrax
import numpy as np
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array, positive, whole
from gradflow.observables import Observe
from gradflow.options import Progress


@dataclass(frozen=True, kw_only=True)
class StochasticOptions:
    """What a flow with noise can be asked.

    Attributes:
      step: the length of a step, in the unit of time, above 0. Intervals between records are cut
        into equal steps of at most this length.
      horizon: when to end; by default the last of `record`.
      record: times to record, rising; by default twenty for each power of ten between the step and
        the horizon. The start and the end are always recorded.
      observe: what to record, as for `solve_flow`.
      stop_loss: stop a seed after the first step whose loss (without penalty) is at most this.
      max_steps: steps of a seed allowed.
      solver: a diffrax solver. By default `diffrax.ShARK()`, of strong order 3/2, where the noise
        is additive, and else `diffrax.Euler()` (Euler and Maruyama's method), of strong order 1/2;
        there it must be one for equations in Ito's sense.
      progress: show steps and the largest loss while it runs; or a function that is called with
        these at each record.
    """

    step: Checked[float]
    horizon: Checked[float | None] = None
    record: Checked[ArrayLike | None] = None
    observe: Checked[Observe | None] = None
    stop_loss: Checked[float | None] = None
    max_steps: Checked[int] = 10_000_000
    solver: Checked[diffrax.AbstractSolver | None] = None
    progress: Progress = False

    def check(self) -> np.ndarray:
        """Check what has a range.

        Returns:
          The times to record, from 0 to the end.

        Raises:
          ValueError: if a value is out of it; it names the value and the remedy.
        """
        step = positive("step", self.step)
        most = whole("max_steps", self.max_steps)
        if self.stop_loss is not None:
            positive("stop_loss", self.stop_loss)
        if self.horizon is None and self.record is None:
            raise ValueError("Nothing ends the flow; give horizon, or record.")
        wanted = np.zeros(0) if self.record is None else finite_array("record", self.record, 1)
        none = self.record is not None and wanted.size == 0
        if none or np.any(wanted < 0) or np.any(np.diff(wanted) <= 0):
            raise ValueError(
                f"record must hold times that rise from 0 on, but it begins {wanted[:5].tolist()}."
            )
        end = positive("horizon", wanted[-1] if self.horizon is None else self.horizon)
        if self.record is None:
            decades = max(np.log10(end / step), 0.0)
            wanted = end * 10.0 ** np.linspace(-decades, 0, int(20 * decades) + 1)
        times = np.concatenate([[0.0], wanted[(wanted > 0) & (wanted < end)], [end]])
        if (steps := int(np.sum(steps_between(times, step)))) > most:
            raise ValueError(
                f"A step of {step:g} takes {steps} steps to the time {end:g}, but max_steps is "
                f"{most}; give a longer step, or more of them."
            )
        return times


def steps_between(times: np.ndarray, step: float) -> np.ndarray:
    """How many steps go from each time to the next; a step is a little longer rather than one more.

    Args:
      times: rising.
      step: the longest step.
    """
    return np.ceil(np.diff(times) / step * (1 - 1e-9)).astype(np.int64)
