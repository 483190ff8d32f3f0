"""What a descent can be asked, and its defaults."""

from dataclasses import dataclass
from typing import Any

from gradflow._util.annotations import Checked
from gradflow._util.validate import whole
from gradflow.descent.checkpoint import Checkpoint
from gradflow.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class DescentOptions(RunOptions):
    """What a descent can be asked.

    Attributes:
      learning_rate: the rate handed to `optimizer`: a number, or a function of the iteration,
        counted from 0 at the first start, such as an optax schedule; in a batch, one for all or one
        a run. `observe=["learning_rate"]` records it.
      stop_looks: how often to look at the loss, in iterations, and how many looks in a row must
        find it at `stop_loss` or below; by default the first iteration that is there is the last.
      checkpoint: keep the run's state in a file and go on from there after a kill.
    """

    learning_rate: Any = None
    stop_looks: Checked[tuple[int, int] | None] = None
    checkpoint: Checked[Checkpoint | None] = None

    def check(self) -> None:
        """Check what has a range.

        Raises:
          ValueError: if a value is out of it; it names the value and the remedy.
        """
        super().check()
        if self.stop_looks is None:
            return
        for name, number in zip(("every", "times"), self.stop_looks, strict=True):
            whole(f"stop_looks, {name}", number, most=self.max_steps)
        if self.stop_loss is None:
            raise ValueError(
                f"stop_looks = {self.stop_looks} says how to look at the loss, but there is no "
                "stop_loss to hold it against; give one."
            )
