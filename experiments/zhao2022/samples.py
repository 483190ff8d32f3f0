"""zhao2022, Figures 4 and, for rank 10, 5: error and effective rank against the sample size."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Results, register
from gradflow.sweeps.experiment import Finding, Protocol, Scale

from . import _completion as regularised
from ._completion import Baseline, Cell, Method, Task

OURS = "Adam, depth 1, ratio"
METHODS: tuple[str, ...] = (OURS, "nuclear norm", "GD, depth 3", "OptSpace", "SoftImpute")


@dataclass(frozen=True)
class Grid:
    """Every method at every sample size, on several problems.

    The paper prints neither the sizes nor the number of problems; these cover its axis.
    """

    observations: tuple[int, ...] = (1500, 2000, 2500, 3000, 4000, 5000)
    """Observed entries."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of truth, positions and start together."""
    rank: int = 5
    """Of the truth."""
    weight: float = 1e-2
    """Of the ratio penalty. The paper does not say which; Figure 3 has 1e-2."""
    rate: float = 1e-3
    """Learning rate of both descents."""
    steps: int = regularised.STEPS
    """Iterations allowed."""
    size: int = 100
    """d of the d x d matrix."""


class Samples(regularised.Regularised):
    """The two figures."""

    rank: ClassVar[int] = 5

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        paper = Grid(rank=self.rank)
        if self.rank == 10:
            paper = dataclasses.replace(paper, observations=(3000, 3500, 4000, 5000, 6000))
        if scale == "paper":
            return paper
        rank, counts = (2, (240, 400)) if self.rank == 5 else (4, (450, 600))
        return dataclasses.replace(
            paper, size=30, rank=rank, observations=counts, seeds=(0,), steps=30_000
        )

    def expand(self, grid: Grid) -> Iterable[Any]:
        for count in grid.observations:
            for seed in grid.seeds:
                task = Task(grid.size, grid.rank, count, float(grid.size), seed)
                yield Cell(
                    task, 1, "adam", "ratio", grid.weight, grid.rate, seed=seed, steps=grid.steps
                )
                yield Cell(task, 3, "gd", "none", 0.0, grid.rate, seed=seed, steps=grid.steps)
                for method in get_args(Method):
                    yield Baseline(task, method)

    def plot(self, results: Results) -> Figure:
        table = _table(results)
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")
            for k, method in enumerate(m for m in METHODS if m in set(table["by"])):
                some = table[table["by"] == method]
                for ax, name in zip(axes, ("final_error", "final_effective_rank"), strict=True):
                    groups = some.groupby("observations")[name]
                    style = {"color": gf.plotting.COLOURS[k], "marker": "os^Dv"[k]}
                    ax.plot(groups.median(), label=method, lw=1.2, ms=4, **style)
                    ax.fill_between(
                        groups.min().index, groups.min(), groups.max(), alpha=0.2, lw=0,
                        color=gf.plotting.COLOURS[k],
                    )  # fmt: skip
            rank = int(table["rank"].iloc[0])
            axes[1].axhline(rank, color="black", ls=":", lw=1, label="rank of the truth")
            axes[0].set(ylabel="mean squared error", yscale="log")
            axes[1].set(ylabel="effective rank")
            for ax in axes:
                ax.set_xlabel(f"observed entries of {int(table['size'].iloc[0]) ** 2}")
            figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure

    def compare(self, results: Results) -> list[Finding]:
        table = _table(results)
        errors = table.groupby(["observations", "by"])["final_error"].median().unstack("by")
        ranks = table.groupby(["observations", "by"])["final_effective_rank"].median()
        if OURS not in errors or errors.shape[1] < 2:
            return []
        ours, others = errors[OURS], errors.drop(columns=OURS)
        ratio = others.min(axis=1) / ours
        told = "; ".join(
            f"{m}: {ours[m]:.2g} against {others.loc[m].min():.2g} ({others.loc[m].idxmin()})"
            for m in errors.index
        )
        own_ranks, rank = ranks.xs(OURS, level="by"), int(table["rank"].iloc[0])
        return [
            Finding(
                f"{OURS}: a lower error than all other methods at every sample size",
                bool((ratio > 1).all()),
                f"median errors by number of observations, against the best other: {told}",
            ),
            Finding(
                "... by at least an order of magnitude",
                bool((ratio > 10).all()),
                f"factors: {', '.join(f'{m}: {v:.3g}' for m, v in ratio.items())}",
            ),
            Finding(
                f"{OURS}: the effective rank is that of the truth (rounded) at every sample size",
                bool((np.round(own_ranks) == rank).all()),
                ", ".join(f"{m}: {v:.2f}" for m, v in own_ranks.items()),
            ),
            Finding(
                "... and improves as the sample size grows",
                bool(ours.iloc[-1] < ours.iloc[0]) if len(ours) > 1 else None,
                f"{ours.iloc[0]:.2g} at {ours.index[0]}, {ours.iloc[-1]:.2g} at {ours.index[-1]}",
            ),
        ]


def _table(results: Results) -> Any:
    """All cells, with a column "by" that says which of `METHODS` it is."""
    own = results.where(method="own")
    names = []
    for cell, _ in own:
        if isinstance(cell, Baseline):
            names.append(cell.method)
        else:
            names.append(OURS if cell.optimizer == "adam" else "GD, depth 3")
    return own.table.assign(by=names)


@register
class Fig4(Samples):
    """Rank 5."""

    id = "zhao2022.fig4"
    title = "error and effective rank against sample size: Adam with the ratio, and baselines"
    hours: ClassVar[dict[str, float]] = {"paper": 0.4}


@register
class Fig5(Samples):
    """Rank 10."""

    id = "zhao2022.fig5"
    title = "Figure 4 for rank 10"
    hours: ClassVar[dict[str, float]] = {"paper": 0.35}
    rank = 10
