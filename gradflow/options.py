"""What both engines can be asked: flows and descents speak one language."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive, whole
from gradflow.observables import Observe

Progress = bool | Callable[[int, float], None]
"""Whether to show progress, or a function that is called now and then with step and loss."""


_STEPS = 10**15
"""More steps than any machine does: at a microsecond each, thirty years of them."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a flow and a descent can both be asked.

    Attributes:
      record: when to record, rising: times of a flow, iterations of a descent. By default at
        logarithmic distances. The start and the end are always recorded. The last of them ends a
        flow only if nothing else was given to end it: with a `stop_loss`, a flow ends there,
        whether that comes before or after the last of them.
      observe: what to record: names from `gradflow.observables`, or a dictionary of functions of a
        `State`.
      stop_loss: stop where the loss (without penalty) has fallen to this value.
      stop_gradient: stop where the norm of the gradient in the factors has fallen to this value.
      max_steps: accepted and rejected steps of a flow, or iterations of a descent, allowed.
      progress: show time (or iteration) and loss while it runs; or a function that is called now
        and then with step and loss.
      mesh: spread one run over a grid of devices, `jax.make_mesh((2, 4), ("rows", "columns"))`, of
        this process or of several: every device holds one block of each factor and of what has the
        size of W, and results are the same to rounding. For a `MatrixProduct` without a penalty on
        W; sizes must be multiples of the grid's. By default loss and gradient norm are recorded.
    """

    record: Checked[ArrayLike | None] = None
    observe: Checked[Observe | None] = None
    stop_loss: Checked[float | None] = None
    stop_gradient: Checked[float | None] = None
    max_steps: Checked[int]
    progress: Progress = False
    mesh: Checked[Mesh | None] = None

    def check(self) -> None:
        """Check what has a range.

        Raises:
          ValueError: if a value is out of it; it names the value and the remedy.
        """
        for name in ("stop_loss", "stop_gradient"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        steps = jax.dtypes.canonicalize_dtype(np.int64)  # int32 where 64 bits are switched off
        whole("max_steps", self.max_steps, most=min(_STEPS, int(np.iinfo(steps).max)))
