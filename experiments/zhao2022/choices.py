"""What zhao2022 leaves open, and whether it matters: scale of the truth, weight, which entries.

The paper does not say how large W* is, which weight a figure has among those it allows, nor whether
the test error counts the observed entries. This runs depth 1 with both scales and several weights
and puts both averages side by side. With a small weight a run can come to the loss of 1e-7, where
the paper stops, before it has recovered the matrix.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Results, register
from gradflow.sweeps.experiment import Finding, Protocol, Scale

from . import _completion as regularised
from ._completion import Cell, Task

UNSCALED = "U V^T as drawn"
SCALED = "mean square 1"


@dataclass(frozen=True)
class Grid:
    """Both scales, several weights, at depth 1; without penalty under both optimisers."""

    norms: tuple[float, ...] = (100.0, 0.0)
    """Frobenius norms of the truth; 0 leaves it as drawn, about sqrt(5) times as large."""
    weights: tuple[float, ...] = (1e-3, 1e-2, 5e-2, 1e-1)
    """Of the ratio penalty, under Adam."""
    observations: int = 2000
    """Observed entries."""
    rank: int = 5
    """Of the truth."""
    rate: float = 1e-3
    """Learning rate."""
    seed: int = 0
    """Of the start."""
    steps: int = regularised.STEPS
    """Iterations allowed."""
    size: int = 100
    """d of the d x d matrix."""


@register
class Choices(regularised.Regularised):
    """Sensitivity to what the paper leaves open."""

    id = "zhao2022.choices"
    title = "what the paper leaves open at depth 1: scale of the truth, weight, which entries"
    hours: ClassVar[dict[str, float]] = {"paper": 0.25}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        if scale == "paper":
            return Grid()
        return Grid(
            norms=(30.0, 0.0), weights=(1e-2, 1e-1), observations=300, rank=2, size=30,
            steps=20_000,
        )  # fmt: skip

    def expand(self, grid: Grid) -> Iterable[Cell]:
        for norm in grid.norms:
            task = Task(grid.size, grid.rank, grid.observations, norm)
            start = {"seed": grid.seed, "steps": grid.steps}
            for optimizer in ("gd", "adam"):
                yield Cell(task, 1, optimizer, "none", 0.0, grid.rate, **start)
            for weight in grid.weights:
                yield Cell(task, 1, "adam", "ratio", weight, grid.rate, **start)

    def plot(self, results: Results) -> Figure:
        table = _table(results)
        runs = list(dict.fromkeys(table["run"]))
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                1, 2, figsize=(7.4, 0.33 * len(runs) + 1.3), sharey=True, layout="constrained"
            )
            for k, scale in enumerate((SCALED, UNSCALED)):
                some = table[table["scale"] == scale]
                heights = [runs.index(run) + (0.12, -0.12)[k] for run in some["run"]]
                for average, marker in (("final_error", "o"), ("final_unobserved_error", "x")):
                    which = "all entries" if average == "final_error" else "unobserved entries"
                    axes[0].plot(
                        some[average], heights, marker, color=gf.plotting.COLOURS[k], ms=5,
                        mfc="none", label=f"{scale}, {which}".replace("U V^T", r"$U V^\top$"),
                    )  # fmt: skip
                axes[1].plot(
                    some["final_effective_rank"], heights, "o", color=gf.plotting.COLOURS[k],
                    ms=5, mfc="none",
                )  # fmt: skip
            axes[0].set(xscale="log", xlabel="mean squared error")
            axes[0].set_yticks(range(len(runs)), runs)
            axes[0].invert_yaxis()
            rank = int(table["rank"].iloc[0])
            axes[1].set(xscale="log", xlabel="effective rank")
            low, high = axes[1].get_xlim()
            ticks = [t for t in (1, 2, 5, 10, 20, 50) if low <= t <= high]
            axes[1].set_xticks(ticks, map(str, ticks))
            axes[1].set_xticks([], minor=True)
            axes[1].axvline(rank, color="black", ls=":", lw=1)
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure

    def compare(self, results: Results) -> list[Finding]:
        table = _table(results)
        good = (table["final_error"] < 1e-2) & (
            np.round(table["final_effective_rank"]) == table["rank"]
        )
        penalised = table["penalty"] == "ratio"
        found = [
            Finding.also(
                "Adam with the ratio at depth 1 recovers at every scale and weight",
                bool(good[penalised].all()) if penalised.any() else None,
                "; ".join(_told(row) for _, row in table[penalised].iterrows()),
            ),
            Finding.also(
                "Without the penalty neither optimiser does",
                bool(not good[~penalised].any()) if (~penalised).any() else None,
                "; ".join(_told(row) for _, row in table[~penalised].iterrows()),
            ),
        ]
        share = table["final_unobserved_error"] / table["final_error"]
        found.append(
            Finding.also(
                "Which entries are averaged does not matter much (a factor of two)",
                bool(share.between(0.5, 2).all()),
                f"error over unobserved entries over that over all: {share.min():.2f} to "
                f"{share.max():.2f}",
            )
        )
        return found


def _table(results: Results) -> Any:
    own = results.where(method="own")
    names = [
        f"{'Adam' if cell.optimizer == 'adam' else 'GD'}, "
        + (rf"ratio, $\lambda = {cell.weight:g}$" if cell.penalty == "ratio" else "no penalty")
        for cell, _ in own
    ]
    scales = [SCALED if cell.task.norm else UNSCALED for cell, _ in own]
    return own.table.assign(run=names, scale=scales)


def _told(row: Any) -> str:
    run = row["run"].replace("$", "").replace("\\lambda", "lambda")
    stopped = "stopped by its loss after" if row["outcome"] == "REACHED_LOSS" else "after all"
    return (
        f"{run}, {row['scale']}: {row['final_error']:.2g}, effective rank "
        f"{row['final_effective_rank']:.2f}, {stopped} {row['iterations']:,.0f} iterations"
    )
