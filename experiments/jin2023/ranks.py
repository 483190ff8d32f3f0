r"""Jin et al. 2023: ranks one after the other, over the scale of a small random start (ours).

W = U U^T is sensed by Gaussian measurements, fewer than its entries; the truth has rank 3. From a
small random start the flow passes the best fit of rank 1, then that of rank 2, and so on to the
truth, the nearer the smaller the start is; with fewer columns than the truth's rank it ends in the
best fit of that rank. The least error along a run falls with the start too, which li2018 and
stoger2021 show for recovery. Problems and sizes are ours; the papers run gradient descent.
"""

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import diffrax
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.sweeps import Finding, Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._ranks import findings, picture

VALUES = (1.0, 0.4, 0.16)
"""Of the truth's eigenvalues."""
SLOPE = 1e-8
"""What may be left of a gradient at a best fit, whose norm and curvature are of order 1."""


@dataclass(frozen=True)
class Cell:
    """One flow.

    Attributes:
      alpha: the scale of the start; entries of U have the variance alpha^2 / size.
      columns: of U.
      seed: of measurements, truth and start.
      size: rows of W.
      measurements: how many.
      records: how many, at equal distances.
    """

    has_flow: ClassVar[bool] = False
    alpha: float
    columns: int
    seed: int
    size: int
    measurements: int
    records: int


@dataclass(frozen=True)
class Grid:
    """Every scale with as many columns as rows, and with fewer than the truth's rank."""

    alphas: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    """Scales of the start."""
    columns: tuple[int, ...] = (16, 2)
    """Of U."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of measurements, truths and starts."""
    size: int = 16
    """Rows of W, of which size (size + 1) / 2 entries are free."""
    measurements: int = 110
    """How many."""
    records: int = 600
    """Records of a flow."""


@cache
def sensing(seed: int, size: int, measurements: int) -> tuple[gf.MatrixSensing, np.ndarray]:
    """Symmetric Gaussian measurements that keep norms in the mean; the best fits of rank 1 to 3."""
    rng = np.random.default_rng([2023, seed])
    a = rng.normal(size=(measurements, size, size))
    a = (a + a.transpose(0, 2, 1)) / 2 / measurements**0.5
    frame = np.linalg.qr(rng.normal(size=(size, len(VALUES))))[0]
    truth = (frame * np.array(VALUES)) @ frame.T
    y = np.einsum("iab,ab->i", a, truth)
    fits = [best_fit(a, y, frame[:, :s] * np.sqrt(VALUES[:s])) for s in range(1, len(VALUES))]
    return gf.MatrixSensing(a, y, truth=truth), np.array([*fits, truth])


def best_fit(a: np.ndarray, y: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The least squares among U U^T with as many columns as `first`, where the search begins.

    Raises:
      ValueError: if it does not come to a stationary point.
    """
    shape = first.shape

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        u = flat.reshape(shape)
        residual = np.einsum("iab,ab->i", a, u @ u.T) - y
        return float(residual @ residual) / 2, 2 * np.tensordot(residual, a @ u, 1).ravel()

    found = minimize(loss, first.ravel(), jac=True, method="BFGS", options={"gtol": SLOPE / 100})
    if np.max(np.abs(loss(found.x)[1])) > SLOPE:  # BFGS says that it lost precision below 1e-9
        raise ValueError(f"No best fit of rank {shape[1]} was found; ask for more measurements.")
    u = found.x.reshape(shape)
    return u @ u.T


@cache
def objective(seed: int, size: int, measurements: int, columns: int) -> gf.Objective:
    """Of a cell."""
    return gf.Objective(sensing(seed, size, measurements)[0], gf.SymmetricProduct(size, columns))


def start(cell: Cell) -> tuple[np.ndarray]:
    """The same directions at every scale."""
    rng = np.random.default_rng([2023, cell.seed, 1])
    drawn = rng.normal(size=(cell.size, cell.size))[:, : cell.columns]
    return (cell.alpha * drawn / cell.size**0.5,)


@register
class Ranks(Experiment):
    """See the module's docstring."""

    id = "jin2023.ranks"
    title = "best fits of rank 1, 2, ... that sensing passes, over the scale of the start (ours)"
    varies: ClassVar[tuple[str, ...]] = ("alpha", "seed")
    hours: ClassVar[dict[str, float]] = {"quick": 0.003, "paper": 0.006}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(alphas=(1e-1, 1e-3, 1e-5), seeds=(0,), records=200)

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        return [
            Cell(alpha, columns, seed, grid.size, grid.measurements, grid.records)
            for columns, seed, alpha in itertools.product(grid.columns, grid.seeds, grid.alphas)
        ]

    def job(self, cell: Cell, precision: Precision) -> Flow:
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        posed = objective(cell.seed, cell.size, cell.measurements, cell.columns)
        # The weakest mode of U grows at the rate 2 s: twice its time, more where ends count.
        more = 15 if cell.columns >= len(VALUES) else 30
        last = (np.log(1 / cell.alpha) + more) / VALUES[-1]
        options = {
            "record": np.linspace(0, last, cell.records + 1)[1:],
            "rtol": 1e-10,
            "solver": diffrax.Dopri8(),  # follows what is small to its own digits
            "observe": ("loss", "product"),
        }
        return Flow(posed, start(cell), options)

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        _, fits = sensing(cell.seed, cell.size, cell.measurements)
        gaps = np.asarray(run["product"])[:, None] - fits
        off = np.linalg.norm(gaps, axis=(2, 3)) / np.linalg.norm(fits, axis=(1, 2))
        nearest = np.argmin(off, axis=0)
        return {
            "step": run.times,
            "off": off,
            "nearest": off[nearest, np.arange(len(fits))],
            "when": run.times[nearest],
            "end": off[-1],
        }

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
        if not 1e-10 <= positive("alphas", alpha) <= 1:
            raise ValueError(f"alphas must be between 1e-10 and 1, but one is {alpha}.")
    whole("size", grid.size, len(VALUES) + 1, 30)
    for columns in grid.columns:
        whole("columns", columns, 1, grid.size)
    for seed in grid.seeds:
        whole("seeds", seed, 0)
    whole("measurements", grid.measurements, len(VALUES) * grid.size)
    whole("records", grid.records, 50)
