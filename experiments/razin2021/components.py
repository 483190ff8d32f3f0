"""razin2021: the norms of a CP factorisation's components, which enter one after the other.

Order 4, axes of length 10, a truth of rank 5 and norm 1, 2,000 observed entries, 1,000 components;
the rate adapts to the gradient's norm and the descent stops at a mean squared error of 1e-8.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.descent.records import log_marks
from gradflow.sweeps import Descent, Finding, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale
from gradflow.sweeps.results import arrivals

from ..razin2020._tensors import OBSERVE, Task, problem, rule

STOP_LOSS = 1e-8
IDLE = 0.1
"""Of its greatest norm, what a component that has not entered may have."""


@dataclass(frozen=True)
class Cell:
    """One descent.

    Attributes:
      task: what is to be recovered.
      components: R.
      std: standard deviation of every weight of the start.
      seed: of the start.
      rate: learning rate.
      steps: iterations allowed.
    """

    task: Task
    components: int
    std: float
    seed: int
    rate: float
    steps: int


@dataclass(frozen=True)
class Grid:
    """One task from starts of several scales."""

    order: int = 4
    """Axes of the tensor."""
    size: int = 10
    """The length of every axis."""
    rank: int = 5
    """Of the ground truth."""
    observations: int = 2000
    """Observed entries."""
    components: int = 1000
    """R."""
    stds: tuple[float, ...] = (5e-3, 1e-2, 5e-2)
    """Standard deviations of the start's weights."""
    seeds: tuple[int, ...] = (0,)
    """Of the starts."""
    rate: float = 1e-2
    """Learning rate, adapted to the gradient's norm."""
    steps: int = 1_000_000
    """Iterations allowed."""


@cache
def _objective(task: Task, components: int, precision: Precision) -> gf.Objective:
    return gf.Objective(problem(task, precision), gf.CPTensor(task.shape, components))


@register
class Components(Experiment):
    """See the module's docstring."""

    id = "razin2021.components"
    title = "norms of a CP factorisation's components over iterations: one after the other"
    varies: ClassVar[tuple[str, ...]] = ("seed", "std")
    hours: ClassVar[dict[str, float]] = {"quick": 0.01, "paper": 1.0}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(order=3, size=6, rank=2, observations=130, components=30, stds=(1e-3, 2e-1),
                    steps=50_000)  # fmt: skip

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        task = Task(grid.order, grid.size, grid.rank, grid.observations)
        return [
            Cell(task, grid.components, std, seed, grid.rate, grid.steps)
            for std in grid.stds for seed in grid.seeds
        ]  # fmt: skip

    def job(self, cell: Cell, precision: Precision) -> Descent:
        marks = log_marks(cell.steps, 100)
        objective = _objective(cell.task, cell.components, precision)
        start = objective.factorization.gaussian(jax.random.key(cell.seed), std=cell.std)
        return Descent(
            objective=objective,
            start=gf.astype(start, precision),
            optimizer=rule,
            rate=cell.rate,
            steps=cell.steps,
            stop_loss=STOP_LOSS,
            record=marks,
            observe=OBSERVE,
            flow={"stop_loss": STOP_LOSS, "max_steps": 20_000},
        )

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        norms = np.asarray(run["top_components"])
        rank = cell.task.rank
        return {
            "beyond_rank": float(norms[-1, rank] / norms[-1, 0]),
            "final_distance": float(run["distance"][-1]),
        }

    def plot(self, results: Results) -> Figure:
        return picture(results)

    def compare(self, results: Results) -> list[Finding]:
        return findings(results)


def check(grid: Grid) -> None:
    """Refuse a grid that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    for name, least in (("rank", 1), ("steps", 1), ("order", 2), ("size", 2)):
        whole(name, getattr(grid, name), least)
    whole("observations", grid.observations, 1, grid.size**grid.order)
    positive("rate", grid.rate)
    for std in grid.stds:
        positive("stds", std)
    if not grid.rank < min(grid.components, 10):
        raise ValueError(
            f"components must be above rank, and rank below the 10 norms recorded, but they are "
            f"{grid.components} and {grid.rank}."
        )


def picture(results: Results) -> Figure:
    """The largest ten component norms against iterations, a panel a scale; the first seed."""
    runs = results.where(method="own", seed=min(results.values("seed"), default=0))
    with gf.plotting.paper_style():
        count = max(len(runs), 1)
        figure, axes = plt.subplots(
            1, count, figsize=(2.9 * count + 0.6, 2.7), sharey=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for ax, (cell, data) in zip(axes[0], runs, strict=False):
            norms = np.asarray(data["top_components"])
            for k, line in enumerate(norms.T):
                ax.plot(data["time"], line, lw=1.2, color=plt.get_cmap("viridis")(k / 10))
            ax.set(title=f"standard deviation {cell.std:g}", xlabel="iteration")
        axes[0, 0].set_ylabel("norms of the ten largest components")
    return figure


def entries(data: Any, rank: int) -> tuple[np.ndarray, float]:
    """When the largest components, in falling order, came to a tenth of their greatest norms.

    Not of the last ones: one that escapes along unseen entries may come back.

    Returns:
      The iterations, and which share of its greatest norm the second had when the first came.
    """
    norms = np.asarray(data["top_components"])[:, :rank]
    shares = norms / norms.max(axis=0)
    came = (shares > IDLE).argmax(axis=0)
    return np.asarray(data["time"])[came], float(shares[came[0], 1])


def findings(results: Results) -> list[Finding]:
    """What the paper says is seen."""
    found = [arrivals(results)]
    runs = results.where(method="own")
    if not len(runs):
        return found
    small, large = min(runs.values("std")), max(runs.values("std"))
    chosen = [(data, cell.task.rank) for cell, data in runs.where(std=small)]
    times, ahead = zip(*(entries(*each) for each in chosen), strict=True)
    beyond = {
        std: float(np.median([float(data["beyond_rank"]) for _, data in runs.where(std=std)]))
        for std in (small, large)
    }
    texts = [", ".join(f"{t:.0f}" for t in each) for each in times]
    found += [
        Finding(
            "From the smallest start components enter one after the other",
            all((np.diff(each) > 0).all() for each in times) and max(ahead) < IDLE,
            f"std {small:g}: iterations at a tenth of the greatest norm {'; '.join(texts)}; the "
            f"second is at {max(ahead):.2g} of its greatest norm when the first enters",
        ),
        Finding(
            "From the smallest start as many components enter as the truth has terms",
            beyond[small] < 1e-2,
            f"std {small:g}: the next component's norm over the largest {beyond[small]:.2g}",
        ),
    ]
    if small < large:
        found.append(
            Finding(
                "From larger starts more components take part",
                beyond[large] > 3 * beyond[small],
                f"the same: {beyond[small]:.2g} at std {small:g}, {beyond[large]:.2g} at {large:g}",
            )
        )
    return found
