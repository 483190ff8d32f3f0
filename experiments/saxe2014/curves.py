r"""saxe2014: learning curves of a two-layer linear network on items of a binary tree.

Inputs are whitened, which leaves 1/2 ||Sigma - W_2 W_1||_F^2. The right singular vectors of Sigma
are the splits of the tree, broad ones first, the left ones directions of features; the strength of
a mode is a_r = u_r^T W v_r. Exact flows and descents at a small rate from small random starts, and
flows from decoupled ones, beside the paper's a(t) and its half-rise time ln(s / a_0 - 1) / (2 s).
"""

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.sweeps import Descent, Finding, Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale
from gradflow.sweeps.job import Job

from ._curves import findings, picture

Kind = Literal["decoupled", "flow", "descent"]


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
      kind: the flow from a decoupled start, or flow or descent from a random one.
      strengths: singular values of Sigma.
      outputs: features.
      hidden: neurons.
      std: standard deviation of a random start's weights; a decoupled one has the mean strength of
        such in every mode.
      seed: of the random start.
      horizon: the last time.
      rate: of the descent.
      records: how many.
    """

    has_flow: ClassVar[bool] = False
    kind: Kind
    strengths: tuple[float, ...]
    outputs: int
    hidden: int
    std: float
    seed: int
    horizon: float
    rate: float
    records: int


@dataclass(frozen=True)
class Grid:
    """Scales and seeds of the starts; the paper's text prints no table of its data."""

    strengths: tuple[float, ...] = (4.0, 2.8, 2.0, 1.7, 1.3, 1.1, 0.9, 0.75)
    """Singular values of Sigma, falling, as many as there are items: 2, 4, 8, ..."""
    outputs: int = 12
    """Features."""
    hidden: int = 16
    """Neurons."""
    stds: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-6)
    """Standard deviations of the start's weights."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the starts."""
    rate: float = 5e-3
    """Learning rate."""
    records: int = 240
    """Records of a run."""


