"""What Figures 1, 4 and 5 of razin2020 share: the norm blow-up problem, its starts, its picture."""

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm

import gradflow as gf
from gradflow.descent.records import log_marks
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.sweeps import Descent
from gradflow.sweeps.experiment import Experiment, Precision

from .._pace import torch_step

STEPS = 5_000_000
STOP_LOSS = 1e-4


@dataclass(frozen=True)
class Cell:
    """One run of gradient descent.

    Attributes:
      depth: number of factors.
      rate: learning rate.
      scale: standard deviation of the initial product's entries.
      balanced: balanced start, or every factor Gaussian by itself.
      seed: of the start.
      steps: iterations allowed.
      stop_loss: where it stops.
      rows: of the matrix.
      columns: of the matrix.
      unobserved: the position of the unobserved entry, counted from 0.
      z: the observed entry beside it in its row.
      z_prime: the observed entry beside it in its column.
      epsilon: the observed entry diagonally opposite.
    """

    depth: int
    rate: float
    scale: float
    balanced: bool
    seed: int
    steps: int = STEPS
    stop_loss: float = STOP_LOSS
    rows: int = 2
    columns: int = 2
    unobserved: tuple[int, int] = (0, 0)
    z: float = 1.0
    z_prime: float = 1.0
    epsilon: float = 0.0


@cache
def objective(cell_problem: tuple[Any, ...], depth: int, dtype: str) -> Objective:
    """The same object for cells that share the problem."""
    shape, unobserved, z, z_prime, epsilon = cell_problem
    problem = gf.synthetic.norm_blowup(z, z_prime, epsilon, unobserved, shape)
    return gf.astype(gf.Objective(problem, gf.MatrixProduct.of(shape, depth)), dtype)


def wanted_sign(cell: Cell) -> int:
    """The sign of the starting determinant under which the unobserved entry has to grow.

    It is that of z z' if the unobserved entry lies on the diagonal, else the opposite: 1 in Figures
    1 and 4, -1 in Figure 5.

    References:
      razin2020, Theorem 2 and Footnote 16.
    """
    diagonal = cell.unobserved[0] == cell.unobserved[1]
    return 1 if (cell.z * cell.z_prime > 0) == diagonal else -1


def guarantee(cell: Cell, loss: Any) -> np.ndarray:
    r"""What the balanced flow promises at 2x2: a lower bound of the absolute unobserved entry.

    (|z| - r) (|z'| - r) / (|epsilon| + r) with r = sqrt(2 loss); NaN where r reaches |z| or |z'|.

    Args:
      cell: gives z, z' and epsilon.
      loss: any shape.

    References:
      razin2020, Lemma 25.
    """
    root = np.sqrt(2 * np.asarray(loss, float))
    left, right = abs(cell.z) - root, abs(cell.z_prime) - root
    bound = left * right / (abs(cell.epsilon) + root)
    return np.where(np.minimum(left, right) > 0, bound, np.nan)


def start(cell: Cell) -> Factors:
    """Random factors, redrawn until the determinant has the sign of the theorem.

    In a rectangular matrix the determinant is that of the upper left square block, and what exceeds
    that block is zero.

    References:
      razin2020, Appendix F.2.1.
    """
    sizes = gf.MatrixProduct.of((cell.rows, cell.columns), cell.depth).sizes
    square = min(cell.rows, cell.columns)
    wanted = wanted_sign(cell)
    for attempt in range(200):
        key = jax.random.fold_in(jax.random.key(cell.seed), attempt)
        if cell.balanced:
            drawn = cell.scale * jax.random.normal(key, (cell.rows, cell.columns))
            inside = jnp.zeros_like(drawn).at[:square, :square].set(drawn[:square, :square])
            factors = gf.factorizations.balanced_factors(inside, sizes)
        else:
            drawn = list(gf.factorizations.gaussian_factors(key, sizes, product_std=cell.scale))
            drawn[-1] = drawn[-1].at[square:].set(0.0)
            drawn[0] = drawn[0].at[:, square:].set(0.0)
            factors = tuple(drawn)
        product = np.asarray(gf.MatrixProduct(sizes).product(factors))
        # The determinant itself may underflow.
        if np.linalg.slogdet(product[:square, :square])[0] == wanted:
            return factors
    raise RuntimeError(f"No start of sign {wanted:+d} in 200 draws for {cell}.")


def descent(cell: Cell, precision: Precision) -> Descent:
    """Plain gradient descent, recorded 100 times a decade; the product too if it is rectangular.

    The rise takes a small part of the decade it falls into, hence so many records.
    """
    check(cell)
    problem = ((cell.rows, cell.columns), cell.unobserved, cell.z, cell.z_prime, cell.epsilon)
    marks = log_marks(cell.steps, 100)
    return Descent(
        objective=objective(problem, cell.depth, precision),
        start=gf.astype(start(cell), precision),
        optimizer=optax.sgd,
        rate=cell.rate,
        steps=cell.steps,
        stop_loss=cell.stop_loss,
        record=marks,
        observe=(
            "loss",
            "unobserved_entries",
            "singular_values",
            *(("product",) if cell.rows != cell.columns else ()),
        ),
    )


