"""razin2020, Figure 5: the unobserved entry when observations are perturbed and repositioned."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Results, register
from gradflow.sweeps.experiment import Finding, Protocol, Scale

from . import _blowup as shared
from ._blowup import Cell

LEVELS = (0.1, 0.01, 0.001)
"""Losses at which the entry is looked at on the way."""
Panel = tuple[int, int, float, float]


@dataclass(frozen=True)
class Grid:
    """Every panel with every perturbation, unbalanced, with the smallest rate and scale of fig1.

    The paper's text does not print the values. The neighbours of the first panel and the
    perturbations are in the names of the authors' published data; that panel's position, and the
    other panels, are our choice: they put the unobserved entry elsewhere, with neighbours for which
    Theorem 2 asks for a negative determinant, as in the paper's Footnote 16.
    """

    panels: tuple[Panel, ...] = ((0, 0, -2.0, 0.5), (0, 1, 1.0, 1.0), (1, 0, 2.0, 0.5),
                                 (1, 1, 1.0, -1.0))  # fmt: skip
    """Row and column of the unobserved entry, counted from 0, and the observations beside it in its
    row and in its column."""
    epsilons: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.5)
    """The observation diagonally opposite."""
    depth: int = 3
    """Number of factors."""
    rate: float = 9e-4
    """Learning rate."""
    start_scale: float = 1e-5
    """Standard deviation of the initial product's entries."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    """Of the starts; the picture's runs are those of median end."""
    steps: int = shared.STEPS
    """Iterations allowed."""


@register
class Fig5(shared.Blowup):
    """Absolute unobserved entry against loss, perturbed."""

    id = "razin2020.fig5"
    title = "unobserved entry against loss at 2x2, observations perturbed and repositioned"
    hours = {"quick": 0.004, "paper": 0.02}  # noqa: RUF012

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        if scale == "paper":
            return Grid()
        return Grid(
            epsilons=(0.0, 0.1, 0.5),
            rate=3e-3,
            start_scale=1e-4,
            seeds=(0, 1, 2, 3, 4),
            steps=1_000_000,
        )

    def expand(self, grid: Grid) -> Iterable[Cell]:
        for panel, epsilon, seed in itertools.product(grid.panels, grid.epsilons, grid.seeds):
            row, column, z, z_prime = panel
            yield Cell(
                grid.depth, grid.rate, grid.start_scale, False, seed, grid.steps,
                unobserved=(row, column), z=z, z_prime=z_prime, epsilon=epsilon,
            )  # fmt: skip

    def plot(self, results: Results) -> Figure:
        own = results.where(method="own")
        panels, epsilons = _panels(own), own.values("epsilon")
        marker = {epsilon: "os^DvPX"[k % 7] for k, epsilon in enumerate(epsilons)}
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                rows, columns, figsize=(3.2 * columns + 1.2, 2.7 * rows + 0.4), sharex=True,
                sharey=True, squeeze=False, layout="constrained",
            )  # fmt: skip
            last = max(int(data["time"][-1]) for _, data in own)
            bottom = min(float(data["loss"][-1]) for _, data in own)
            top = max(float(data["loss"][0]) for _, data in own)
            lines = None
            for ax, panel in zip(axes.flat, panels, strict=False):
                chosen = _of(own, panel)
                for _, data in chosen:
                    entry, loss = shared.entry_and_loss(data)
                    ax.plot(loss, entry, color="0.8", lw=0.6, zorder=0)
                alike = [chosen.where(epsilon=epsilon) for epsilon in chosen.values("epsilon")]
                runs = [(_median_run(some), marker[some.items[0].cell.epsilon]) for some in alike]
                lines = shared.draw(ax, runs, last, marks=LEVELS)
                for some in alike:
                    loss = np.geomspace(0.3, bottom)
                    bound = shared.guarantee(some.items[0].cell, loss)
                    ax.plot(loss, bound, ":", color="black", lw=0.9)
                for _, data in _of(results.where(method="flow"), panel):
                    entry, loss = shared.entry_and_loss(data)
                    ax.plot(loss, entry, "--", color=gf.plotting.COLOURS[1], lw=0.7)
                i, j, z, z_prime = panel
                ax.set(
                    title=f"$w_{{{i + 1}{j + 1}}}$ unobserved; {z:g} in its row, "
                    f"{z_prime:g} in its column",
                    xlim=(1.5 * top, 0.6 * bottom), ylim=(1e-2, 2e2),
                )  # fmt: skip
                ax.title.set_fontsize(9)
            for ax in axes.flat[len(panels) :]:
                ax.set_visible(False)
            for ax in axes.flat:
                ax.label_outer()
            figure.supylabel("absolute unobserved entry", fontsize=9)
            handles = [
                Line2D([], [], marker=marker[e], ls="", mfc="none", mec="black",
                       label=rf"$\epsilon = {e:g}$")
                for e in epsilons
            ]  # fmt: skip
            handles.append(Line2D([], [], ls=":", color="black", label="balanced flow is above"))
            if len(own.values("seed")) > 1:
                handles.append(Line2D([], [], color="0.8", label="other seeds"))
            if len(results.where(method="flow")):
                orange = gf.plotting.COLOURS[1]
                handles.append(Line2D([], [], ls="--", color=orange, label="exact flow"))
            figure.legend(handles=handles, loc="outside lower center", ncols=4)
            assert lines is not None
            figure.colorbar(lines, ax=axes.ravel().tolist(), label="iteration")
        return figure

    def compare(self, results: Results) -> list[Finding]:
        own = results.where(method="own")
        grown, unperturbed = [], []
        for cell, data in own:
            if cell.epsilon == 0:
                seen = [shared.entry_at(data, level) for level in LEVELS]
                seen = [value for value in [*seen, _end(data)] if np.isfinite(value)]
                grown.append(len(seen) > 1 and bool(np.all(np.diff(seen) > 0)))
                unperturbed.append(_end(data))
        receding, ends = [], []
        for panel in _panels(own):
            chosen = _of(own, panel)
            medians = [
                np.median([_end(data) for _, data in chosen.where(epsilon=epsilon)])
                for epsilon in sorted(chosen.values("epsilon"), key=abs)
            ]
            if len(medians) > 1:
                no_rise = np.all(np.diff(medians) < 0.05 * np.array(medians[:-1]))
                receding.append(bool(no_rise and medians[-1] < 0.5 * medians[0]))
                name = _name(chosen.items[0].cell)
                ends.append(f"{name}: {' '.join(f'{v:.3g}' for v in medians)}")
        perturbed = [(cell, data) for cell, data in own if cell.epsilon != 0]
        crossed = sum(_crossed(cell, data) for cell, data in perturbed)
        return [
            Finding(
                "With the opposite observation at zero, the unobserved entry grows while the loss "
                "falls, wherever it is and whatever non-zero values stand beside it",
                all(grown) if grown else None,
                f"larger at each of the losses {', '.join(map(str, LEVELS))} and the end than at "
                f"the one before in {sum(grown)} of {len(grown)} runs; ends lie between "
                f"{min(unperturbed):.3g} and {max(unperturbed):.3g}"
                if grown
                else "no run with epsilon = 0",
            ),
            Finding(
                "The growth recedes as the opposite observation moves away from zero",
                all(receding) if receding else None,
                "median over seeds at the end, for rising |epsilon| (a rise below 5% counts as "
                f"none, the last has to be below half the first): {'; '.join(ends)}. {crossed} of "
                f"{len(perturbed)} runs end with the sign that needs a determinant of the other "
                "sign: unbalanced starts do not keep it, and such runs recede less"
                if receding
                else "one epsilon only",
            ),
        ]


def _panels(results: Results) -> list[Panel]:
    """Those at hand, in the grid's order."""
    return list(dict.fromkeys((*cell.unobserved, cell.z, cell.z_prime) for cell, _ in results))


def _end(data: xr.Dataset) -> float:
    """The absolute unobserved entry at the end of a run."""
    return float(shared.entry_and_loss(data)[0][-1])


def _median_run(results: Results) -> xr.Dataset:
    """Of runs that differ by their seeds, the one whose end is the median."""
    cells = sorted(results.cells, key=_end)
    return cells[(len(cells) - 1) // 2]


def _crossed(cell: Cell, data: xr.Dataset) -> bool:
    """Whether the entry ends where, at zero loss, the determinant is not of the start's sign."""
    signed = float(data["unobserved_entries"][-1, 0])
    return signed * cell.epsilon * cell.z * cell.z_prime < 0


def _of(results: Results, panel: Panel) -> Results:
    row, column, z, z_prime = panel
    return results.where(unobserved=(row, column), z=z, z_prime=z_prime)


def _name(cell: Cell) -> str:
    i, j = cell.unobserved
    return f"w{i + 1}{j + 1} ({cell.z:g}, {cell.z_prime:g})"
