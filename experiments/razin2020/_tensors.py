"""What Figures 2 and 6 of razin2020 share: completion of tensors by CP factorisations.

The same tensor and the same random order of its entries for all runs: n observations are the first
n of these. Starts differ in their seed and scale alone. Rate and stop look at the mean squared
error. Under the protocol "code" the stop looks at every hundredth iteration and is the third look
in a row below, under "paper" it is the first iteration below.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradflow as gf
from gradflow import baselines, optimizers
from gradflow._util.validate import positive, whole
from gradflow.descent.records import log_marks
from gradflow.problems.completion import TensorCompletion
from gradflow.state import State
from gradflow.sweeps import Descent
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale
from gradflow.sweeps.job import Computation, Job

STOP_LOSS = 1e-6
LOOKS = (100, 3)
TOP = 10
"""Components whose norms are recorded."""


@dataclass(frozen=True)
class Task:
    """What is to be recovered from what.

    Attributes:
      order: N, the number of axes.
      size: d, the length of every axis.
      rank: of the truth, a sum of so many outer products of Gaussian vectors, of norm 1.
      observations: entries that are seen.
    """

    order: int
    size: int
    rank: int
    observations: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,) * self.order


@dataclass(frozen=True)
class Cell:
    """One descent.

    Attributes:
      task: what is to be recovered.
      components: R, of the factorisation.
      std: standard deviation of every weight of the start.
      seed: of the start.
      rate: learning rate.
      steps: iterations allowed.
      protocol: decides where it stops.
    """

    task: Task
    components: int
    std: float
    seed: int
    rate: float
    steps: int
    protocol: Protocol


@dataclass(frozen=True)
class Linear:
    """What was observed, and zero elsewhere."""

    task: Task
    has_flow: bool = False


@dataclass(frozen=True)
class Grid:
    """Every number of observations with every scale and seed, at both orders."""

    rank: int
    """Of the ground truth."""
    observations_3: tuple[int, ...]
    """Observed entries at order 3; none leaves the order away."""
    observations_4: tuple[int, ...]
    """Observed entries at order 4."""
    stds: tuple[float, ...] = (1e-2, 1e-3)
    """Standard deviations of the start's weights."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of the starts."""
    components_3: int = 64
    """R at order 3."""
    components_4: int = 512
    """R at order 4."""
    size: int = 8
    """The length of every axis."""
    rate: float = 1e-2
    """Learning rate, adapted to the gradient's norm."""
    steps: int = 1_000_000
    """Iterations allowed."""
    protocol: Protocol = "paper"
    """Whether a run stops as the paper says, or as the authors' code does."""


@cache
def problem(task: Task, precision: Precision) -> TensorCompletion:
    """The same object for cells that share the data."""
    of_truth, of_order = jax.random.split(jax.random.key(0))
    truth = gf.synthetic.low_rank_tensor(of_truth, task.shape, task.rank)
    drawn = jax.random.permutation(of_order, truth.size)[: task.observations]
    where = np.stack(np.unravel_index(np.asarray(drawn), task.shape), axis=1)
    made = TensorCompletion(
        task.shape, where, truth[tuple(where.T)], loss="mean", truth=np.asarray(truth)
    )
    return gf.astype(made, precision)


@cache
def _objective(task: Task, components: int, precision: Precision) -> gf.Objective:
    return gf.Objective(problem(task, precision), gf.CPTensor(task.shape, components))


def rule(rate: Any) -> optax.GradientTransformation:
    """The rate adapts to the gradient's norm.

    References:
      razin2020, Appendix F.2.2.
    """
    return optimizers.group_rmsprop(rate, decay=0.99, eps=1e-6)


def distance(state: State) -> jax.Array:
    """The Frobenius norm of W - W*."""
    assert state.problem.truth is not None
    return jnp.sqrt(jnp.sum((state.product - state.problem.truth) ** 2))


def norm(state: State) -> jax.Array:
    """The Frobenius norm of W."""
    return jnp.sqrt(jnp.sum(state.product**2))


def top_components(state: State) -> jax.Array:
    """The norms of the largest components, in falling order."""
    lengths = jnp.stack([jnp.sqrt(jnp.sum(f**2, axis=0)) for f in state.factors])
    return jax.lax.top_k(jnp.prod(lengths, axis=0), min(TOP, lengths.shape[1]))[0]


