"""wang2024, Figure 2: norms go to infinity along the flow of the 2x2 problem."""

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.factorizations.base import Factors
from gradflow.sweeps import Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Finding, Precision, Protocol, Scale

FAMILY = "wang2024.blowup"
A, B = 1 / np.sqrt(2), 8.0
"""Constants of the lower bound, the same for all three norms (razin2020, Theorem 1)."""
NORMS = {"nuclear": 1.0, "Frobenius": 2.0, "spectral": np.inf}
"""Norms and their Schatten indices."""


@dataclass(frozen=True)
class Cell:
    """One flow of the 2x2 problem, from a balanced start of positive determinant.

    Attributes:
      depth: number of factors.
      start: a multiple of the identity, or a random matrix.
      scale: that multiple, or the standard deviation of the entries.
      stop_loss: where it stops.
      seed: of a random start.
    """

    has_flow: ClassVar[bool] = False
    depth: int
    start: Literal["identity", "random"]
    scale: float
    stop_loss: float
    seed: int = 0


@dataclass(frozen=True)
class Grid:
    """Every depth from every start. The paper's text prints no sizes."""

    depths: tuple[int, ...] = (2, 3, 4)
    """Numbers of factors."""
    starts: tuple[Literal["identity", "random"], ...] = ("identity", "random")
    """Kinds of starts."""
    start_scale: float = 1e-2
    """Of the start."""
    stop_loss: float = 1e-8
    """Where flows stop."""
    seeds: tuple[int, ...] = (0,)
    """Of random starts."""


def grid_of(scale: Scale) -> Grid:
    """The grid that Figures 2 and 3 share."""
    return Grid() if scale == "paper" else Grid(depths=(2, 3), stop_loss=1e-4)


def cells_of(grid: Grid) -> list[Cell]:
    """The cells that Figures 2 and 3 share.

    Raises:
      ValueError: on a value out of range.
    """
    if min(grid.depths) < 2:
        raise ValueError(f"depths must be at least 2, but one is {min(grid.depths)}.")
    for name, value in (("start_scale", grid.start_scale), ("stop_loss", grid.stop_loss)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, but it is {value}.")
    found = [
        Cell(depth, start, grid.start_scale, grid.stop_loss, seed if start == "random" else 0)
        for depth, start, seed in itertools.product(grid.depths, grid.starts, grid.seeds)
    ]
    return list(dict.fromkeys(found))


def flow_of(cell: Cell, precision: Precision) -> Flow:
    """The flow in coordinates that keep the determinant's sign.

    Raises:
      ValueError: for float32.
    """
    if precision != "float64":
        raise ValueError(f"Flows need float64, but precision is {precision}.")
    sizes = (2,) * (cell.depth + 1)
    return Flow(
        gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct(sizes)),
        start(cell, sizes),
        {
            "stop_loss": cell.stop_loss,
            "coordinates": "logdet",
            "observe": ("loss", "singular_values", "unobserved_entries", "det_sign"),
        },
    )


def start(cell: Cell, sizes: tuple[int, ...]) -> Factors:
    """Balanced factors of a product with positive determinant."""
    if cell.start == "identity":
        return gf.factorizations.identity_factors(sizes, cell.scale)
    for attempt in range(200):
        key = jax.random.fold_in(jax.random.key(cell.seed), attempt)
        product = cell.scale * np.asarray(jax.random.normal(key, (2, 2), "float64"))
        if np.linalg.det(product) > 0:
            return gf.factorizations.balanced_factors(product, sizes)
    raise RuntimeError(f"No start of positive determinant in 200 draws for {cell}.")


def norm_of(data: xr.Dataset, p: float) -> np.ndarray:
    """A Schatten norm at all records."""
    return np.linalg.norm(data["singular_values"].to_numpy(), p, axis=1)


class AlongTheFlow(Experiment):
    """The half that Figures 2 and 3 share: the same flows."""

    family = FAMILY
    hours = {"quick": 0.005, "paper": 0.01}  # noqa: RUF012

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        return grid_of(scale)

    def cells(self, grid: Grid) -> list[Cell]:
        return cells_of(grid)

    def job(self, cell: Cell, precision: Precision) -> Flow:
        return flow_of(cell, precision)


