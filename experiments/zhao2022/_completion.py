"""What the figures and tables of zhao2022 share: completion under penalties and optimisers.

The truth is U V^T with Gaussian factors, scaled so that its entries' mean square is 1 (the paper
does not say so; its errors of gradient descent come out then), the loss is the sum of squares over
the observed entries, and the test error the mean square over all entries. Depth 1 is the matrix
itself. Runs stop at a data loss of 1e-7, which those with a penalty may never reach: they end at
their last iteration and say so.
"""

import abc
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow import baselines, optimizers
from gradflow.baselines._optspace import optspace
from gradflow.descent.records import log_marks
from gradflow.penalties.base import AbstractPenalty
from gradflow.state import State
from gradflow.sweeps.experiment import Experiment, Item, Precision
from gradflow.sweeps.job import Computation, Descent, Job

STEPS, STOP_LOSS = 500_000, 1e-7
Weighted = Callable[[float], AbstractPenalty]
PENALTIES: dict[str, Weighted | None] = {
    "none": None,
    "ratio": gf.NuclearFrobeniusRatio,
    "nuclear": gf.NuclearNorm,
    "schatten 1/2:2/3": partial(gf.SchattenRatio, 1 / 2, 2 / 3),
    "schatten 1/3:2/3": partial(gf.SchattenRatio, 1 / 3, 2 / 3),
    "schatten 1/3:1/2": partial(gf.SchattenRatio, 1 / 3, 1 / 2),
    "schatten 1/3": partial(gf.SchattenNorm, 1 / 3),
    "schatten 1/2": partial(gf.SchattenNorm, 1 / 2),
    "schatten 2/3": partial(gf.SchattenNorm, 2 / 3),
}
"""The penalties of Tables 1, 3 and 4 by name, each a function of its weight."""
Method = Literal["nuclear norm", "OptSpace", "SoftImpute"]


@dataclass(frozen=True)
class Task:
    """What is to be recovered from what.

    Attributes:
      size: d, of a d x d matrix.
      rank: of the truth.
      observations: how many entries are observed.
      norm: Frobenius norm of the truth; 0 leaves U V^T as drawn.
      data_seed: of truth and positions.
    """

    size: int = 100
    rank: int = 5
    observations: int = 2000
    norm: float = 100.0
    data_seed: int = 0


@dataclass(frozen=True)
class Cell:
    """One descent.

    Attributes:
      task: the problem.
      depth: number of factors; 1 is the matrix itself.
      optimizer: a name in `gradflow.optimizers`.
      penalty: a name in `PENALTIES`.
      weight: of the penalty, lambda in the paper; 0 without one.
      rate: learning rate.
      std: standard deviation of each initial weight.
      seed: of the start.
      steps: iterations allowed.
    """

    task: Task
    depth: int
    optimizer: str
    penalty: str
    weight: float
    rate: float = 1e-3
    std: float = 1e-3
    seed: int = 0
    steps: int = STEPS


@dataclass(frozen=True)
class Baseline:
    """A method that does not descend.

    Attributes:
      task: the problem.
      method: "nuclear norm": the least that fits; "OptSpace": with the truth's rank given;
        "SoftImpute": with a weight of 1/50 of the spectral norm of the observed matrix.
    """

    task: Task
    method: Method
    has_flow: bool = False


@cache
def problem(task: Task, precision: Precision) -> gf.MatrixCompletion:
    """The same object for cells that share the data."""
    of_truth, of_data = jax.random.split(jax.random.key(task.data_seed))
    shape = (task.size, task.size)
    truth = gf.synthetic.low_rank_matrix(of_truth, shape, task.rank, task.norm or None)
    where = gf.synthetic.sample_entries(of_data, shape, task.observations)
    values = truth[where[:, 0], where[:, 1]]
    made = gf.MatrixCompletion(shape, where, values, loss="sum", truth=truth)
    return gf.astype(made, precision)


@cache
def objective(
    task: Task, depth: int, penalty: str, weight: float, precision: Precision
) -> gf.Objective:
    """The same object for cells that differ in start, rate or optimiser."""
    weighted = PENALTIES[penalty]
    model = gf.MatrixProduct.of((task.size, task.size), depth)
    added = None if weighted is None else weighted(weight)
    return gf.astype(gf.Objective(problem(task, precision), model, added), precision)


def unobserved_error(state: State) -> jax.Array:
    """Mean squared error over the unobserved entries alone."""
    posed = state.problem
    assert isinstance(posed, gf.MatrixCompletion) and posed.truth is not None
    hidden = 1 - posed.mask
    return jnp.sum(hidden * (state.product - posed.truth) ** 2) / jnp.sum(hidden)


OBSERVE = {
    "loss": gf.observables.loss,
    "error": gf.observables.mean_squared_error,
    "unobserved_error": unobserved_error,
    "effective_rank": gf.observables.effective_rank,
    "singular_values": gf.observables.singular_values,
}


