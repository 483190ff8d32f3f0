"""What there is, as plain values that are kept: a listing need not import the papers.

Importing them brings JAX and sympy in, which takes seconds. The catalogue is made once and then
read from a file, until a source file of gradflow or of a paper is another one.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradflow._util.files import whole_file
from gradflow._util.places import cache
from gradflow._util.plugins import sources

if TYPE_CHECKING:
    from gradflow.sweeps.experiment import Experiment


_HOME = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ListedClaim:
    """A claim: its id, its kind, its place in the paper, and what its control breaks."""

    id: str
    kind: str
    where: str
    control: str


@dataclass(frozen=True)
class ListedExperiment:
    """An experiment.

    Attributes:
      id: such as "razin2020.fig1".
      title: what it shows.
      hours: scale -> core hours, where they were measured.
      store: the folder of its cells, below that of all experiments.
      cells: "quick", "paper", "paper (code)", ... -> the names of its cells.
      help: what `gradflow run ID --help` says.
    """

    id: str
    title: str
    hours: dict[str, float]
    store: str
    cells: dict[str, list[str]]
    help: str


@dataclass(frozen=True)
class Catalogue:
    """All claims and experiments, in their order."""

    claims: tuple[ListedClaim, ...]
    experiments: tuple[ListedExperiment, ...]


def catalogue(module: Path | None = None) -> Catalogue:
    """All claims and experiments of the papers; with a file, also those that it defines.

    Args:
      module: a Python file of one's own; with it, nothing is kept.

    Raises:
      ValueError: if a paper or the file cannot be run.
    """
    if module is not None:
        return _made(module)
    library = sorted(_HOME.rglob("*.py"))
    stamp = _stamp([*library, *sources("theory_checks"), *sources("experiments")])
    place = cache() / f"catalogue-{_hash(_HOME)[:12]}.json"
    kept = _read(place, stamp)
    if kept is None:
        kept = _made(None)
        _write(kept, place, stamp)
    return kept


def _made(module: Path | None) -> Catalogue:
    from gradflow.claims.registry import load_file, registered
    from gradflow.sweeps.registry import known

    experiments = known(module)
    if module is not None:
        load_file(module)
    return Catalogue(
        tuple(
            ListedClaim(made.id, made.kind, made.where, made.control_text)
            for made in registered().values()
        ),
        tuple(_listed(one) for one in experiments.values()),
    )


def _listed(experiment: "Experiment") -> ListedExperiment:
    from gradflow.sweeps.commands import help_of
    from gradflow.sweeps.experiment import items_of

    cells = {}
    for scale in ("quick", "paper"):
        for protocol in experiment.protocols:
            items = items_of(experiment, experiment.grid(scale, protocol), experiment.precision)
            label = scale if protocol == "paper" else f"{scale} ({protocol})"
            cells[label] = [experiment.name(item) for item in items]
    return ListedExperiment(
        id=experiment.id,
        title=experiment.title,
        hours=dict(experiment.hours),
        store=experiment.store_name(),
        cells=cells,
        help=help_of(experiment),
    )


def _stamp(files: Iterable[Path]) -> str:
    """Of the sources as they are now, and of the Python that reads them."""
    seen = [sys.version]
    for path in files:
        about = path.stat()
        seen.append(f"{path} {about.st_mtime_ns} {about.st_size}")
    return _hash(seen)


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _read(place: Path, stamp: str) -> Catalogue | None:
    """What is kept, unless it is of other sources or damaged."""
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["stamp"] != stamp:
            return None
        return Catalogue(
            tuple(ListedClaim(**one) for one in kept["claims"]),
            tuple(ListedExperiment(**one) for one in kept["experiments"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(made: Catalogue, place: Path, stamp: str) -> None:
    content = json.dumps({"stamp": stamp, **dataclasses.asdict(made)})
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place, durable=False) as temporary:
            temporary.write_text(content, encoding="utf-8")
    except OSError:
        pass  # it is made again by the next command
