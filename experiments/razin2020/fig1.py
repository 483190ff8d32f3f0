"""razin2020, Figure 1: the unobserved entry against the loss, 2x2, depths 2, 3 and 4."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Results, register
from gradflow.sweeps.experiment import Finding, Protocol, Scale

from . import _blowup as shared
from ._blowup import Cell


@dataclass(frozen=True)
class Grid:
    """Every rate with every scale, balanced and unbalanced, at every depth.

    The rates at depths 2 and 3 and, at depth 4, 6e-3 and 4.5e-3 are those of the paper's Appendix
    F.2.1. The other two at depth 4 and the scales are our choice (the appendix is not legible
    there); the paper lowered rate and scale together, run by run, where the grid crosses them.
    """

    depths: tuple[int, ...] = (2, 3, 4)
    """Numbers of factors."""
    rates: tuple[float, ...] = (6e-2, 3e-2, 9e-3, 6e-3, 3e-3, 9e-4)
    """Learning rates at depths up to 3."""
    rates_deep: tuple[float, ...] = (6e-3, 4.5e-3, 3e-3, 9e-4)
    """Learning rates from depth 4 on, where descent is more sensitive to them."""
    scales: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5)
    """Standard deviations of the initial product's entries."""
    seeds: tuple[int, ...] = (0,)
    """Of the starts."""
    steps: int = shared.STEPS
    """Iterations allowed."""


@register
class Fig1(shared.Blowup):
    """Absolute unobserved entry against loss."""

    id = "razin2020.fig1"
    title = "unobserved entry against loss at 2x2: depth, balance, rate and scale"
    hours = {"quick": 0.002, "paper": 0.012}  # noqa: RUF012

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        if scale == "paper":
            return Grid()
        return Grid(rates=(6e-2, 9e-3), rates_deep=(6e-3,), scales=(1e-2, 1e-3), steps=200_000)

    def expand(self, grid: Grid) -> Iterable[Cell]:
        for depth in grid.depths:
            rates = grid.rates if depth <= 3 else grid.rates_deep
            for rate, scale, balanced, seed in itertools.product(
                rates, grid.scales, (True, False), grid.seeds
            ):
                yield Cell(depth, rate, scale, balanced, seed, grid.steps)

    def plot(self, results: Results) -> Figure:
        depths = results.values("depth")
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                1, len(depths), figsize=(2.7 * len(depths) + 1, 3.0), sharey=True, squeeze=False,
                layout="constrained",
            )  # fmt: skip
            last = max(int(data["time"][-1]) for _, data in results)
            lines = None
            for ax, depth in zip(axes[0], depths, strict=True):
                chosen = results.where(depth=depth, method="own")
                runs = [(data, "o" if cell.balanced else "s") for cell, data in chosen]
                lines = shared.draw(ax, runs, last)
                curve = shared.common_curve(data for data, _ in runs)
                for data, _ in runs:
                    level = shared.leaves_at(data, curve)
                    if np.isfinite(level):
                        entry = shared.entry_at(data, level)
                        ax.plot(level, entry, "x", color="black", ms=4, mew=0.8)
                flows = results.where(depth=depth, method="flow")
                for _, data in flows:
                    entry, loss = shared.entry_and_loss(data)
                    ax.plot(loss, entry, "--", color=gf.plotting.COLOURS[1], lw=0.7)
                loss = np.geomspace(0.3, shared.STOP_LOSS)
                ax.plot(loss, 1 / np.sqrt(2 * loss), ":", color="black", lw=1.2)
                ax.set(title=f"depth {depth}", xlim=(1.6, 0.6 * shared.STOP_LOSS), ylim=(1e-3, 2e2))
            axes[0, 0].set_ylabel("absolute unobserved entry $|w_{11}|$")
            handles = [
                Line2D([], [], ls=":", color="black", label=r"$1/\sqrt{2\ell}$"),
                Line2D([], [], marker="x", ls="", color="black", label="leaves the common curve"),
                Line2D([], [], marker="o", ls="", mfc="none", mec="black", label="end, balanced"),
                Line2D([], [], marker="s", ls="", mfc="none", mec="black", label="end, unbalanced"),
            ]
            if len(results.where(method="flow")):
                orange = gf.plotting.COLOURS[1]
                handles.append(Line2D([], [], ls="--", color=orange, label="exact flow"))
            axes[0, 0].legend(handles=handles, loc="lower right")
            assert lines is not None
            figure.colorbar(lines, ax=axes[0].tolist(), label="iteration")
        return figure

    def compare(self, results: Results) -> list[Finding]:
        own = results.where(method="own")
        ends = own.table.assign(entry=[shared.entry_and_loss(d)[0][-1] for _, d in own])
        followed, left = 0, []
        for depth in own.values("depth"):
            runs = [data for cell, data in own.where(depth=depth) if cell.scale <= 1e-3]
            if len(runs) > 1:
                curve = shared.common_curve(runs)
                followed += sum(shared.follows(data, curve, 0.5) for data in runs)
                left += [shared.leaves_at(data, curve) for data in runs]
        gone = np.array([0.0 if np.isnan(level) else level for level in left])
        grown = [
            bool(entry[-1] > shared.entry_at(data, 0.3))
            for _, data in own
            for entry, loss in [shared.entry_and_loss(data)]
            if loss[-1] <= 0.01 and np.isfinite(shared.entry_at(data, 0.3))
        ]
        medians = ends[ends["final_loss"] <= 1e-4].groupby("depth")["entry"].median()
        findings = [
            Finding(
                "The unobserved entry grows while the loss falls",
                all(grown) if grown else None,
                f"larger at the end than at loss 0.3 in {sum(grown)} of {len(grown)} runs that "
                "reach loss 0.01",
            ),
            Finding(
                "At one depth all runs follow the same curve at first, and leave it at different "
                "points",
                followed == gone.size if gone.size else None,
                f"from scales up to 1e-3, {followed} of {gone.size} runs are within 10% of their "
                f"depth's common curve from loss {shared.LEVELS[0]:g} down to 0.5; "
                f"{np.sum(gone < 0.3)} are on it at some loss below 0.3, {sum(gone == 0)} to the "
                f"end, the others leave it at losses from {gone.max():.2g} to "
                f"{gone[gone > 0].min(initial=1):.2g}"
                if gone.size
                else "no two runs from so small a scale",
            ),
        ]
        if {2, 3} <= set(medians.index):
            findings.append(
                Finding(
                    "Depth strengthens the effect, most of all from 2 to 3",
                    bool(medians[3] / medians[2] > max(1.0, medians.get(4, 0.0) / medians[3])),
                    "median |w11| of the runs that end at loss 1e-4: "
                    + ", ".join(f"depth {d}: {v:.3g}" for d, v in medians.items()),
                )
            )
        ratio = ends["entry"] * np.sqrt(2 * ends["final_loss"])
        near = ratio > 0.9
        by_depth = near.groupby(ends["depth"]).mean()
        findings.append(
            Finding.also(
                "All runs end near 1/sqrt(2 loss), the value on the matrices of rank one that fit",
                bool(near.all()),
                f"{near.sum()} of {len(near)} end within 10% of it ("
                + ", ".join(f"depth {d}: {share:.0%}" for d, share in by_depth.items())
                + f"); the median run at {ratio.median():.2f} of it",
            )
        )
        return findings