def job(cell: Any, precision: Precision) -> Job:
    """Descent from a small Gaussian start, or a baseline."""
    if isinstance(cell, Baseline):
        return Computation(_Solved(cell))
    posed = objective(cell.task, cell.depth, cell.penalty, cell.weight, precision)
    sizes = gf.MatrixProduct.of(posed.problem.shape, cell.depth).sizes
    start = gf.factorizations.gaussian_factors(jax.random.key(cell.seed), sizes, std=cell.std)
    marks = log_marks(cell.steps, 25)
    return Descent(
        objective=posed,
        start=gf.astype(start, precision),
        optimizer=optimizers.named(cell.optimizer),
        rate=cell.rate,
        steps=cell.steps,
        stop_loss=STOP_LOSS,
        record=marks,
        observe=OBSERVE,
    )


@dataclass(frozen=True)
class _Solved:
    cell: Baseline

    def __call__(self) -> Mapping[str, Any]:
        task = self.cell.task
        posed = problem(task, "float64")
        if self.cell.method == "OptSpace":
            found = optspace(posed, task.rank)
        elif self.cell.method == "SoftImpute":
            observed = jnp.linalg.norm(posed.mask * posed.target, 2)
            found = baselines.soft_impute(posed, weight=float(observed) / 50)
        else:
            found = baselines.minimum_nuclear_norm(posed)
        truth = posed.truth
        assert truth is not None
        squares, hidden = (found.product - truth) ** 2, 1 - posed.mask
        return {
            "final_error": float(jnp.mean(squares)),
            "final_unobserved_error": float(jnp.sum(hidden * squares) / jnp.sum(hidden)),
            "final_effective_rank": float(gf.linalg.effective_rank(found.product)),
            "optimality": found.optimality,
            "iterations": found.iterations,
        }


class Regularised(Experiment):
    """The half that all these figures and tables share: their cells' runs, in one store."""

    family = "zhao2022.completion"
    precision: ClassVar[Precision] = "float32"
    varies: ClassVar[tuple[str, ...]] = ("seed", "rate", "weight", "std")

    def cells(self, grid: Any) -> list[Any]:
        found = list(dict.fromkeys(self.expand(grid)))
        for cell in found:
            check(cell)
        return found

    @abc.abstractmethod
    def expand(self, grid: Any) -> Iterable[Any]:
        """The grid's cells, not checked yet."""

    def job(self, cell: Any, precision: Precision) -> Job:
        return job(cell, precision)

    def batch_of(self, item: Item) -> str:
        """All optimisers together, and all penalties whose gradients are had from an SVD."""
        described = self.describe(item)
        cell = described["cell"]
        for name in (*self.varies, "optimizer"):
            cell.pop(name, None)
        if isinstance(item.cell, Cell) and by_svd(item.cell.penalty, item.precision):
            cell["penalty"] = "by an SVD"
        return json.dumps(described, sort_keys=True)

    def finish(self, cell: Any, run: gf.Trajectory) -> dict[str, float]:
        names = ("error", "unobserved_error", "effective_rank")
        return {f"final_{name}": float(run[name][-1]) for name in names}


def by_svd(penalty: str, precision: Precision) -> bool:
    """Whether the penalty's gradient is had from an SVD in this precision, by its name alone.

    This is asked where no device is to be started, so that no penalty can be made.
    """
    return penalty != "none" and (penalty, precision) != ("ratio", "float32")


def check(cell: Any) -> None:
    """Refuse a cell that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    task: Task = cell.task
    if not 1 <= task.rank <= task.size:
        raise ValueError(f"rank must be between 1 and {task.size}, but it is {task.rank}.")
    if not 1 <= task.observations <= task.size**2:
        raise ValueError(
            f"observations must be between 1 and {task.size**2}, but they are {task.observations}."
        )
    if not 0 <= task.norm < np.inf:
        raise ValueError(f"norm must be at least 0 (0: as drawn), but it is {task.norm}.")
    if isinstance(cell, Baseline):
        return
    optimizers.named(cell.optimizer)
    if cell.penalty not in PENALTIES:
        raise ValueError(f"There is no penalty {cell.penalty!r}; known are {', '.join(PENALTIES)}.")
    for name, low in (("depth", 1), ("steps", 1)):
        if getattr(cell, name) < low:
            raise ValueError(f"{name} must be at least {low}, but it is {getattr(cell, name)}.")
    for name in ("rate", "std", *(("weight",) if cell.penalty != "none" else ())):
        if not 0 < getattr(cell, name) < np.inf:
            raise ValueError(f"{name} must be above 0, but it is {getattr(cell, name)}.")


def descents(grid: Any) -> Iterable[Cell]:
    """Every optimiser with every penalty at every depth from every start.

    Args:
      grid: has the fields of the grids of Figures 1 to 3 and of the tables.
    """
    task = Task(grid.size, grid.rank, grid.observations, grid.norm)
    for optimizer, depth, penalty, seed in itertools.product(
        grid.optimizers, grid.depths, grid.penalties, grid.seeds
    ):
        weight = 0.0 if penalty == "none" else grid.weight
        yield Cell(task, depth, optimizer, penalty, weight, grid.rate, seed=seed, steps=grid.steps)
