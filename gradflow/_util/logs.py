"""What the library tells of its choices: the logger "gradflow", unheard unless somebody listens."""

import logging
import os
import sys

from gradflow._util.misuse import Misuse
from gradflow._util.words import meant

LEVEL = "GRADFLOW_LOG"
"""Environment variable: from which level on commands and their processes write to the terminal."""
LOGGER = logging.getLogger("gradflow")
LOGGER.addHandler(logging.NullHandler())

_LEVELS = ("debug", "info", "warning", "error")


def listen() -> None:
    """Write what is logged to standard error, from the level on that `GRADFLOW_LOG` names, if any.

    Raises:
      Misuse: if it names none.
    """
    asked = os.environ.get(LEVEL, "").lower()
    if not asked:
        return
    if asked not in _LEVELS:
        raise Misuse(
            f"{LEVEL} is {asked!r}, but the levels are {', '.join(_LEVELS)}{meant(asked, _LEVELS)}"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(asked.upper())
