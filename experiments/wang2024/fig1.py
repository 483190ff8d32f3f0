"""wang2024, Figure 1: least squares, the flow to the ridgeless solution beside other solutions."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Finding, Precision, Protocol, Scale
from gradflow.trajectory import Trajectory

Kind = Literal["zero", "row space", "anywhere"]
OTHERS = 12
"""How many other solutions each cell stores."""
STYLE = {
    "zero": (gf.plotting.COLOURS[0], "from 0"),
    "row space": (gf.plotting.COLOURS[2], "from the row space"),
    "anywhere": (gf.plotting.COLOURS[3], "from elsewhere"),
}


@dataclass(frozen=True)
class Cell:
    """One flow.

    Attributes:
      rows: equations.
      columns: unknowns.
      start: 0, a random vector in the row space of X, or any random vector.
      seed: of the start and of the other solutions.
    """

    has_flow: ClassVar[bool] = False
    rows: int
    columns: int
    start: Kind
    seed: int


@dataclass(frozen=True)
class Grid:
    """Every system from every kind of start.

    The paper's text prints no sizes. Here are one equation in the plane, where everything can be
    drawn, and a curve through a few points by more cosines than points.
    """

    systems: tuple[tuple[int, int], ...] = ((1, 2), (6, 40))
    """Rows and columns of X."""
    starts: tuple[Kind, ...] = ("zero", "row space", "anywhere")
    """Kinds of starts."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the random starts."""


@register
class Fig1(Experiment):
    """The flow of least squares, and other solutions."""

    id = "wang2024.fig1"
    title = "least squares: the flow's limit beside other solutions of zero loss"
    hours = {"quick": 0.003, "paper": 0.004}  # noqa: RUF012

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        if scale == "paper":
            return Grid()
        return Grid(systems=((1, 2), (4, 12)), seeds=(0, 1))

    def cells(self, grid: Grid) -> list[Cell]:
        for rows, columns in grid.systems:
            if not 1 <= rows < columns:
                raise ValueError(
                    f"systems must have more columns than rows, so that there is more than one "
                    f"solution, but one is {rows} x {columns}."
                )
        found = [
            Cell(rows, columns, start, 0 if start == "zero" else seed)
            for (rows, columns), start, seed in itertools.product(
                grid.systems, grid.starts, grid.seeds
            )
        ]
        return list(dict.fromkeys(found))

    def job(self, cell: Cell, precision: Precision) -> Flow:
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        x, y, _ = system(cell.rows, cell.columns)
        problem = gf.LeastSquares(x, y[:, None], loss="sum")
        return Flow(
            gf.Objective(problem, gf.MatrixProduct((1, cell.columns))),
            (start(cell)[:, None],),
            {"stop_gradient": 1e-11, "rtol": 1e-9, "observe": ("loss", "product")},
        )

    def finish(self, cell: Cell, run: Trajectory) -> dict[str, Any]:
        x, y, _ = system(cell.rows, cell.columns)
        begin, path = start(cell), run["product"][..., 0]
        least = np.linalg.pinv(x) @ y
        in_kernel = begin - np.linalg.pinv(x) @ (x @ begin)
        others = least + np.linalg.norm(least) * _kernel_vectors(x, cell.seed)
        return {
            "ridgeless": least,
            "distance": np.linalg.norm(path[-1] - least) / np.linalg.norm(least),
            "kernel_part": np.linalg.norm(in_kernel) / np.linalg.norm(least),
            "off_kernel_part": np.linalg.norm(path[-1] - least - in_kernel) / np.linalg.norm(least),
            "formula_error": np.max(
                np.linalg.norm(path - closed_form(x, y, run.times), axis=1)
            ) / np.linalg.norm(least),
            "others": others,
            "others_loss": np.max(np.sum((others @ x.T - y) ** 2, axis=1)),
            "others_norm": np.min(np.linalg.norm(others, axis=1)) / np.linalg.norm(least),
        }  # fmt: skip

    def plot(self, results: Results) -> Figure:
        shapes = list(dict.fromkeys((cell.rows, cell.columns) for cell, _ in results))
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                len(shapes), 2, figsize=(7.4, 3.2 * len(shapes)), squeeze=False,
                layout="constrained",
            )  # fmt: skip
            for (ax, beside), (rows, columns) in zip(axes, shapes, strict=True):
                chosen = results.where(rows=rows, columns=columns)
                (_draw_plane if columns == 2 else _draw_curves)(ax, chosen)
                _draw_norms(beside, chosen)
        return figure

    def compare(self, results: Results) -> list[Finding]:
        table = results.table
        zero, row = (table[table["start"] == kind] for kind in ("zero", "row space"))
        away = table[table["start"] == "anywhere"]
        findings = [
            Finding(
                "From 0, the flow goes to the solution of least norm",
                bool((zero["distance"] < 1e-6).all()) if len(zero) else None,
                f"relative distance of the limit from X^+ y at most {zero['distance'].max():.1e}"
                if len(zero)
                else "no flow from 0",
            ),
            Finding(
                "From 0, the flow is beta_t = V Sigma_t^T U^T y",
                bool((zero["formula_error"] < 1e-6).all()) if len(zero) else None,
                f"relative error at most {zero['formula_error'].max():.1e} over all records"
                if len(zero)
                else "no flow from 0",
            ),
            Finding(
                "Other solutions have zero loss too, but a larger norm",
                bool((table["others_norm"] > 1).all() and (table["others_loss"] < 1e-20).all()),
                f"{OTHERS * len(table)} of them have loss at most "
                f"{table['others_loss'].max():.1e} and at least {table['others_norm'].min():.3f} "
                "times the least norm",
            ),
        ]
        if len(row) or len(away):
            begun = table[table["start"] != "zero"]
            evidence = []
            if len(row):
                evidence.append(
                    "from the row space of X, the limit is off by at most "
                    f"{row['distance'].max():.1e} of the least norm"
                )
            if len(away):
                evidence.append(
                    f"from elsewhere by {away['distance'].min():.2f} to "
                    f"{away['distance'].max():.2f}, which is the start's part in the kernel of X "
                    f"(up to {away['off_kernel_part'].max():.1e}): that part never moves, and "
                    "Equation (6) leaves the start out"
                )
            findings.append(
                Finding(
                    "So it does from any start, for none is prescribed",
                    bool((begun["distance"] < 1e-6).all()),
                    "; ".join(evidence),
                )
            )
        return findings


