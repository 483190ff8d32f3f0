"""zhao2022, Figures 1 to 3 and, for rank 10, 6 to 8: dynamics with and without the ratio penalty.

Error, effective rank and two singular values over iterations, for gradient descent and Adam: of
depths 2 to 5 without penalty (Figures 1, 6) and with it (2, 7), and of depth 1 with and without it
(3, 8).
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import register
from gradflow.sweeps.experiment import Finding, Protocol, Scale
from gradflow.sweeps.results import Results, arrivals

from . import _completion as regularised
from ._completion import Cell

NAMES = {"gd": "gradient descent", "adam": "Adam"}


@dataclass(frozen=True)
class Grid:
    """Every optimiser with every penalty at every depth."""

    depths: tuple[int, ...] = (2, 3, 4, 5)
    """Numbers of factors."""
    penalties: tuple[str, ...] = ("none",)
    """Names of penalties: none, ratio."""
    weight: float = 1e-4
    """The penalty's weight, lambda."""
    optimizers: tuple[str, ...] = ("gd", "adam")
    """Names of optimisers."""
    rank: int = 5
    """Of the truth."""
    observations: int = 2000
    """Observed entries. For rank 10 the paper gives 3000 and 3500."""
    rate: float = 1e-3
    """Learning rate."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the starts. The paper shows error bands but does not say of how many runs."""
    steps: int = regularised.STEPS
    """Iterations allowed."""
    size: int = 100
    """d of the d x d matrix."""
    norm: float = 100.0
    """Frobenius norm of the truth; 0 as drawn. The paper does not scale it, but its numbers do."""


class Dynamics(regularised.Regularised):
    """The six figures; each names its grid's penalties, depths and rank."""

    asked: ClassVar[dict[str, Any]] = {}
    rank: ClassVar[int] = 5

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        data: dict[str, Any] = {"rank": 10, "observations": 3000} if self.rank == 10 else {}
        paper = Grid(**{**self.asked, **data})
        if scale == "paper":
            return paper
        small = {"rank": 4, "observations": 600} if self.rank == 10 else {}
        depths = tuple(d for d in paper.depths if d <= 3)
        quick = {"size": 30, "norm": 30.0, "rank": 2, "observations": 400, "steps": 30_000}
        return dataclasses.replace(paper, depths=depths, seeds=(0,), **{**quick, **small})

    def expand(self, grid: Grid) -> Iterable[Cell]:
        return regularised.descents(grid)

    def plot(self, results: Results) -> Figure:
        own = results.where(method="own")
        optimizers = [o for o in NAMES if o in own.values("optimizer")]
        lines = _lines(own)
        shown = _shown(self.rank_of(own), own.values("depth") == [1])
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                len(optimizers), 3, figsize=(8.2, 2.3 * len(optimizers) + 0.5), squeeze=False,
                sharex="row", sharey="col", layout="constrained",
            )  # fmt: skip
            for row, optimizer in zip(axes, optimizers, strict=True):
                for k, (chosen, _) in enumerate(lines):
                    runs = [data for _, data in own.where(optimizer=optimizer, **chosen)]
                    if runs:
                        _draw(row, runs, gf.plotting.COLOURS[k], shown)
                row[0].set(ylabel=f"{NAMES[optimizer]}\nmean squared error", yscale="log")
                row[1].set(ylabel="effective rank")
                row[2].set(ylabel="singular values", yscale="log")
                for ax in row:
                    ax.set(xscale="log", xlabel="iteration")
            axes[0, 2].set_ylim(bottom=1e-4)  # of all rows, once all is drawn
            handles = [
                Line2D([], [], color=gf.plotting.COLOURS[k], label=name)
                for k, (_, name) in enumerate(lines)
            ]
            handles += [
                Line2D([], [], color="0.3", ls=dash, label=rf"$\sigma_{{{k}}}$")
                for k, dash in shown
            ]
            figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        return figure

    def rank_of(self, results: Results) -> int:
        """The truth's rank."""
        return int(results.items[0].cell.task.rank)

    def compare(self, results: Results) -> list[Finding]:
        own = results.where(method="own")
        table, rank = own.table, self.rank_of(own)
        groups = table.groupby(["optimizer", "penalty", "depth"])
        errors, ranks = groups["final_error"].median(), groups["final_effective_rank"].median()
        lost = groups["outcome"].agg(lambda ends: int((ends == "DIVERGED").sum()))
        plain = own.where(penalty="none")
        found = [arrivals(plain, "without penalty: ")] if len(plain) else []
        if own.values("depth") == [1]:
            return found + _no_depth(errors, ranks, rank)
        for (optimizer, penalty), part in errors.groupby(level=[0, 1]):
            by_depth = part.droplevel([0, 1])
            here, gone = ranks[optimizer, penalty], lost[optimizer, penalty]
            found += _of_depth(optimizer, penalty, by_depth, here, gone, rank)
        return found


