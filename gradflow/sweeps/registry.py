"""Which experiments there are: the papers' packages, and files of one's own."""

from pathlib import Path

from gradflow._util.plugins import age, papers, run_module
from gradflow._util.words import meant
from gradflow.sweeps.experiment import Experiment

_KNOWN: dict[str, Experiment] = {}


def register(kind: type[Experiment]) -> type[Experiment]:
    """Make an experiment known under its id; a class decorator.

    Raises:
      ValueError: if another one has the id.
    """
    if kind.id in _KNOWN and type(_KNOWN[kind.id]).__qualname__ != kind.__qualname__:
        raise ValueError(f"There are two experiments {kind.id}; give one another id.")
    _KNOWN[kind.id] = kind()
    return kind


def known(module: Path | str | None = None) -> dict[str, Experiment]:
    """All experiments by id, in the papers' order.

    Args:
      module: a Python file with more.

    Raises:
      ValueError: if the file does not exist or is no Python file.
    """
    shipped = {paper.__name__.rpartition(".")[2] for paper in papers("experiments")}
    if module is not None:
        load_file(module)

    def place(id: str) -> tuple[bool, tuple[int, str], str, int, str]:
        paper, _, rest = id.partition(".")
        number = "".join(c for c in rest if c.isdigit())
        kind = rest.rstrip("0123456789")
        return paper not in shipped, age(paper), kind, int(number or 0), id

    return {id: _KNOWN[id] for id in sorted(_KNOWN, key=place)}


def find(id: str, module: Path | str | None = None) -> Experiment:
    """One experiment.

    Raises:
      ValueError: if there is none of that id; it names near ones.
    """
    all_known = known(module)
    if id in all_known:
        return all_known[id]
    hint = meant(id, all_known, most=3)
    raise ValueError(f"there is no experiment {id!r}{hint} `gradflow list` shows all.")


def load_file(path: Path | str) -> None:
    """Run a Python file that registers experiments; a second time does nothing.

    Raises:
      ValueError: if it does not exist or is no Python file.
    """
    run_module(path, "experiments")
