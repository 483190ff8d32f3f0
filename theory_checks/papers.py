"""Where the claims are: the modules of the papers, and files of one's own."""

import importlib
import pkgutil
from pathlib import Path

import theory_checks
from gradflow.files import run_module

PAPERS = ("arora2019", "razin2020", "zhao2022", "wang2024")
"""The modules that hold claims, with those whose names begin with one of them and an underscore."""


def load_papers() -> None:
    """Import the modules that hold claims, which registers them."""
    found = sorted(module.name for module in pkgutil.iter_modules(theory_checks.__path__))
    for paper in PAPERS:
        for name in found:
            if name == paper or name.startswith(f"{paper}_"):
                importlib.import_module(f"theory_checks.{name}")


def load_file(path: Path) -> None:
    """Run a Python file that registers claims; a second time does nothing.

    Raises:
      ValueError: if it does not exist or is not a Python file.
    """
    run_module(path, f"claims_of_{path.stem}")
