r"""Pesme and Flammarion 2023: jumps of diagonal networks, over the scale of the start (ours).

beta = w_+^2 - w_-^2 on least squares. For alpha -> 0, in time over ln(1/alpha), the flow waits at
saddles and jumps between them at times that an algorithm gives; entries may leave again; the end
has the least l1 norm. Flows from w_+ = w_- = alpha^(1/2), so that alpha is the scale of beta, in
their dual, beside `gradflow.saddle_path`. Problems and units are ours: the paper's alpha^2 is 2
alpha here.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.sweeps import Computation, Finding, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._flow import follow
from ._jumps import findings, picture

LEAVING = 0
"""The seed that stands for the problem where an entry leaves."""
APART = 0.15
"""Of the last jump's time: jumps of random problems are at least so far apart."""
TINY = 1e-9
"""Entries of a saddle below this share of the largest are 0."""


@dataclass(frozen=True)
class Cell:
    """One flow.

    Attributes:
      alpha: the scale of beta at the start.
      seed: of the problem; 0 for the one where an entry leaves.
      data: of a random problem.
      size: entries of beta, of a random problem.
      records: how many.
    """

    has_flow: ClassVar[bool] = False
    alpha: float
    seed: int
    data: int
    size: int
    records: int


@dataclass(frozen=True)
class Grid:
    """Every problem at every scale."""

    alphas: tuple[float, ...] = (1e-12, 1e-18, 1e-24, 1e-30, 1e-40, 1e-50, 1e-60)
    """Scales of beta at the start."""
    seeds: tuple[int, ...] = (LEAVING, 1, 2, 3, 4)
    """Of the problems; 0 for the one where an entry leaves."""
    data: int = 4
    """Rows of X, Gaussian."""
    size: int = 8
    """Entries of beta."""
    records: int = 400
    """Records of a flow."""


@cache
def problem(seed: int, data: int, size: int) -> tuple[gf.LeastSquares, gf.SaddlePath]:
    """A regression and its path: the fixed one, or the first drawn with plateaus of some length."""
    if seed == LEAVING:
        rows = [[1, 3, 1, 0, -2], [1, 1, 0, -3, -2], [-2, 3, 3, -3, 0]]
        posed = gf.LeastSquares(np.array(rows, float), [1.0, 3.0, -3.0])
        return posed, path_of(posed, constants=True)
    rng = np.random.default_rng([2023, seed])
    for _ in range(1000):
        posed = gf.LeastSquares(rng.normal(size=(data, size)), rng.normal(size=data))
        quick = path_of(posed, constants=False)
        gaps = np.diff(quick.taus, prepend=0.0)
        if quick.determined and len(gaps) > 1 and np.min(gaps) >= APART * quick.taus[-1]:
            return posed, path_of(posed, constants=True)
    raise ValueError(
        f"None of 1000 problems of {data} data and {size} entries has plateaus of "
        f"{APART:g} of the whole; ask for fewer data."
    )


def path_of(posed: gf.LeastSquares, *, constants: bool) -> gf.SaddlePath:
    """The limit of a problem's flows."""
    model = gf.DiagonalNetwork(posed.shape[0], 2)
    objective = gf.Objective(posed, model)
    return gf.saddle_path(objective, model.identity(1.0), constants=constants)


def run(cell: Cell) -> Mapping[str, Any]:
    """A flow beside the path."""
    posed, path = problem(cell.seed, cell.data, cell.size)
    seen = follow(posed, path, cell.alpha, cell.records, rtol=1e-9)
    saddles = path.products
    scale = float(np.max(np.abs(saddles)))
    least = gf.exact.minimum_l1_norm(posed).value
    unit = path.clock(cell.alpha)
    there = np.abs(saddles) > TINY * scale
    smallest = np.min(np.where(there, np.abs(saddles), scale), axis=1, keepdims=True)
    here = np.abs(seen.middles) > smallest / 2
    return {
        "tau": seen.times / unit,
        "beta": seen.beta,
        "loss": seen.loss,
        "jump_taus": seen.jumps / unit,
        "jump_errors": np.abs(seen.jumps - path.times(cell.alpha)),
        "predicted_errors": path.predicted_error(cell.alpha),
        "path_taus": path.taus,
        "path_products": saddles,
        "path_losses": path.losses,
        "at_saddles": np.max(np.abs(seen.middles - saddles), axis=1) / scale,
        "same_support": np.all(here == there, axis=1).astype(float),
        "leaves": float(np.any(there[:-1] & ~there[1:])),
        "excess_l1": float(np.sum(np.abs(seen.middles[-1])) / least - 1),
        "path_excess_l1": float(np.sum(np.abs(saddles[-1])) / least - 1),
    }


@register
class Jumps(Experiment):
    """See the module's docstring."""

    id = "pesme2023.jumps"
    title = "saddles and jump times of a diagonal network over the scale of its start (ours)"
    varies: ClassVar[tuple[str, ...]] = ("alpha", "seed")
    hours: ClassVar[dict[str, float]] = {"quick": 0.005, "paper": 0.016}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(alphas=(1e-12, 1e-30, 1e-60), seeds=(LEAVING,))

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        return [
            Cell(alpha, seed, grid.data, grid.size, grid.records)
            for seed, alpha in itertools.product(grid.seeds, grid.alphas)
        ]

    def job(self, cell: Cell, precision: Precision) -> Computation:
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        return Computation(lambda: run(cell))

    def plot(self, results: Results) -> Figure:
        return picture(results)

    def compare(self, results: Results) -> list[Finding]:
        return findings(results)


def check(grid: Grid) -> None:
    """Refuse a grid that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    for alpha in grid.alphas:
        if not 1e-100 <= positive("alphas", alpha) <= 1e-3:
            raise ValueError(f"alphas must be between 1e-100 and 1e-3, but one is {alpha}.")
    for seed in grid.seeds:
        whole("seeds", seed, LEAVING)
    whole("data", grid.data, 2)
    whole("size", grid.size, grid.data + 1)
    whole("records", grid.records, 20)
