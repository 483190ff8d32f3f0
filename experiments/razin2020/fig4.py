"""razin2020, Figure 4: the unobserved entry against the loss for other sizes of the matrix."""

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

LEVELS = (0.1, 0.01, 0.001)
"""Losses at which the entry is looked at on the way."""


@dataclass(frozen=True)
class Grid:
    """One run a size and seed, unbalanced, with the smallest rate and scale of Figure 1.

    The paper's text names no sizes. These are squares from 2x2 to 10x10, a wide and a tall matrix.
    A tall matrix draws the numbers of the square within it, so 5x2 repeats the run of 2x2.
    """

    sizes: tuple[tuple[int, int], ...] = ((2, 2), (3, 3), (4, 4), (10, 10), (2, 5), (5, 2))
    """Rows and columns."""
    depth: int = 3
    """Number of factors."""
    rate: float = 9e-4
    """Learning rate."""
    start_scale: float = 1e-5
    """Standard deviation of the initial product's entries."""
    seeds: tuple[int, ...] = (0,)
    """Of the starts."""
    steps: int = shared.STEPS
    """Iterations allowed."""


@register
class Fig4(shared.Blowup):
    """Absolute unobserved entry against loss, d x d'."""

    id = "razin2020.fig4"
    title = "unobserved entry against loss for d x d' matrices, depth 3"
    hours = {"quick": 0.004, "paper": 0.02}  # noqa: RUF012

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        if scale == "paper":
            return Grid()
        return Grid(
            sizes=((2, 2), (3, 3), (5, 5), (2, 4), (4, 2)),
            rate=6e-3,
            start_scale=1e-3,
            steps=500_000,
        )

    def expand(self, grid: Grid) -> Iterable[Cell]:
        for (rows, columns), seed in itertools.product(grid.sizes, grid.seeds):
            yield Cell(
                grid.depth, grid.rate, grid.start_scale, False, seed, grid.steps, rows=rows,
                columns=columns,
            )  # fmt: skip

    def plot(self, results: Results) -> Figure:
        own = results.where(method="own")
        sizes = sorted({(cell.rows, cell.columns) for cell, _ in own}, key=_order)
        marker = {size: "os^DvPX"[k % 7] for k, size in enumerate(sizes)}
        with gf.plotting.paper_style():
            figure, ax = plt.subplots(figsize=(5.6, 3.9), layout="constrained")
            runs = [(data, marker[cell.rows, cell.columns]) for cell, data in own]
            last = max(int(data["time"][-1]) for _, data in own)
            lines = shared.draw(ax, runs, last, marks=LEVELS)
            for _, data in results.where(method="flow"):
                entry, loss = shared.entry_and_loss(data)
                ax.plot(loss, entry, "--", color=gf.plotting.COLOURS[1], lw=0.7)
            bottom = min(float(data["loss"][-1]) for _, data in own)
            loss = np.geomspace(0.3, bottom)
            ax.plot(loss, 1 / np.sqrt(2 * loss), ":", color="black", lw=1.2)
            top = max(float(data["loss"][0]) for _, data in own)
            ax.set(xlim=(1.5 * top, 0.6 * bottom), ylim=(1e-3, 2e2))
            ax.set_ylabel("absolute unobserved entry $|w_{11}|$")
            handles = [
                Line2D([], [], marker=marker[size], ls="", mfc="none", mec="black",
                       label=f"{size[0]} × {size[1]}")
                for size in sizes
            ]  # fmt: skip
            handles.append(Line2D([], [], ls=":", color="black", label=r"$1/\sqrt{2\ell}$"))
            if len(results.where(method="flow")):
                orange = gf.plotting.COLOURS[1]
                handles.append(Line2D([], [], ls="--", color=orange, label="exact flow"))
            ax.legend(handles=handles, loc="lower right", ncols=2)
            figure.colorbar(lines, ax=ax, label="iteration")
        return figure

    def compare(self, results: Results) -> list[Finding]:
        own = results.where(method="own")
        grown, ends = [], []
        for cell, data in own:
            entry, loss = shared.entry_and_loss(data)
            seen = [*(shared.entry_at(data, level) for level in LEVELS), entry[-1]]
            seen = [value for value in seen if np.isfinite(value)]
            grown.append(len(seen) > 1 and bool(np.all(np.diff(seen) > 0)))
            ends.append(
                f"{cell.rows}x{cell.columns}: "
                f"{' '.join(f'{value:.3g}' for value in seen)} (loss {loss[-1]:.2g})"
            )
        findings = [
            Finding(
                "At every size, the unobserved entry grows while the loss falls",
                all(grown) if grown else None,
                f"|w11| at losses {', '.join(map(str, LEVELS))} and at the end rises in "
                f"{sum(grown)} of {len(grown)} runs; " + "; ".join(ends),
            ),
            _norms(own),
        ]
        excess = {
            f"{cell.rows}x{cell.columns}": float(np.max(np.abs(_excess(data["product"]))))
            for cell, data in own
            if cell.rows != cell.columns
        }
        findings.append(
            Finding(
                "In a rectangular matrix, what exceeds the upper left square stays zero",
                max(excess.values()) == 0 if excess else None,
                "largest entry there over all records: "
                + ", ".join(f"{size}: {value:.1g}" for size, value in excess.items())
                if excess
                else "no rectangular matrix",
            )
        )
        return findings


def _norms(own: Results) -> Finding:
    """The three usual norms at the end against those where the loss first falls below 0.1."""
    factors = []
    for _, data in own:
        s, loss = data["singular_values"].to_numpy(), data["loss"].to_numpy()
        below = np.flatnonzero(loss <= LEVELS[0])
        if below.size > 1:
            norms = np.stack([s.sum(1), np.sqrt((s**2).sum(1)), s.max(1)], axis=1)
            factors.append(norms[-1] / norms[below[0]])
    if not factors:
        return Finding("Norms grow with it", None, "no run gets below loss 0.1")
    least = np.min(factors, axis=0)
    return Finding(
        "Norms grow with it",
        bool(np.all(least > 1)),
        f"from loss 0.1 to the end, the nuclear, Frobenius and spectral norms grow by factors of "
        f"at least {least[0]:.3g}, {least[1]:.3g} and {least[2]:.3g}",
    )


def _excess(product: object) -> np.ndarray:
    """The entries of (time, d, d') matrices outside of the upper left square."""
    w = np.asarray(product)
    square = min(w.shape[1:])
    return np.concatenate(
        [w[:, square:, :].reshape(len(w), -1), w[:, :, square:].reshape(len(w), -1)], axis=1
    )


def _order(size: tuple[int, int]) -> tuple[bool, int, int]:
    """Squares first."""
    return size[0] != size[1], size[0], size[1]