@register
class Fig2(AlongTheFlow):
    """Three norms along the flow."""

    id = "wang2024.fig2"
    title = "nuclear, Frobenius and spectral norm along the flow of the 2x2 problem"

    def plot(self, results: Results) -> Figure:
        depths = results.values("depth")
        looks = {
            "nuclear": (4.5, "-", 0.45),
            "Frobenius": (2.2, "-", 1.0),
            "spectral": (1.2, "--", 1),
        }
        colours = dict(zip(NORMS, (gf.plotting.COLOURS[k] for k in (5, 0, 1)), strict=True))
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                2, len(depths), figsize=(2.7 * len(depths) + 0.6, 5.2), sharey=True, squeeze=False,
                layout="constrained",
            )  # fmt: skip
            for column, depth in zip(axes.T, depths, strict=True):
                for _, data in results.where(depth=depth):
                    loss, time = data["loss"].to_numpy(), data["time"].to_numpy()
                    bound = A / np.sqrt(loss) - B
                    for ax, clock in zip(column, (time, loss), strict=True):
                        for name, p in NORMS.items():
                            width, dash, alpha = looks[name]
                            ax.plot(clock, norm_of(data, p), dash, color=colours[name], lw=width,
                                    alpha=alpha)  # fmt: skip
                        ax.plot(clock, np.where(bound > 0, bound, np.nan), ":", color="black")
                column[0].set(title=f"depth {depth}", xscale="log", xlabel="time $t$")
                column[1].set(xscale="log", xlabel=r"loss $\ell(t)$")
                column[1].invert_xaxis()
            for ax in axes[:, 0]:
                ax.set(yscale="log", ylabel="norm of $W(t)$")
            handles = [
                Line2D([], [], color=colours[name], lw=looks[name][0], ls=looks[name][1],
                       alpha=looks[name][2], label=name)
                for name in NORMS
            ]  # fmt: skip
            label = r"lower bound $a / \sqrt{\ell(t)} - b$"
            handles.append(Line2D([], [], color="black", ls=":", label=label))
            figure.legend(handles=handles, loc="outside lower center", ncols=4)
        return figure

    def compare(self, results: Results) -> list[Finding]:
        growths, expected, slacks, ends, sharpest = [], [], [], [], np.inf
        for _, data in results:
            loss = data["loss"].to_numpy()
            before = np.flatnonzero(loss <= 100 * loss[-1])[0]
            for p in NORMS.values():
                norm = norm_of(data, p)
                growths.append(norm[-1] / norm[before])
                expected.append(np.sqrt(loss[before] / loss[-1]))
                slacks.append(np.min(norm - (A / np.sqrt(loss) - B)))
                ends.append(norm[-1])
                sharpest = min(sharpest, float(norm[-1] * np.sqrt(loss[-1])))
        positive = all(float(data["det_sign"].min()) > 0 for _, data in results)
        return [
            Finding(
                "Nuclear, Frobenius and spectral norm go to infinity along the flow",
                bool(np.all(np.array(growths) > 0.5 * np.array(expected))),
                f"over the last two decades of the loss each grows by {min(growths):.4g} to "
                f"{max(growths):.4g} (loss^(-1/2): {min(expected):.4g} to {max(expected):.4g}); at "
                f"the end all are at least {min(ends):.4g}",
            ),
            Finding(
                "They stay above a / sqrt(loss) - b",
                bool(min(slacks) >= 0),
                "with a = 1/sqrt(2), b = 8 (razin2020, Theorem 1) the least slack over all "
                f"records is {min(slacks):.3g}; at the end norm * sqrt(loss) is at least "
                f"{sharpest:.6f}, where a = {A:.6f}",
            ),
            Finding(
                "The determinant stays positive",
                positive,
                f"at all records of {len(results)} flows" if positive else "not at all records",
            ),
        ]
