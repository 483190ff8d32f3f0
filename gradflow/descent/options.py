"""What a descent can be asked, and its defaults."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive, whole
from gradflow.descent.checkpoint import Checkpoint
from gradflow.dynamics.sampling import Sampling
from gradflow.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class DescentOptions(RunOptions):
    """What a descent can be asked.

    Attributes:
      learning_rate: the rate handed to `optimizer`: a number, or a function of the iteration,
        counted from 0 at the first start, such as an optax schedule; in a batch, one for all or one
        a run. `observe=["learning_rate"]` records it.
      stop_loss: stop where the loss (without penalty) has fallen to this value; in a batch, one for
        all or one a run, None for runs that nothing stops.
      stop_looks: how often to look at the loss, in iterations, and how many looks in a row must
        find it at `stop_loss` or below; by default the first iteration that is there is the last.
      sampling: what an iteration sees of the observations: `Sampling(batch=32)`, minibatches with
        or without replacement, noise on labels; by default all of them as they are. Records are of
        all observations, and so is the loss that is held against `stop_loss`; without one,
        `progress` shows that of the batch.
      key: of what is drawn, a `jax.random.key`; in a batch, one for all, which then see the same,
        or one a run.
      checkpoint: keep the run's state in a file and go on from there after a kill.
    """

    learning_rate: Any = None
    stop_loss: Checked[float | Sequence[float | None] | None] = None
    stop_looks: Checked[tuple[int, int] | None] = None
    sampling: Checked[Sampling | None] = None
    key: Any = None
    checkpoint: Checked[Checkpoint | None] = None

    def check(self) -> None:
        """Check what has a range.

        Raises:
          ValueError: if a value is out of it; it names the value and the remedy.
        """
        losses: Any = self.stop_loss
        if np.ndim(losses):
            for loss in losses:
                if loss is not None:
                    positive("stop_loss", loss)
            RunOptions.check(dataclasses.replace(self, stop_loss=None))
        else:
            super().check()
        self._check_sampling()
        if self.stop_looks is None:
            return
        for name, number in zip(("every", "times"), self.stop_looks, strict=True):
            whole(f"stop_looks, {name}", number, most=self.max_steps)
        if self.stop_loss is None:
            raise ValueError(
                f"stop_looks = {self.stop_looks} says how to look at the loss, but there is no "
                "stop_loss to hold it against; give one."
            )

    def _check_sampling(self) -> None:
        """Check what goes with drawn observations."""
        if self.sampling is None:
            if self.key is not None:
                raise ValueError(
                    "There is a key, but nothing is drawn by it; give sampling, such as "
                    "gradflow.descent.Sampling(batch=32), or leave the key away."
                )
            return
        if not isinstance(self.sampling, Sampling):
            raise ValueError(
                "sampling must be a gradflow.descent.Sampling(batch=...), but it is "
                f"{self.sampling!r}."
            )
        for name in ("stop_gradient", "mesh"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} = {getattr(self, name)} does not go with sampling, whose gradients "
                    "are those of a batch; leave one of them away."
                )