def system(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and the points: one equation in the plane, or cosines at random points.

    Columns of X are cos(pi k x) / (1 + k / 4) at points x in [0, 1].
    """
    if columns == 2:
        return np.array([[1.0, 2.0]]), np.array([2.0]), np.array([0.0])
    points = (np.arange(rows) + 0.5) / rows
    return features(points, columns), np.cos(7 * points) + points, points


def features(points: np.ndarray, columns: int) -> np.ndarray:
    """The cosines at points."""
    k = np.arange(columns)
    return np.cos(np.pi * k * points[:, None]) / (1 + k / 4)


def start(cell: Cell) -> np.ndarray:
    """beta_0 of a cell."""
    if cell.start == "zero":
        return np.zeros(cell.columns)
    x, _, _ = system(cell.rows, cell.columns)
    drawn = np.random.default_rng([cell.seed, 1]).normal(size=cell.columns)
    return np.linalg.pinv(x) @ (x @ drawn) if cell.start == "row space" else drawn


def closed_form(x: np.ndarray, y: np.ndarray, times: Any) -> np.ndarray:
    r"""beta_t = V Sigma_t^T U^T y from 0, with (1 - exp(-2 t sigma_i^2)) / sigma_i in Sigma_t.

    Args:
      x: of full row rank.
      y: targets.
      times: (records,).

    Returns:
      (records, columns).

    References:
      wang2024, end of Section 2.
    """
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return (-np.expm1(-2 * np.outer(times, s**2)) / s * (u.T @ y)) @ vt


def _kernel_vectors(x: np.ndarray, seed: int) -> np.ndarray:
    """Random vectors of the kernel of X, of lengths between 0.3 and 1.5."""
    basis = np.linalg.svd(x)[2][len(x) :]
    drawn = np.random.default_rng([seed, 2]).normal(size=(OTHERS, len(basis)))
    lengths = np.linspace(0.3, 1.5, OTHERS) / np.linalg.norm(drawn, axis=1)
    return (lengths[:, None] * drawn) @ basis


def _draw_plane(ax: Axes, results: Results) -> None:
    """Paths in the plane of both coefficients, and the line of solutions."""
    red = gf.plotting.COLOURS[1]
    least = results.cells[0]["ridgeless"].to_numpy()
    x, y, _ = system(1, 2)
    along = np.array([-x[0, 1], x[0, 0]]) / np.linalg.norm(x)
    line = least + np.outer([-4, 4], along)
    ax.plot(*line.T, color="0.6", lw=2, zorder=0)
    angle = np.linspace(0, 2 * np.pi, 200)
    ring = np.linalg.norm(least) * np.stack([np.cos(angle), np.sin(angle)])
    ax.plot(*ring, ":", color="0.4", lw=0.9, zorder=0)
    for cell, data in results:
        path = data["product"].to_numpy()[..., 0]
        colour = STYLE[cell.start][0]
        above = 3 if cell.start == "zero" else 2
        ax.plot(*path.T, color=colour, lw=1.3, zorder=above)
        ax.plot(*path[0], "o", mfc="white", mec=colour, ms=5, zorder=above)
        ax.plot(*path[-1], "o", color=colour, ms=5, zorder=above)
    ax.plot(*least, "*", color=red, ms=13, zorder=4)
    handles = [
        Line2D([], [], color="0.6", lw=2, label="zero loss"),
        Line2D([], [], color="0.4", ls=":", label="least norm of these"),
        Line2D([], [], marker="*", ls="", color=red, ms=10, label="ridgeless solution"),
    ]
    ends = np.concatenate([data["product"].to_numpy()[[0, -1], :, 0] for _, data in results])
    reach = 1.15 * max(np.max(np.abs(ends)), np.linalg.norm(least))
    ax.set(
        xlabel=r"$\beta_1$", ylabel=r"$\beta_2$", xlim=(-reach, reach), ylim=(-reach, reach),
        title=f"flow of $({_equation(x, y)})^2$",
    )  # fmt: skip
    ax.set_aspect("equal")
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=6.5
    )


def _draw_curves(ax: Axes, results: Results) -> None:
    """The curves that the ridgeless solution, the flow from 0 and other solutions stand for."""
    rows, columns = results.items[0].cell.rows, results.items[0].cell.columns
    points = np.linspace(0, 1, 400)
    basis = features(points, columns)
    _, y, data_points = system(rows, columns)
    for solution in results.cells[0]["others"].to_numpy():
        ax.plot(points, basis @ solution, color="0.75", lw=0.8)
    ax.plot(points, basis @ results.cells[0]["ridgeless"].to_numpy(),
            color=gf.plotting.COLOURS[1], lw=2.5)  # fmt: skip
    for cell, data in results.where(start="zero"):
        limit = data["product"].to_numpy()[-1, :, 0]
        ax.plot(points, basis @ limit, "--", color=STYLE[cell.start][0], lw=1.3)
    ax.plot(data_points, y, "o", color="black", ms=4)
    handles = [
        Line2D([], [], color="0.75", label="other solutions"),
        Line2D([], [], color=gf.plotting.COLOURS[1], lw=2.5, label="ridgeless solution"),
        Line2D([], [], ls="--", color=STYLE["zero"][0], label="limit of the flow from 0"),
        Line2D([], [], marker="o", ls="", color="black", ms=4, label="data"),
    ]
    ax.set(
        xlabel="$x$", ylabel=r"$\sum_k \beta_k \phi_k(x)$",
        title=f"{rows} points, {columns} coefficients",
    )  # fmt: skip
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.35 * (high - low))
    ax.legend(handles=handles, fontsize=6.5, loc="upper left")


def _draw_norms(ax: Axes, results: Results) -> None:
    """Norms over time, and the least norm of a solution."""
    for cell, data in results:
        norm = np.linalg.norm(data["product"].to_numpy()[..., 0], axis=1)
        ax.plot(data["time"][1:], norm[1:], color=STYLE[cell.start][0], lw=1.3)
    least = float(np.linalg.norm(results.cells[0]["ridgeless"]))
    ax.axhline(least, color=gf.plotting.COLOURS[1], ls=":", lw=1.5)
    red = Line2D([], [], color=gf.plotting.COLOURS[1], ls=":", label="least of zero loss")
    ax.set(xscale="log", xlabel="time $t$", ylabel=r"norm $\|\beta_t\|_2$", ylim=(0, None))
    ax.legend(handles=[*_handles(results), red], fontsize=6.5)


def _handles(results: Results) -> list[Line2D]:
    kinds = {cell.start for cell, _ in results}
    return [
        Line2D([], [], color=colour, label=label)
        for kind, (colour, label) in STYLE.items()
        if kind in kinds
    ]


def _equation(x: np.ndarray, y: np.ndarray) -> str:
    return rf"{y[0]:g} - \beta_1 - {x[0, 1]:g}\beta_2"
