"""What Figures 1, 2, 4 and 5 of arora2019 share: recovery of a low-rank matrix, cell by cell.

The same matrix and the same observations for all runs; three starts differ in their seed alone.
Under the protocol "code" the truth has Frobenius norm d, the loss is the mean, and the rate adapts
to the gradient's norm; under "paper" the truth is U V^T as drawn, the loss half the sum of squares,
and the rate is fixed.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

import gradflow as gf
from gradflow import baselines, optimizers
from gradflow.descent.records import log_marks
from gradflow.factorizations.base import Factors
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sensing import MatrixSensing
from gradflow.state import State
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale
from gradflow.sweeps.job import Computation, Descent, Job

from .._pace import torch_step

_TRUTH_SEED = 0


@dataclass(frozen=True)
class Task:
    """What is to be recovered from what.

    Attributes:
      size: d, of a d x d matrix.
      rank: of the truth.
      observations: entries or measurements.
      sensing: Gaussian measurements instead of entries.
      protocol: decides the scale of the truth, of the measurements and the loss.
    """

    size: int
    rank: int
    observations: int
    sensing: bool
    protocol: Protocol


@dataclass(frozen=True)
class Cell:
    """One descent.

    Attributes:
      task: what is to be recovered.
      depth: number of factors.
      rate: learning rate.
      norm: expected Frobenius norm of the initial product.
      seed: of the start.
      steps: iterations allowed.
      stop_loss: where it stops.
    """

    task: Task
    depth: int
    rate: float
    norm: float
    seed: int
    steps: int
    stop_loss: float


@dataclass(frozen=True)
class Baseline:
    """The solution of least nuclear norm."""

    task: Task
    has_flow: bool = False


@dataclass(frozen=True)
class Grid:
    """All depths with all rates, initial norms, observations and seeds."""

    depths: tuple[int, ...] = (2, 3, 4)
    """Numbers of factors."""
    rates: tuple[float, ...] = (1e-3, 3e-4)
    """Learning rates; the first is the one that Figures 2 and 5 show."""
    norms: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5)
    """Expected Frobenius norms of the initial product."""
    observations: tuple[int, ...] = (2000, 5000)
    """Observed entries, or measurements."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the starts."""
    size: int = 100
    """d, of the d x d matrix and of all its factors."""
    rank: int = 5
    """Of the ground truth."""
    steps: int = 1_000_000
    """Iterations allowed."""
    protocol: Protocol = "paper"
    """Scale of truth and measurements, loss and rate as in the paper or as in the authors' code."""


def grid(scale: Scale, protocol: Protocol) -> Grid:
    """The paper's grid, or 30 x 30 matrices of rank 2 with as many observations for their size."""
    if scale == "paper":
        return Grid(protocol=protocol)
    return Grid(
        rates=(1e-3,), norms=(1e-2, 1e-4), observations=(240, 700), seeds=(0,), size=30, rank=2,
        steps=100_000, protocol=protocol,
    )  # fmt: skip


def cells(grid: Grid, sensing: bool) -> list[Any]:
    """The descents, and a baseline for each number of observations.

    Raises:
      ValueError: on a value out of range.
    """
    for name in ("rates", "norms"):
        if not all(value > 0 for value in getattr(grid, name)):
            raise ValueError(f"{name} must be above 0, but they are {getattr(grid, name)}.")
    if min(grid.depths, default=1) < 1:
        raise ValueError(f"depths must be at least 1, but they are {grid.depths}.")
    entries = grid.size**2
    if not all(1 <= m <= entries for m in grid.observations):
        raise ValueError(
            f"observations must be between 1 and {entries}, but they are {grid.observations}."
        )
    if not 1 <= grid.rank <= grid.size:
        raise ValueError(f"rank must be between 1 and {grid.size}, but it is {grid.rank}.")
    if grid.steps < 1:
        raise ValueError(f"steps must be at least 1, but it is {grid.steps}.")
    found: list[Any] = []
    for m in grid.observations:
        task = Task(grid.size, grid.rank, m, sensing, grid.protocol)
        found.append(Baseline(task))
        found += [
            Cell(task, depth, rate, norm, seed, grid.steps, 1e-6)
            for depth, rate, norm, seed in itertools.product(
                grid.depths, grid.rates, grid.norms, grid.seeds
            )
        ]
    return found