def _of_depth(
    optimizer: str, penalty: str, errors: Any, ranks: Any, lost: Any, rank: int
) -> list[Finding]:
    """The statements of Sections 3.2 and 3.3 on one optimiser, from medians over starts."""
    name = NAMES.get(optimizer, optimizer)
    told = ", ".join(
        f"depth {d}: error {errors[d]:.2g}, effective rank {ranks[d]:.2f}"
        + (f" (diverged: {lost[d]})" if lost[d] else "")
        for d in errors.index
    )
    good = (errors < 1e-2) & (np.abs(ranks - rank) < 0.5)
    if penalty == "none":
        deep, shallow = good[good.index > 2], good[good.index == 2]
        return [
            Finding(
                f"{name} without penalty: only from depth 3 on the rank is recovered and the error "
                "low (below 1e-2)",
                bool(deep.all() and not shallow.any()) if len(deep) and len(shallow) else None,
                told,
            )
        ]
    if optimizer == "adam":
        spread = float(errors.max() / errors.min())
        return [
            Finding(
                f"{name} with the penalty: at every depth the rank is recovered and the error low",
                bool(good.all()),
                told,
            ),
            Finding(
                f"{name} with the penalty: solutions do not depend on depth (errors within a "
                "factor of ten)",
                spread < 10,
                f"largest over smallest error: {spread:.3g}",
            ),
        ]
    deep = good[good.index > 2]
    statement = f"{name} with the penalty: from depth 3 on the rank is recovered and the error low"
    return [Finding(statement, bool(deep.all()) if len(deep) else None, told)]


def _no_depth(errors: Any, ranks: Any, rank: int) -> list[Finding]:
    """The statements of Section 3.4 on depth 1."""
    found = []
    for optimizer, penalty, depth in errors.index:
        key = (optimizer, penalty, depth)
        good = bool(errors[key] < 1e-2 and abs(ranks[key] - rank) < 0.5)
        wanted = (optimizer, penalty) == ("adam", "ratio")
        with_penalty = "with" if penalty == "ratio" else "without"
        found.append(
            Finding(
                f"{NAMES.get(optimizer, optimizer)} {with_penalty} penalty "
                + ("recovers the rank at a low error" if wanted else "generalises poorly"),
                good if wanted else not good,
                f"error {errors[key]:.2g}, effective rank {ranks[key]:.2f} (truth: {rank})",
            )
        )
    return found


def _lines(results: Results) -> list[tuple[dict[str, Any], str]]:
    """What each colour stands for: a depth, or at depth 1 with and without the penalty."""
    if results.values("depth") == [1]:
        weights = results.where(penalty="ratio").values("weight")
        names = {"none": r"$\lambda = 0$", "ratio": rf"$\lambda = {max(weights, default=0):g}$"}
        return [({"penalty": p}, names[p]) for p in names if p in results.values("penalty")]
    return [({"depth": depth}, f"depth {depth}") for depth in results.values("depth")]


def _shown(rank: int, no_depth: bool) -> list[tuple[int, str]]:
    """Which singular values, and how: the first and the last of the truth, at depth 1 the next."""
    found = [(1, "-"), (rank, ":")]
    return [*found, (rank + 1, "--")] if no_depth and rank >= 10 else found


def _draw(
    axes: Iterable[Axes], runs: list[xr.Dataset], colour: str, shown: list[tuple[int, str]]
) -> None:
    """One line with a band from the least to the largest over starts, in each of three axes."""
    error, effective, values = axes
    _band(error, runs, "error", None, colour, "-")
    _band(effective, runs, "effective_rank", None, colour, "-")
    for k, dash in shown:
        _band(values, runs, "singular_values", k - 1, colour, dash)


def _band(
    ax: Axes, runs: list[xr.Dataset], name: str, column: int | None, colour: str, dash: str
) -> None:
    times = np.unique(np.concatenate([data["time"].to_numpy() for data in runs]))
    times = times[times > 0]
    table = []
    for data in runs:
        values = data[name].to_numpy()
        values = values if column is None else values[:, column]
        # A run that has stopped stays where it ended.
        table.append(np.interp(times, data["time"].to_numpy(), values))
    ax.plot(times, np.median(table, axis=0), dash, color=colour, lw=1.2)
    if len(runs) > 1:
        low, high = np.min(table, axis=0), np.max(table, axis=0)
        ax.fill_between(times, low, high, color=colour, alpha=0.2, lw=0)


@register
class Fig1(Dynamics):
    """Rank 5, no penalty."""

    id = "zhao2022.fig1"
    title = "gradient descent and Adam without penalty, depths 2 to 5"
    hours: ClassVar[dict[str, float]] = {"paper": 0.25}


@register
class Fig2(Dynamics):
    """Rank 5, the ratio."""

    id = "zhao2022.fig2"
    title = "gradient descent and Adam with the ratio penalty, depths 2 to 5"
    hours: ClassVar[dict[str, float]] = {"paper": 0.8}
    asked: ClassVar[dict[str, Any]] = {"penalties": ("ratio",)}


@register
class Fig3(Dynamics):
    """Rank 5, depth 1."""

    id = "zhao2022.fig3"
    title = "depth 1: gradient descent and Adam, with and without the ratio penalty"
    hours: ClassVar[dict[str, float]] = {"paper": 0.2}
    asked: ClassVar[dict[str, Any]] = {
        "penalties": ("none", "ratio"), "depths": (1,), "weight": 1e-2,
    }  # fmt: skip


@register
class Fig6(Fig1):
    """Rank 10, no penalty."""

    id = "zhao2022.fig6"
    title = "Figure 1 for rank 10"
    hours: ClassVar[dict[str, float]] = {"paper": 0.25}
    rank = 10


@register
class Fig7(Fig2):
    """Rank 10, the ratio."""

    id = "zhao2022.fig7"
    title = "Figure 2 for rank 10"
    hours: ClassVar[dict[str, float]] = {"paper": 0.7}
    rank = 10


@register
class Fig8(Fig3):
    """Rank 10, depth 1."""

    id = "zhao2022.fig8"
    title = "Figure 3 for rank 10"
    hours: ClassVar[dict[str, float]] = {"paper": 0.2}
    rank = 10
