"""Which experiments there are: one module each in this folder, and files of one's own."""

import difflib
import importlib
import pkgutil
from pathlib import Path

import experiments
from experiments.experiment import Experiment
from gradflow.files import run_module

_KNOWN: dict[str, Experiment] = {}
PAPERS = ("arora2019", "razin2020", "zhao2022", "wang2024")
"""Modules whose names begin with one of these hold experiments."""


def register(kind: type[Experiment]) -> type[Experiment]:
    """Make an experiment known under its id; a class decorator.

    Raises:
      ValueError: if another one has the id.
    """
    if kind.id in _KNOWN and type(_KNOWN[kind.id]).__qualname__ != kind.__qualname__:
        raise ValueError(f"There are two experiments {kind.id}; give one another id.")
    _KNOWN[kind.id] = kind()
    return kind


def known(module: Path | None = None) -> dict[str, Experiment]:
    """All experiments by id, in the papers' order.

    Args:
      module: a Python file with more.

    Raises:
      ValueError: if the file does not exist or is no Python file.
    """
    names = [m.name for m in pkgutil.iter_modules(experiments.__path__)]
    for name in names:
        if name.startswith(PAPERS):
            importlib.import_module(f"experiments.{name}")
    if module is not None:
        load_file(module)

    def place(id: str) -> tuple[int, str, int, str]:
        paper, _, rest = id.partition(".")
        number = "".join(c for c in rest if c.isdigit())
        kind = rest.rstrip("0123456789")
        rank = PAPERS.index(paper) if paper in PAPERS else len(PAPERS)
        return rank, kind, int(number or 0), id

    return {id: _KNOWN[id] for id in sorted(_KNOWN, key=place)}


def find(id: str, module: Path | None = None) -> Experiment:
    """One experiment.

    Raises:
      ValueError: if there is none of that id; it names near ones.
    """
    all_known = known(module)
    if id in all_known:
        return all_known[id]
    near = difflib.get_close_matches(id, all_known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ValueError(f"there is no experiment {id!r}{hint} `gradflow list` shows all.")


def load_file(path: Path) -> None:
    """Run a Python file that registers experiments; a second time does nothing.

    Raises:
      ValueError: if it does not exist or is no Python file.
    """
    run_module(path, f"experiments_of_{path.stem}")
