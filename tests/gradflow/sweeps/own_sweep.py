"""An experiment of one's own: descent from a small start completes a 2x2 matrix of rank one.

gradflow run own.sweep --module tests/gradflow/sweeps/own_sweep.py --quick --rates 0.1 0.05
"""

import itertools
import os
import time
from dataclasses import dataclass
from functools import cache

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.objective import Objective
from gradflow.sweeps.experiment import Experiment, Finding, Precision, Protocol, Scale
from gradflow.sweeps.job import Descent
from gradflow.sweeps.registry import register
from gradflow.sweeps.results import Results
from gradflow.trajectory import Trajectory

DEPTH, SIZE = 2, 2


@dataclass(frozen=True)
class Cell:
    """One run: everything that determines it, as plain values.

    Attributes:
      rate: learning rate.
      seed: of the start.
      steps: iterations allowed.
      stop_loss: where it stops.
      pause: seconds that the cell waits at its end.
      fault: "error" makes the cell fail, "exit" ends its process.
    """

    rate: float
    seed: int
    steps: int
    stop_loss: float
    pause: float
    fault: str


@dataclass(frozen=True)
class Grid:
    """Every rate with every seed; the last three fields show what a run does with a bad cell."""

    rates: tuple[float, ...] = (0.1, 0.05, 0.02)
    """Learning rates."""
    seeds: tuple[int, ...] = tuple(range(5))
    """Of the starts."""
    steps: int = 100_000
    """Iterations allowed."""
    stop_loss: float = 1e-12
    """Where a run stops."""
    pause: float = 0.0
    """Seconds that each cell waits at its end."""
    failing: tuple[int, ...] = ()
    """Seeds whose cells fail."""
    ending: tuple[int, ...] = ()
    """Seeds whose cells end their process."""


@cache
def objective(dtype: str) -> Objective:
    """The first row and the first column are observed, which leaves one matrix of rank one."""
    truth = np.outer([1.0, 0.5], [1.0, -0.5])
    seen = [(0, 0), (0, 1), (1, 0)]
    problem = gf.MatrixCompletion(truth.shape, seen, [truth[at] for at in seen], truth=truth)
    return gf.astype(gf.Objective(problem, gf.MatrixProduct.of(truth.shape, DEPTH)), dtype)


@register
class Sweep(Experiment):
    """The error of what is completed, by rate and seed."""

    id = "own.sweep"
    title = "completion of a 2x2 matrix of rank one, by rate and seed"
    varies = ("seed", "rate")

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        return Grid() if scale == "paper" else Grid(rates=(0.1, 0.05), seeds=(0, 1))

    def cells(self, grid: Grid) -> list[Cell]:
        for name in ("steps", "stop_loss"):
            if getattr(grid, name) <= 0:
                raise ValueError(f"{name} must be above 0, but it is {getattr(grid, name)}.")
        for rate in grid.rates:
            if rate <= 0:
                raise ValueError(f"rates must be above 0, but one is {rate}.")
        return [
            Cell(
                rate, seed, grid.steps, grid.stop_loss, grid.pause,
                "error" if seed in grid.failing else "exit" if seed in grid.ending else "",
            )
            for rate, seed in itertools.product(grid.rates, grid.seeds)
        ]  # fmt: skip

    def job(self, cell: Cell, precision: Precision) -> Descent:
        if cell.fault == "exit":
            os._exit(1)
        start = gf.factorizations.random_balanced(
            jax.random.key(cell.seed), (SIZE,) * (DEPTH + 1), std=1e-3
        )
        return Descent(
            objective=objective(precision),
            start=gf.astype(start, precision),
            optimizer=optax.sgd,
            rate=cell.rate,
            steps=cell.steps,
            stop_loss=cell.stop_loss,
            observe=("loss", "singular_values", "product"),
            keep=("final",),
        )

    def finish(self, cell: Cell, run: Trajectory) -> dict[str, float]:
        time.sleep(cell.pause)
        if cell.fault == "error":
            raise RuntimeError(f"the cell of seed {cell.seed} fails")
        product = run["product"][-1]
        truth = np.asarray(objective("float64").problem.truth)
        return {"completion_error": float(np.linalg.norm(product - truth))}

    def plot(self, results: Results) -> Figure:
        with gf.plotting.paper_style():
            figure, ax = plt.subplots(layout="constrained")
            for k, rate in enumerate(results.values("rate")):
                for j, (_, data) in enumerate(results.where(rate=rate, method="own")):
                    label = f"rate {rate:g}" if j == 0 else None
                    ax.loglog(data["time"] + 1, data["loss"], color=f"C{k}", label=label)
            ax.set(xlabel="iteration", ylabel="loss")
            ax.legend()
        return figure

    def compare(self, results: Results) -> list[Finding]:
        worst = float(results.where(method="own").table["completion_error"].max())
        return [
            Finding(
                "Descent from a small start completes the matrix of rank one",
                worst < 0.01,
                f"largest distance {worst:.2g}",
                printed=0.0,
                ours=worst,
            )
        ]
