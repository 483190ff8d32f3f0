r"""Woodworth et al. 2020: from the kernel to the rich regime, over the scale of the start (ours).

beta = w_+^D - w_-^D on least squares with fewer data than entries, w_+ = w_- = alpha at the start.
Flows end where a potential is least, which becomes the l2 norm for large alpha and the l1 norm for
small ones. The truth is sparse, and the least l1 norm finds it. Ends of flows at several scales
stand beside the path of least potentials, which follows further. The problem is ours.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.sweeps import Computation, Finding, Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._path import findings, picture


@dataclass(frozen=True)
class Cell:
    """One end.

    Attributes:
      kind: of a flow, or the least potential.
      depth: D.
      scale: alpha^D, in units of beta.
      seed: of the inputs.
      data: rows of X.
      size: entries of beta.
      sparsity: entries of the truth.
      stop: at which share of the first loss the flow ends.
    """

    has_flow: ClassVar[bool] = False
    kind: Literal["flow", "potential"]
    depth: int
    scale: float
    seed: int
    data: int
    size: int
    sparsity: int
    stop: float


def _powers(first: float, last: float, step: float) -> tuple[float, ...]:
    """Powers of ten, falling."""
    count = round((first - last) / step)
    return tuple(float(f"{10 ** (first - step * k):.6g}") for k in range(count + 1))


@dataclass(frozen=True)
class Grid:
    """Every depth at every scale; flows where they are quick, potentials in between and beyond."""

    depths: tuple[int, ...] = (2, 3)
    """D."""
    scales: tuple[float, ...] = _powers(1, -6, 1)
    """alpha^D of flows."""
    predicted: tuple[float, ...] = _powers(1, -12, 0.25)
    """alpha^D of least potentials."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the inputs."""
    data: int = 20
    """Rows of X, Gaussian, of variance 1/data."""
    size: int = 40
    """Entries of beta."""
    sparsity: int = 3
    """Entries of the truth that are not 0; they are equal, and its norm is 1."""
    stop: float = 1e-16
    """The share of the first loss where flows end."""


@cache
def problem(data: int, size: int, sparsity: int, seed: int) -> tuple[gf.LeastSquares, np.ndarray]:
    """The regression, without noise, and its sparse truth."""
    x = np.random.default_rng([2020, seed]).normal(size=(data, size)) / np.sqrt(data)
    truth = np.zeros(size)
    truth[:sparsity] = sparsity**-0.5
    return gf.LeastSquares(x, x @ truth), truth


@cache
def least_norms(data: int, size: int, sparsity: int, seed: int) -> tuple[float, float]:
    """The least l1 norm of interpolants, by linear programming, and the least l2 norm."""
    posed, _ = problem(data, size, sparsity, seed)
    least = np.linalg.pinv(np.asarray(posed.inputs)) @ np.asarray(posed.targets)
    return gf.exact.minimum_l1_norm(posed).value, float(np.linalg.norm(least))


@cache
def objective(cell: Cell) -> gf.Objective:
    """Of a cell."""
    posed, _ = problem(cell.data, cell.size, cell.sparsity, cell.seed)
    return gf.Objective(posed, gf.DiagonalNetwork(cell.size, cell.depth))


def start(cell: Cell) -> Any:
    """All parameters equal to alpha."""
    return objective(cell).factorization.identity(cell.scale ** (1 / cell.depth))


def measured(cell: Cell, beta: np.ndarray) -> dict[str, Any]:
    """Risk and excess norms of an interpolant.

    Returns:
      The risk ||beta - truth||^2, which is that of inputs of variance 1, and what its norms are
      above the least, in shares of these.
    """
    sizes = (cell.data, cell.size, cell.sparsity, cell.seed)
    _, truth = problem(*sizes)
    l1, l2 = least_norms(*sizes)
    return {
        "risk": float(np.sum((beta - truth) ** 2)),
        "excess_l1": float(np.sum(np.abs(beta)) / l1 - 1),
        "excess_l2": float(np.linalg.norm(beta) / l2 - 1),
        "l1_norm": float(np.sum(np.abs(beta))),
        "l2_norm": float(np.linalg.norm(beta)),
    }


def predicted(cell: Cell) -> Mapping[str, Any]:
    """The least potential of a cell."""
    least = gf.exact.minimum_potential(objective(cell), start(cell))
    return {**measured(cell, least.beta), "gap": least.gap}


@register
class Path(Experiment):
    """See the module's docstring."""

    id = "woodworth2020.path"
    title = "norms and risk of a diagonal network's end over the scale of its start (ours)"
    varies: ClassVar[tuple[str, ...]] = ("scale", "seed")
    hours: ClassVar[dict[str, float]] = {"quick": 0.005, "paper": 0.03}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(
            scales=(10.0, 1e-2, 1e-4), predicted=_powers(1, -12, 1), seeds=(0,), data=10, size=20,
            sparsity=1,
        )  # fmt: skip

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        kinds: tuple[tuple[Literal["flow", "potential"], tuple[float, ...]], ...] = (
            ("flow", grid.scales),
            ("potential", grid.predicted),
        )
        return [
            Cell(kind, depth, scale, seed, grid.data, grid.size, grid.sparsity, grid.stop)
            for (kind, scales), depth, seed in itertools.product(kinds, grid.depths, grid.seeds)
            for scale in scales
        ]

    def job(self, cell: Cell, precision: Precision) -> Flow | Computation:
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        if cell.kind == "potential":
            return Computation(lambda: predicted(cell))
        posed = objective(cell)
        first = float(posed.problem.loss(np.zeros(cell.size)))
        options = {"stop_loss": cell.stop * first, "rtol": 1e-9, "observe": ("loss", "product")}
        return Flow(posed, start(cell), options)

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        beta = np.asarray(run["product"][-1])
        least = gf.exact.minimum_potential(objective(cell), start(cell)).beta
        off = np.linalg.norm(beta - least) / np.linalg.norm(least)
        return {**measured(cell, beta), "off": float(off)}

    def plot(self, results: Results) -> Figure:
        return picture(results)

    def compare(self, results: Results) -> list[Finding]:
        return findings(results)


def check(grid: Grid) -> None:
    """Refuse a grid that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    for depth in grid.depths:
        if not 2 <= whole("depths", depth) <= 6:
            raise ValueError(f"depths must be between 2 and 6, but one is {depth}.")
    for name, values, low in (("scales", grid.scales, 1e-8), ("predicted", grid.predicted, 1e-14)):
        for value in values:
            if not low <= positive(name, value) <= 1e2:
                raise ValueError(
                    f"{name} must be between {low:g} and 100, but one is {value}: smaller ones "
                    "take long at D >= 3, or float64 does not hold their dual, and larger ones "
                    "are differences of large numbers."
                )
    whole("sparsity", grid.sparsity, 1)
    whole("data", grid.data, grid.sparsity + 1)
    whole("size", grid.size, grid.data + 1)
    if not 1e-24 <= positive("stop", grid.stop) <= 1e-8:
        raise ValueError(f"stop must be between 1e-24 and 1e-8, but it is {grid.stop}.")
