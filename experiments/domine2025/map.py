r"""Domine et al. 2025: how far the kernel moves, over lambda and the scale of the start (ours).

Two layers, W = W_2 W_1 fully observed, W_2^T W_2 - W_1 W_1^T = lambda I, which the flow conserves;
starts of the same product W_0 at every lambda. The neural tangent kernel is W_2 W_2^T (x) I + I (x)
W_1^T W_1. The flow is integrated, the paper's exact solution (`gf.exact.riccati_flow`) beside it.
"""

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.sweeps import Finding, Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._map import findings, picture

SHAPES = {"square": (4, 4, 4), "narrow": (6, 3, 4)}
"""Inputs, hidden neurons and outputs; targets have as many singular values as neurons."""


@dataclass(frozen=True)
class Cell:
    """One flow.

    Attributes:
      shape: "square", as many neurons as inputs and outputs, or "narrow", fewer than either.
      balance: lambda.
      scale: the largest singular value of W_0.
      seed: of target and start.
      stop: at which share of the loss of W = 0 it ends.
    """

    has_flow: ClassVar[bool] = False
    shape: Literal["square", "narrow"]
    balance: float
    scale: float
    seed: int
    stop: float


@dataclass(frozen=True)
class Grid:
    """Every lambda at every scale."""

    shapes: tuple[Literal["square", "narrow"], ...] = ("square", "narrow")
    """Of the network."""
    balances: tuple[float, ...] = (
        -30.0, -10.0, -3.0, -1.0, -0.3, -0.1, 0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0
    )  # fmt: skip
    """lambda; the target's largest singular value is 1."""
    scales: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    """Largest singular values of W_0."""
    seeds: tuple[int, ...] = (0, 1)
    """Of targets and starts."""
    stop: float = 1e-10
    """The share of the loss of W = 0 where flows end."""


def _frame(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Orthonormal columns, one a hidden neuron; of square ones the determinant is 1."""
    found = np.linalg.qr(rng.normal(size=(rows, columns)))[0]
    if rows == columns:  # from lambda = 0 no flow changes the sign of the determinant
        found[:, 0] *= np.sign(np.linalg.det(found))
    return found


@cache
def objective(shape: str, seed: int) -> gf.Objective:
    """A target with singular values from 1 to 0.5."""
    rng = np.random.default_rng([2025, seed])
    inputs, hidden, outputs = SHAPES[shape]
    left, right = _frame(rng, outputs, hidden), _frame(rng, inputs, hidden)
    target = (left * np.linspace(1, 0.5, hidden)) @ right.T
    problem = gf.MatrixCompletion(target.shape, list(np.ndindex(*target.shape)), target.ravel())
    return gf.Objective(problem, gf.MatrixProduct(SHAPES[shape]))


def start(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """W_1 and W_2, lambda-balanced, whose product does not depend on lambda."""
    rng = np.random.default_rng([2025, cell.seed, 1])
    inputs, hidden, outputs = SHAPES[cell.shape]
    u, v, q = (_frame(rng, rows, hidden) for rows in (outputs, inputs, hidden))
    s = cell.scale * np.linspace(1, 0.5, hidden)
    large = np.sqrt((np.hypot(cell.balance, 2 * s) + abs(cell.balance)) / 2)
    first, second = (s / large, large) if cell.balance >= 0 else (large, s / large)
    return (q * first) @ v.T, (u * second) @ q.T


def kernel(w1: np.ndarray, w2: np.ndarray) -> np.ndarray:
    """The tangent kernel of all entries of W_2 W_1."""
    return np.kron(w2 @ w2.T, np.eye(w1.shape[1])) + np.kron(np.eye(len(w2)), w1.T @ w1)


@register
class Map(Experiment):
    """See the module's docstring."""

    id = "domine2025.map"
    title = "how far the kernel of two layers moves, over lambda and the scale of the start (ours)"
    varies: ClassVar[tuple[str, ...]] = ("balance", "scale", "seed")
    hours: ClassVar[dict[str, float]] = {"quick": 0.005, "paper": 0.018}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(balances=(-30.0, -10.0, 0.0, 1.0, 10.0, 30.0), scales=(1e-2, 1.0), seeds=(0,))

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        return [
            Cell(shape, balance, scale, seed, grid.stop)
            for shape, seed, scale, balance in itertools.product(
                grid.shapes, grid.seeds, grid.scales, grid.balances
            )
        ]

    def job(self, cell: Cell, precision: Precision) -> Flow:
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        posed = objective(cell.shape, cell.seed)
        first = float(posed.problem.loss(np.zeros(posed.problem.shape)))
        options = {
            "stop_loss": cell.stop * first,
            "rtol": 1e-10,
            "coordinates": "factors",
            "observe": ("loss", "product"),
        }
        return Flow(posed, start(cell), options)

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        begin = start(cell)
        before, after = kernel(*begin), kernel(*(np.asarray(w) for w in run.final.values()))
        sizes = np.linalg.norm(before), np.linalg.norm(after)
        # Of unit vectors half the squared distance, which keeps the digits of small ones.
        turned = np.linalg.norm(before / sizes[0] - after / sizes[1]) ** 2 / 2
        exact = gf.exact.riccati_flow(
            objective(cell.shape, cell.seed), begin, run.times[1:], observe=("loss", "product")
        )
        return {
            "turned": float(turned),
            "moved": float(np.linalg.norm(after - before) / sizes[0]),
            "off": float(np.max(np.abs(exact["product"] - run["product"]))),
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
    for shape in grid.shapes:
        if shape not in SHAPES:
            raise ValueError(f"shapes must be among {', '.join(SHAPES)}, but one is {shape!r}.")
    for balance in grid.balances:
        if not abs(balance) <= 1e3:
            raise ValueError(f"balances must be between -1000 and 1000, but one is {balance}.")
    for scale in grid.scales:
        if not 1e-8 <= positive("scales", scale) <= 1e2:
            raise ValueError(f"scales must be between 1e-8 and 100, but one is {scale}.")
    for seed in grid.seeds:
        whole("seeds", seed, 0)
    if not 1e-20 <= positive("stop", grid.stop) <= 1e-4:
        raise ValueError(f"stop must be between 1e-20 and 1e-4, but it is {grid.stop}.")
