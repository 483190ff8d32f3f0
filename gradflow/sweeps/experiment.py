"""What an experiment is: a grid, how a cell becomes a run, a picture, what the paper says of it.

An experiment is one class in one module. The engine (`runner`, `worker`, `store`) knows nothing of
matrices: it asks the experiment for its cells, has each one done, and keeps what came out.
"""

import abc
import dataclasses
import json
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from gradflow._util.validate import seed_of
from gradflow.sweeps.store import name_of
from gradflow.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradflow.sweeps.job import Job
    from gradflow.sweeps.results import Results

Scale = Literal["quick", "paper"]
Protocol = Literal["paper", "code"]
Precision = Literal["float64", "float32"]
Method = Literal["own", "flow"]

NUMERICS = 1
"""Part of every cell's name: raised when the library's numbers change, so that no old cell is taken
for a new one."""


@dataclass(frozen=True)
class Finding:
    """One statement of the paper beside what came out here; or one of ours, which it does not make.

    Attributes:
      statement: what the paper says is seen, in our words.
      holds: whether it is; None if the cells at hand do not say.
      evidence: the numbers that show it.
      printed: the published number, if the statement is one.
      ours: the same number here.
      stated: whether the paper says so; what it does not say is shown apart, as also seen.
    """

    statement: str
    holds: bool | np.bool_ | None
    evidence: str = ""
    printed: float | None = None
    ours: float | None = None
    stated: bool = True

    @classmethod
    def also(cls, statement: str, holds: bool | np.bool_ | None, evidence: str = "") -> "Finding":
        """What is seen here and the paper does not say."""
        return cls(statement, holds, evidence, stated=False)


@dataclass(frozen=True)
class Item:
    """One run to do: a cell of a grid, by the paper's method or by the exact flow.

    Attributes:
      cell: a frozen dataclass of plain values: everything that determines the run.
      method: "own", the method the experiment gives; "flow", the gradient flow from the same start.
      precision: of the run; flows are float64.
    """

    cell: Any
    method: Method = "own"
    precision: Precision = "float64"


class Experiment(abc.ABC):
    """A figure or table of a paper, or a sweep of your own.

    Attributes:
      id: such as "razin2020.fig1".
      title: one line on what it shows.
      family: experiments of one family share cells; by default the id.
      version: raise it when the cells' meaning changes.
      protocols: those it has: "paper" always, "code" where the authors' code differs.
      precision: the default.
      varies: the cell's fields that change numbers only, no shapes: such cells run in one batch.
      hours: scale -> estimated core hours, for the listing.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str] = ""
    version: ClassVar[int] = 1
    protocols: ClassVar[tuple[Protocol, ...]] = ("paper",)
    precision: ClassVar[Precision] = "float64"
    varies: ClassVar[tuple[str, ...]] = ("seed",)
    hours: ClassVar[dict[str, float]] = {}

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        if "work" in vars(cls) and "job" not in vars(cls):
            warnings.warn(
                f"{cls.__name__}.work is now called job", DeprecationWarning, stacklevel=2
            )
            cls.job = vars(cls)["work"]

    @abc.abstractmethod
    def grid(self, scale: Scale, protocol: Protocol) -> Any:
        """The grid: a frozen dataclass whose fields can be changed on the command line."""

    @abc.abstractmethod
    def cells(self, grid: Any) -> Sequence[Any]:
        """The grid's cells, frozen dataclasses of plain values.

        Raises:
          ValueError: on a value out of range; it names the value and the remedy.
        """

    @abc.abstractmethod
    def job(self, cell: Any, precision: Precision) -> "Job":
        """What to do for a cell: a `Descent`, a `Flow` or a `Computation`."""

    def finish(self, cell: Any, run: Trajectory) -> dict[str, Any]:
        """Further numbers (or arrays) to store, from a finished run; none by default."""
        return {}

    @abc.abstractmethod
    def plot(self, results: "Results") -> "Figure":
        """The picture, from the cells at hand."""

    @abc.abstractmethod
    def compare(self, results: "Results") -> list[Finding]:
        """The paper's statements and numbers beside ours."""

    def their_step(self, cell: Any) -> float | None:
        """Seconds that an iteration of the authors' code takes at least; None if unknown."""
        return None

    def store_name(self) -> str:
        """The name under which cells are kept."""
        return self.family or self.id

    def name(self, item: Item) -> str:
        """The item's name: a hash of everything that determines its content."""
        return name_of(json.dumps(self.describe(item), sort_keys=True))

    def describe(self, item: Item) -> dict[str, Any]:
        """Everything that determines an item's content, as plain values."""
        return {
            "family": self.store_name(),
            "version": self.version,
            "numerics": NUMERICS,
            "cell": {"kind": type(item.cell).__name__, **dataclasses.asdict(item.cell)},
            "method": item.method,
            "precision": item.precision,
        }

    def shape_of(self, item: Item) -> Hashable:
        """Items for which this is equal run in one compiled program."""
        described = self.describe(item)
        for name in self.varies:
            described["cell"].pop(name, None)
        return json.dumps(described, sort_keys=True)

    def batch_of(self, item: Item) -> Hashable:
        """Items for which this is equal go side by side on an accelerator.

        Those of one program, unless an experiment says more: runs of one shape can differ in
        optimiser, too, and in penalties that share an SVD; see `gradflow.run_descents`.
        """
        return self.shape_of(item)


def cells_of(experiment: Experiment, grid: Any) -> list[Any]:
    """An experiment's cells on a grid whose seeds are seeds, and whose whole numbers fit 64 bits.

    Raises:
      ValueError: on a number out of range; it names the value and the remedy.
    """
    for name, value in flat(grid).items():
        for number in value if isinstance(value, tuple | list) else (value,):
            singular = name.removesuffix("s")
            if singular == "seed" or singular.endswith("_seed"):
                seed_of(singular, number)
            elif isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise ValueError(f"{name} must be below 2^63, but one is {number}.")
    return list(experiment.cells(grid))


def items_of(
    experiment: Experiment, grid: Any, precision: Precision, with_flow: bool = False
) -> list[Item]:
    """All that an experiment does on a grid, in order, each once."""
    items = [Item(cell, "own", precision) for cell in cells_of(experiment, grid)]
    if with_flow:
        items += [Item(item.cell, "flow", "float64") for item in items if has_flow(item.cell)]
    return list(dict.fromkeys(items))


def has_flow(cell: Any) -> bool:
    """Whether a cell is a descent whose flow can be shown beside it."""
    return bool(getattr(cell, "has_flow", True))


def flat(cell: Any) -> dict[str, Any]:
    """A cell's fields by name, those of a part that is a dataclass itself among them."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        found |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found
