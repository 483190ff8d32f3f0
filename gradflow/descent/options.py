"""What a descent can be asked, and its defaults."""

from dataclasses import dataclass
from typing import Any

from gradflow._util.annotations import Checked
from gradflow.descent.checkpoint import Checkpoint
from gradflow.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class DescentOptions(RunOptions):
    """What a descent can be asked.

    Attributes:
      learning_rate: the rate handed to `optimizer`; in a batch, one for all or one a run.
      checkpoint: keep the run's state in a file and go on from there after a kill.
    """

    learning_rate: Any = None
    checkpoint: Checked[Checkpoint | None] = None