@cache
def frames(items: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """U, any orthonormal columns, and V, what all items share and then the splits of a tree.

    Returns:
      (outputs, items) and (items, items), both with orthonormal columns.
    """
    u = np.linalg.qr(np.random.default_rng(2014).normal(size=(outputs, items)))[0]
    splits = [np.ones(items)]
    width = items
    while width > 1:
        for at in range(0, items, width):
            split = np.zeros(items)
            split[at : at + width // 2], split[at + width // 2 : at + width] = 1, -1
            splits.append(split)
        width //= 2
    v = np.array(splits).T
    return u, v / np.linalg.norm(v, axis=0)


@cache
def _objective(strengths: tuple[float, ...], outputs: int, hidden: int) -> gf.Objective:
    u, v = frames(len(strengths), outputs)
    sigma = (u * np.array(strengths)) @ v.T
    problem = gf.MatrixCompletion(sigma.shape, list(np.ndindex(*sigma.shape)), sigma.ravel())
    return gf.Objective(problem, gf.MatrixProduct((len(strengths), hidden, outputs)))


def mean_strength(std: float, hidden: int) -> float:
    """What |(W_2^T u + W_1 v) / 2|^2 is on average."""
    return hidden * std**2 / 2


def start(cell: Cell) -> tuple[Any, ...]:
    """The factors of a cell's start."""
    u, v = frames(len(cell.strengths), cell.outputs)
    if cell.kind != "decoupled":
        objective = _objective(cell.strengths, cell.outputs, cell.hidden)
        return objective.factorization.gaussian(jax.random.key(cell.seed), std=cell.std)
    root = np.sqrt(mean_strength(cell.std, cell.hidden))
    drawn = np.random.default_rng(cell.seed).normal(size=(cell.hidden, len(v)))
    inner = np.linalg.qr(drawn)[0]
    return root * inner @ v.T, root * u @ inner.T


def begun(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Of each mode at the start: |p|^2 with p = (W_2^T u + W_1 v) / 2, and that of its remainder.

    The remainder is what stands at right angles to the p of stronger modes, which take the neurons
    that they share.
    """
    u, v = frames(len(cell.strengths), cell.outputs)
    first, second = (np.asarray(w) for w in start(cell))
    along = (second.T @ u + first @ v) / 2
    return np.sum(along**2, axis=0), np.diag(np.linalg.qr(along)[1]) ** 2


def half_rise(times: np.ndarray, strengths: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """When each column is half of its end, by straight lines through ln(a / (s - a))."""
    found = []
    for a, s in zip(strengths.T, ends, strict=True):
        above = a > s / 2
        k = int(np.argmax(above))
        if not above.any() or k == 0 or a[k - 1] <= 0 or a[k] >= s:
            found.append(np.nan)
            continue
        low, high = np.log(a[k - 1 : k + 1] / (s - a[k - 1 : k + 1]))
        found.append(times[k - 1] - low * (times[k] - times[k - 1]) / (high - low))
    return np.array(found)


@register
class Curves(Experiment):
    """See the module's docstring."""

    id = "saxe2014.curves"
    title = "learning curves of a two-layer linear network: modes rise one after the other"
    hours: ClassVar[dict[str, float]] = {"quick": 0.006, "paper": 0.007}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(strengths=(4.0, 2.4, 1.5, 1.0), outputs=5, hidden=6, stds=(1e-2, 1e-4),
                    seeds=(0, 1), records=80)  # fmt: skip

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        found = []
        for kind, std, seed in itertools.product(
            ("decoupled", "flow", "descent"), grid.stds, grid.seeds
        ):
            s = grid.strengths[-1]
            # Random starts are later than decoupled ones by some units of 1 / s.
            late = np.log(s / mean_strength(std, grid.hidden)) / (2 * s) + 5 / s
            horizon = float(np.ceil(late))
            of = 0 if kind == "decoupled" else seed
            found.append(Cell(kind, grid.strengths, grid.outputs, grid.hidden, std, of, horizon,
                              grid.rate, grid.records))  # fmt: skip
        return list(dict.fromkeys(found))

    def job(self, cell: Cell, precision: Precision) -> Job:
        objective = _objective(cell.strengths, cell.outputs, cell.hidden)
        if cell.kind == "descent":
            steps = int(np.ceil(cell.horizon / cell.rate))
            marks = np.unique(np.linspace(1, steps, cell.records).astype(int))
            return Descent(
                objective=gf.astype(objective, precision),
                start=gf.astype(start(cell), precision),
                optimizer=gf.optimizers.gd,
                rate=cell.rate,
                steps=steps,
                record=marks,
                observe=("loss", "product"),
            )
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        options = {
            "record": np.linspace(0, cell.horizon, cell.records + 1)[1:],
            "coordinates": "factors",
            "rtol": 1e-12 if cell.kind == "decoupled" else 1e-9,
            "observe": ("loss", "product"),
        }
        return Flow(objective, start(cell), options)

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        u, v = frames(len(cell.strengths), cell.outputs)
        ends = np.array(cell.strengths)
        a = np.einsum("ir,tij,jr->tr", u, np.asarray(run["product"], float), v)
        clock = np.asarray(run.times, float) * (cell.rate if cell.kind == "descent" else 1.0)
        plain, rest = begun(cell)
        numbers: dict[str, Any] = {
            "strength": a,
            "clock": clock,
            "half_times": half_rise(clock, a, ends),
            "law": gf.exact.time_to_share(0.5, plain, ends, depth=2),
            "law_of_rest": gf.exact.time_to_share(0.5, rest, ends, depth=2),
        }
        if cell.kind == "decoupled":
            formula = gf.exact.singular_value_flow(clock[:, None], plain, ends, depth=2)
            numbers["formula_error"] = np.max(np.abs(a - formula) / ends)
        return numbers

    def plot(self, results: Results) -> Figure:
        return picture(results)

    def compare(self, results: Results) -> list[Finding]:
        return findings(results)


def check(grid: Grid) -> None:
    """Refuse a grid that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    s = grid.strengths
    for value in s:
        positive("strengths", value)
    if len(s) < 2 or len(s) & (len(s) - 1) or np.any(np.diff(s) >= 0):
        raise ValueError(
            f"strengths must fall, and be 2, 4, 8, ... as the leaves of a binary tree, but they "
            f"are {s}."
        )
    whole("outputs", grid.outputs, len(s))
    whole("hidden", grid.hidden, len(s))
    whole("records", grid.records, 20)
    if not 0 < grid.rate * s[0] <= 0.5:
        raise ValueError(
            f"rate must be above 0 and at most {0.5 / s[0]:g}, 0.5 over the largest strength, so "
            f"that descents are near the flow, but it is {grid.rate}."
        )
    for std in grid.stds:
        largest = s[-1] / grid.hidden
        if not 0 < mean_strength(std, grid.hidden) < largest:
            raise ValueError(
                f"stds must be above 0 and so small that every mode starts below half of its "
                f"strength, at most {np.sqrt(2 * largest / grid.hidden):.3g}, but one is {std}."
            )
