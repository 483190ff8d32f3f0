"""arora2019, Figures 3 and 6: singular values and alignment along descents."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Literal

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Descent, Results, register
from gradflow.sweeps.experiment import Experiment, Finding, Precision, Protocol, Scale

from . import _dynamics as dynamics
from ._dynamics import Cell


@dataclass(frozen=True)
class Grid:
    """One run a depth and problem."""

    depths: tuple[int, ...] = (1, 2, 3)
    """Numbers of factors; 1 is no factorisation."""
    rows: tuple[Literal["completion", "ratings"], ...] = ("completion", "ratings")
    """The synthetic matrix, MovieLens 100K."""
    rate: float = 1e-3
    """Learning rate."""
    norm: float = 1e-3
    """Expected Frobenius norm of the initial product."""
    identity: bool = False
    """Start from a multiple of the identity instead of Gaussian factors."""
    steps: int = 1_000_000
    """Iterations allowed on the synthetic matrix."""
    rating_steps: int = 200_000
    """Iterations allowed on the ratings."""
    rating_rates: tuple[float, ...] = ()
    """Learning rates on the ratings, one a depth; `rate` for all if empty."""
    rating_norm: float = 1e-3
    """`norm` on the ratings."""
    size: int = 100
    """d of the synthetic d x d matrix."""
    rank: int = 5
    """Its rank."""
    observations: int = 2000
    """Its observed entries."""
    seed: int = 0
    """Of the start."""
    protocol: Protocol = "paper"
    """Scale of the truth and loss as in the paper or as in the authors' code."""


class Dynamics(Experiment):
    """The half that Figures 3 and 6 share."""

    protocols: ClassVar[tuple[Protocol, ...]] = ("paper", "code")
    sensing: ClassVar[bool] = False

    def cells(self, grid: Grid) -> list[Cell]:
        for name in ("rate", "norm", "rating_norm"):
            if not getattr(grid, name) > 0:
                raise ValueError(f"{name} must be above 0, but it is {getattr(grid, name)}.")
        for name in ("steps", "rating_steps", "size", "rank", "observations"):
            if getattr(grid, name) < 1:
                raise ValueError(f"{name} must be at least 1, but it is {getattr(grid, name)}.")
        if min(grid.depths, default=0) < 1:
            raise ValueError(f"depths must be at least 1, but they are {grid.depths}.")
        if len(grid.rating_rates) not in (0, len(grid.depths)):
            raise ValueError(
                f"rating_rates must be one for each of the depths {grid.depths}, or empty, but "
                f"they are {grid.rating_rates}."
            )
        if "ratings" in grid.rows and find_spec("neighbors") is None:
            raise ValueError(
                "the ratings of MovieLens 100K are not installed; install them with "
                "`pip install --no-deps neighbors==0.2.1`, or leave them out: --rows completion."
            )
        found = []
        for row in grid.rows:
            real = row == "ratings"
            data: dynamics.Data = "ratings" if real else "sensing" if self.sensing else "completion"
            for k, depth in enumerate(grid.depths):
                own_rate = grid.rating_rates[k] if real and grid.rating_rates else grid.rate
                found.append(
                    Cell(
                        data=data,
                        size=0 if real else grid.size,
                        rank=0 if real else grid.rank,
                        observations=0 if real else grid.observations,
                        depth=depth,
                        rate=own_rate,
                        norm=grid.rating_norm if real else grid.norm,
                        identity=grid.identity,
                        seed=grid.seed,
                        steps=grid.rating_steps if real else grid.steps,
                        stop_loss=1e-6,
                        protocol=grid.protocol,
                    )
                )
        return found

    def job(self, cell: Cell, precision: Precision) -> Descent:
        return dynamics.descent(cell, precision)

    def plot(self, results: Results) -> Figure:
        own = results.where(method="own")
        rows, depths = own.values("data"), own.values("depth")
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                len(rows), len(depths) + 1, squeeze=False, layout="constrained",
                figsize=(2.5 * len(depths) + 2.8, 2.3 * len(rows) + 0.3),
            )  # fmt: skip
            for i, row in enumerate(rows):
                for j, depth in enumerate(depths):
                    for _, data in own.where(data=row, depth=depth):
                        dynamics.draw_values(axes[i, j], data)
                    axes[i, j].set_title(f"{NAMES[row]}, depth {depth}")
                    if depth == 2:
                        for _, data in own.where(data=row, depth=2):
                            gf.plotting.plot_alignment(data, axes[i, -1])
                axes[i, 0].set_ylabel(r"singular values $\sigma_1, \ldots, \sigma_{10}$")
                axes[i, -1].set_title(f"{NAMES[row]}, depth 2")
                axes[i, -1].set_ylabel(r"entries of $|U^\top \nabla\ell(W)\, V|$")
        return figure

    def compare(self, results: Results) -> list[Finding]:
        found = []
        own = results.where(method="own")
        for row in own.values("data"):
            runs = own.where(data=row)
            rank = runs.items[0].cell.rank or 1
            found += dynamics.findings(runs, rank, NAMES[row])
        return found


NAMES = {"completion": "completion", "sensing": "sensing", "ratings": "MovieLens 100K"}


@register
class Fig3(Dynamics):
    """Completion and the real ratings."""

    id = "arora2019.fig3"
    title = "singular values and alignment over iterations, depths 1 to 3; MovieLens 100K too"
    hours: ClassVar[dict[str, float]] = {}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        code = protocol == "code"
        rate, steps = (1e-2, 200_000) if code else (1e-3, 1_000_000)
        if scale == "paper":
            return Grid(rate=rate, steps=steps, identity=code, protocol=protocol)
        # The ratings in few iterations: each depth at some half of the rate at which it is unstable
        # (the mean's gradient is 50,000 times smaller), from a start that is not quite small.
        unit = 50_000 if code else 1
        return Grid(
            rate=rate, norm=1e-2, steps=100_000, identity=code, size=30, rank=2, observations=240,
            protocol=protocol, rating_steps=150, rating_norm=10.0,
            rating_rates=(0.05 * unit, 5e-4 * unit, 3e-5 * unit),
        )  # fmt: skip


@register
class Fig6(Dynamics):
    """Sensing."""

    id = "arora2019.fig6"
    title = "singular values and alignment over iterations, depths 1 to 3, sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        code = protocol == "code"
        if scale == "paper":
            return Grid(
                rows=("completion",), rate=1e-2 if code else 1e-3,
                steps=200_000 if code else 1_000_000, identity=code, protocol=protocol,
            )  # fmt: skip
        return Grid(
            rows=("completion",), rate=1e-2 if code else 1e-5, steps=20_000, identity=code, size=20,
            rank=2, observations=160, protocol=protocol,
        )  # fmt: skip