class Blowup(Experiment):
    """The half that the three figures share: their cells' runs, in one store."""

    family = "razin2020.blowup"
    varies = ("seed", "rate", "scale", "balanced")

    def cells(self, grid: Any) -> list[Cell]:
        found = list(self.expand(grid))
        for cell in found:
            check(cell)
        return found

    @abc.abstractmethod
    def expand(self, grid: Any) -> Iterable[Cell]:
        """The grid's cells, not checked yet."""

    def job(self, cell: Cell, precision: Precision) -> Descent:
        return descent(cell, precision)

    def their_step(self, cell: Cell) -> float | None:
        """Measured at 2x2 alone."""
        return torch_step(2, cell.depth) if (cell.rows, cell.columns) == (2, 2) else None


def check(cell: Cell) -> None:
    """Refuse a cell that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    for name, low in (("depth", 2), ("steps", 1), ("rows", 2), ("columns", 2)):
        if getattr(cell, name) < low:
            raise ValueError(f"{name} must be at least {low}, but it is {getattr(cell, name)}.")
    for name in ("rate", "scale", "stop_loss"):
        if not 0 < getattr(cell, name) < np.inf:
            raise ValueError(f"{name} must be above 0, but it is {getattr(cell, name)}.")
    for name in ("z", "z_prime"):
        if getattr(cell, name) == 0 or not np.isfinite(getattr(cell, name)):
            raise ValueError(f"{name} must be finite and not 0, but it is {getattr(cell, name)}.")
    if not np.isfinite(cell.epsilon):
        raise ValueError(f"epsilon must be finite, but it is {cell.epsilon}.")
    if not set(cell.unobserved) <= {0, 1}:
        raise ValueError(
            f"unobserved must lie in the upper left 2x2 block, counted from 0, but it is "
            f"{cell.unobserved}."
        )


def entry_and_loss(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The absolute unobserved entry and the loss at the records."""
    return np.abs(data["unobserved_entries"].to_numpy()[:, 0]), data["loss"].to_numpy()


def entry_at(data: xr.Dataset, level: float) -> float:
    """The absolute unobserved entry where the loss first falls to a level; NaN if it never does."""
    entry, loss = entry_and_loss(data)
    below = np.flatnonzero(loss <= level)
    if below.size == 0 or below[0] == 0:
        return float("nan")
    k = below[0]
    share = np.log(loss[k - 1] / level) / np.log(loss[k - 1] / loss[k])
    return float(entry[k - 1] ** (1 - share) * entry[k] ** share)


LEVELS = np.geomspace(0.6, STOP_LOSS, 100)
"""Losses at which runs are compared: from where all have left their starts."""


def entries(data: xr.Dataset) -> np.ndarray:
    """The absolute unobserved entry where the loss first falls to each of `LEVELS`."""
    return np.array([entry_at(data, level) for level in LEVELS])


def common_curve(runs: Iterable[xr.Dataset]) -> np.ndarray:
    """The largest entry of all runs at each of `LEVELS`: what they follow until they leave it."""
    table = np.array([entries(data) for data in runs])
    return np.max(np.where(np.isfinite(table), table, -np.inf), axis=0)


def follows(data: xr.Dataset, curve: np.ndarray, level: float, share: float = 0.9) -> bool:
    """Whether a run is above a share of the common curve at all `LEVELS` down to a level."""
    upper = level <= LEVELS
    return bool(np.all(entries(data)[upper] >= share * curve[upper]))


def leaves_at(data: xr.Dataset, curve: np.ndarray, share: float = 0.9) -> float:
    """The loss from which on a run stays below a share of the common curve.

    NaN if it never does, infinity if it is never above.
    """
    found = entries(data)
    reached = np.flatnonzero(np.isfinite(found))
    on = np.flatnonzero(found >= share * curve)
    if on.size == 0:
        return float("inf")
    return float("nan") if on[-1] == reached[-1] else float(LEVELS[on[-1]])


def draw(
    ax: Axes,
    cells: Iterable[tuple[xr.Dataset, str]],
    last: int,
    marks: Sequence[float] = (),
) -> LineCollection:
    """Entry against loss, colour = iteration (log), one line a run, the end marked.

    Args:
      ax: where.
      cells: each run with its marker.
      last: the largest iteration, for the colours.
      marks: losses where the marker stands too.
    """
    # Three decades: before, next to nothing moves.
    norm, lines = LogNorm(max(1.0, last / 1000), last), None
    colours: Any = colormaps["viridis"].with_extremes(under=colormaps["viridis"](0.0))
    colours.colorbar_extend = "min"
    for data, marker in cells:
        entry, loss = entry_and_loss(data)
        times = np.maximum(data["time"].to_numpy(), 1)
        points = np.stack([loss, entry], axis=1)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        lines = LineCollection(list(segments), cmap=colours, norm=norm, linewidths=1.0, alpha=0.8)
        lines.set_array(times[1:])
        ax.add_collection(lines)
        at = [*marks, loss[-1]]
        seen = [*(entry_at(data, level) for level in marks), entry[-1]]
        ax.plot(at, seen, marker, ms=4, mfc="none", mec="black", mew=0.7)
    ax.set(xscale="log", yscale="log", xlabel=r"loss $\ell$")
    ax.invert_xaxis()
    assert lines is not None
    return lines
