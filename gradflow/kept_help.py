"""What `gradflow run ID --help` says, from the catalogue: it need not import the papers."""

import shutil
import sys

from gradflow.catalogue import catalogue
from gradflow.sweeps.commands import HELP_COLUMNS


def kept_help(command: str, id: str) -> str:
    """Of an experiment; empty where it is not kept for this output.

    Args:
      command: run, plot or compare.
      id: of the experiment.
    """
    wide = shutil.get_terminal_size().columns >= HELP_COLUMNS
    if not wide or (sys.stdout.encoding or "").lower() != "utf-8":
        return ""
    try:
        experiments = catalogue().experiments
    except ValueError:  # a paper that cannot be run: the command itself says which
        return ""
    told = next((one.help for one in experiments if one.id == id), "")
    return told.replace("gradflow run", f"gradflow {command}")