OBSERVE = {
    "loss": gf.observables.loss,
    "distance": distance,
    "norm": norm,
    "top_components": top_components,
}


def floor(cell: Cell) -> float:
    """The expected norm of what the idle components leave: sqrt(R) (std sqrt(d))^N."""
    task = cell.task
    return float(np.sqrt(cell.components) * (cell.std * np.sqrt(task.size)) ** task.order)


def rank_of(w: Any, components: Any = None) -> dict[str, Any]:
    """Between which bounds the CP rank at the runs' accuracy lies.

    Where no components are at hand the rank is large and a search long: one start at each rank.
    """
    found = baselines.cp_rank(
        np.asarray(w, float), STOP_LOSS, key=jax.random.key(0), components=components,
        starts=1 if components is None else 10,
    )  # fmt: skip
    return {"rank_lower": found.lower, "rank_upper": found.upper}


@dataclass(frozen=True)
class _Linear:
    task: Task

    def __call__(self) -> Mapping[str, Any]:
        posed = problem(self.task, "float64")
        assert posed.truth is not None
        missed = float(jnp.linalg.norm(posed.target - posed.truth))
        return {"final_distance": missed, **rank_of(posed.target)}


class Tensors(Experiment):
    """The shared half of the two figures."""

    family = "razin2020.tensors"
    protocols: ClassVar[tuple[Protocol, ...]] = ("paper", "code")
    varies: ClassVar[tuple[str, ...]] = ("seed", "std")
    full: ClassVar[Grid]
    quick: ClassVar[Grid]

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        chosen = self.full if scale == "paper" else self.quick
        return Grid(**{**vars(chosen), "protocol": protocol})

    def cells(self, grid: Grid) -> list[Any]:
        check(grid)
        found: list[Any] = []
        orders = ((3, grid.observations_3, grid.components_3),
                  (4, grid.observations_4, grid.components_4))  # fmt: skip
        for order, counts, components in orders:
            for n in counts:
                task = Task(order, grid.size, grid.rank, n)
                found.append(Linear(task))
                found += [
                    Cell(task, components, std, seed, grid.rate, grid.steps, grid.protocol)
                    for std, seed in itertools.product(grid.stds, grid.seeds)
                ]
        return found

    def job(self, cell: Any, precision: Precision) -> Job:
        if isinstance(cell, Linear):
            return Computation(_Linear(cell.task))
        marks = log_marks(cell.steps, 20)
        objective = _objective(cell.task, cell.components, precision)
        start = objective.factorization.gaussian(jax.random.key(cell.seed), std=cell.std)
        return Descent(
            objective=objective,
            start=gf.astype(start, precision),
            optimizer=rule,
            rate=cell.rate,
            steps=cell.steps,
            stop_loss=STOP_LOSS,
            stop_looks=LOOKS if cell.protocol == "code" else None,
            record=marks,
            observe=OBSERVE,
            # What the flow comes to, not where a stop leaves it.
            flow={"stop_loss": 1e-13, "max_steps": 20_000},
        )

    def finish(self, cell: Any, run: gf.Trajectory) -> dict[str, Any]:
        factors = tuple(
            jnp.asarray(run.final[f"W_{k}"], float) for k in range(1, cell.task.order + 1)
        )
        w = gf.CPTensor(cell.task.shape, cell.components).product(factors)
        finite = bool(jnp.all(jnp.isfinite(w)))
        rank = rank_of(w, factors) if finite else {"rank_lower": 0, "rank_upper": 0}
        return {"final_distance": float(run["distance"][-1]), **rank}


def check(grid: Grid) -> None:
    """Refuse a grid that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    for name, least in (("rank", 1), ("components_3", 1), ("components_4", 1), ("steps", 1),
                        ("size", 2)):  # fmt: skip
        whole(name, getattr(grid, name), least)
    for name, order in (("observations_3", 3), ("observations_4", 4)):
        for count in getattr(grid, name):
            whole(name, count, 1, grid.size**order)
    for std in grid.stds:
        positive("stds", std)
    positive("rate", grid.rate)