@cache
def problem(task: Task, precision: Precision) -> MatrixCompletion | MatrixSensing:
    """The same object for cells that share the data; one truth for all numbers of observations."""
    code = task.protocol == "code"
    of_truth, of_data = jax.random.split(jax.random.key(_TRUTH_SEED))
    shape = (task.size, task.size)
    truth = gf.synthetic.low_rank_matrix(
        of_truth, shape, task.rank, float(task.size) if code else None
    )
    loss = "mean" if code else "half_sum"
    if task.sensing:
        std = 1 / task.size if code else 1.0
        a = gf.synthetic.gaussian_measurements(of_data, task.observations, shape, std)
        labels = jnp.einsum("kij,ij->k", a, truth)
        return gf.astype(MatrixSensing(a, labels, loss=loss, truth=truth), precision)
    where = gf.synthetic.sample_entries(of_data, shape, task.observations)
    values = truth[where[:, 0], where[:, 1]]
    made = MatrixCompletion(shape, where, values, loss=loss, truth=truth)
    return gf.astype(made, precision)


@cache
def _objective(task: Task, depth: int, precision: Precision) -> gf.Objective:
    model = gf.MatrixProduct.of((task.size, task.size), depth)
    return gf.Objective(problem(task, precision), model)


def start(size: int, depth: int, norm: float, seed: int) -> Factors:
    """Independent Gaussian weights; drawn again while the product's norm is off by above 20%.

    The expected squared norm of the product is norm^2, so that its entries' standard deviation is
    norm / d.

    References:
      arora2019, Appendix D.2.
    """
    model = gf.MatrixProduct.of((size, size), depth)
    for attempt in range(1000):
        key = jax.random.fold_in(jax.random.key(seed), attempt)
        factors = model.gaussian(key, product_std=norm / size)
        if abs(float(jnp.linalg.norm(model.product(factors))) / norm - 1) <= 0.2:
            return factors
    raise RuntimeError(
        f"No start within 20% of norm {norm} in 1000 draws at size {size}, depth {depth}."
    )


def nuclear_norm(state: State) -> jax.Array:
    """The product's nuclear norm."""
    return jnp.sum(state.singular_values)


OBSERVE = {
    "loss": gf.observables.loss,
    "test_error": gf.observables.test_error,
    "nuclear_norm": nuclear_norm,
    "effective_rank": gf.observables.effective_rank,
}


def job(cell: Any, precision: Precision) -> Job:
    """Descent from a small start, or the baseline."""
    if isinstance(cell, Baseline):
        return Computation(_Least(cell.task))
    rule = optimizers.group_rmsprop if cell.task.protocol == "code" else optax.sgd
    marks = log_marks(cell.steps, 20)
    return Descent(
        objective=_objective(cell.task, cell.depth, precision),
        start=gf.astype(start(cell.task.size, cell.depth, cell.norm, cell.seed), precision),
        optimizer=rule,
        rate=cell.rate,
        steps=cell.steps,
        stop_loss=cell.stop_loss,
        record=marks,
        observe=OBSERVE,
        flow={"rtol": 1e-5},
    )


@dataclass(frozen=True)
class _Least:
    task: Task

    def __call__(self) -> Mapping[str, Any]:
        posed = problem(self.task, "float64")
        found = baselines.minimum_nuclear_norm(posed)
        truth = posed.truth
        assert truth is not None
        error = jnp.sum((found.product - truth) ** 2) / jnp.sum(truth**2)
        return {
            "final_test_error": float(error),
            "final_nuclear_norm": float(jnp.sum(gf.linalg.singular_values(found.product))),
            "final_effective_rank": float(gf.linalg.effective_rank(found.product)),
            "truth_nuclear_norm": float(jnp.sum(gf.linalg.singular_values(truth))),
            "truth_effective_rank": float(gf.linalg.effective_rank(truth)),
            "optimality": found.optimality,
            "iterations": found.iterations,
        }


def finish(run: gf.Trajectory) -> dict[str, float]:
    """The numbers that the figures show, at the end of a run."""
    names = ("test_error", "nuclear_norm", "effective_rank")
    return {f"final_{name}": float(run[name][-1]) for name in names}


class Recovery(Experiment):
    """The shared half of the four figures."""

    version = 2
    protocols: ClassVar[tuple[Protocol, ...]] = ("paper", "code")
    varies: ClassVar[tuple[str, ...]] = ("seed", "rate", "norm")
    sensing: ClassVar[bool] = False

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        return grid(scale, protocol)

    def cells(self, grid: Grid) -> list[Any]:
        return cells(grid, self.sensing)

    def job(self, cell: Any, precision: Precision) -> Job:
        return job(cell, precision)

    def finish(self, cell: Any, run: gf.Trajectory) -> dict[str, float]:
        return finish(run)

    def their_step(self, cell: Any) -> float | None:
        if isinstance(cell, Baseline) or self.sensing or cell.task.size != 100:
            return None
        return torch_step(100, cell.depth)
