r"""Weight decay balances layers: imbalances of flows, descents and AdamW (folklore; du2018; ours).

Matrix completion with W = W_N ... W_1 from layers of unequal sizes, D_j = W_{j+1}^T W_{j+1} - W_j
W_j^T. A gradient flow conserves D (du2018); with the loss plus mu/2 sum ||W_j||^2 it is e^(-2 mu
t) times its start. A step of gradient descent at the rate h, with G_j the loss's gradients, makes

    D_j <- (1 - h mu)^2 D_j + h^2 (G_{j+1}^T G_{j+1} - G_j G_j^T),

exactly. How far descents leave the flow's law, over rates, and what AdamW does. The problem is
ours.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.state import State
from gradflow.sweeps import Descent, Finding, Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._balance import findings, picture

SIZE, OBSERVED = 6, 24
"""Rows and columns of W, of rank 2, and its entries that are seen."""
STDS = (0.7, 0.3, 0.5)
"""Of the entries of the layers at the start."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
      rule: "flow", "gd" or "adamw".
      depth: N.
      decay: mu.
      rate: h; 0 for a flow.
      seed: of problem and start.
      horizon: rate times iterations; the time of a flow.
      records: how many, at equal distances.
    """

    has_flow: ClassVar[bool] = False
    rule: Literal["flow", "gd", "adamw"]
    depth: int
    decay: float
    rate: float
    seed: int
    horizon: float
    records: int


@dataclass(frozen=True)
class Grid:
    """Flows, descents at every rate, and AdamW where there is a decay."""

    depths: tuple[int, ...] = (2, 3)
    """N."""
    decays: tuple[float, ...] = (0.0, 0.03, 0.1)
    """mu."""
    rates: tuple[float, ...] = (0.04, 0.02, 0.01, 0.005, 0.0025)
    """h of gradient descent."""
    adamw_rate: float = 0.01
    """h of AdamW."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of problems and starts."""
    horizon: float = 20.0
    """Of time; twice mu times it is the fall of the logarithm."""
    records: int = 25
    """How many."""


def imbalances(layers: Sequence[Array]) -> Array:
    """All D_j, of shape (N - 1, SIZE, SIZE); of gradients what they add to these in a step."""
    pairs = itertools.pairwise(layers)
    return jnp.stack([above.T @ above - below @ below.T for below, above in pairs])


def imbalance(state: State) -> Array:
    """Of the layers."""
    return imbalances(state.factors)


def kick(state: State) -> Array:
    """Of the loss's gradients."""
    loss = state.problem.loss
    slopes = jax.grad(lambda ws: loss(reduce(lambda below, above: above @ below, ws)))
    return imbalances(slopes(state.factors))


@cache
def objective(seed: int, depth: int, decay: float) -> gf.Objective:
    """Completion of a matrix of rank 2."""
    problem = gf.synthetic.matrix_completion(
        jax.random.key(seed), (SIZE, SIZE), rank=2, observations=OBSERVED
    )
    penalty = gf.WeightDecay(decay) if decay else None
    return gf.Objective(problem, gf.MatrixProduct((SIZE,) * (depth + 1)), penalty)


def start(cell: Cell) -> tuple[Array, ...]:
    """Gaussian layers, unequal."""
    rng = np.random.default_rng([2018, cell.seed])
    return tuple(jnp.asarray(std * rng.normal(size=(SIZE, SIZE))) for std in STDS[: cell.depth])


@cache
def adamw(decay: float) -> Any:
    """PyTorch's AdamW with this decay; one function for each, so that it is compiled once."""
    return partial(gf.optimizers.adamw, weight_decay=decay)


@register
class Balance(Experiment):
    """See the module's docstring."""

    id = "decay.balance"
    title = "imbalances of layers under weight decay: flow, gradient descent, AdamW (ours)"
    varies: ClassVar[tuple[str, ...]] = ("seed", "rate")
    hours: ClassVar[dict[str, float]] = {"quick": 0.003, "paper": 0.01}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(depths=(2,), decays=(0.0, 0.1), rates=(0.04, 0.02, 0.01), seeds=(0,))

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        runs: list[tuple[Literal["flow", "gd", "adamw"], float]]
        runs = [("flow", 0.0), ("adamw", grid.adamw_rate), *(("gd", rate) for rate in grid.rates)]
        return [
            Cell(rule, depth, decay, rate, seed, grid.horizon, grid.records)
            for depth, decay, (rule, rate), seed in itertools.product(
                grid.depths, grid.decays, runs, grid.seeds
            )
            if decay or rule != "adamw"
        ]

    def job(self, cell: Cell, precision: Precision) -> Flow | Descent:
        if precision != "float64":
            raise ValueError(f"Imbalances need float64, but precision is {precision}.")
        coupled = cell.decay if cell.rule != "adamw" else 0.0
        posed = objective(cell.seed, cell.depth, coupled)
        if cell.rule == "flow":
            times = np.linspace(0, cell.horizon, cell.records + 1)[1:]
            options = {
                "record": times, "rtol": 1e-10, "coordinates": "factors",
                "observe": {"imbalance": imbalance},
            }  # fmt: skip
            return Flow(posed, start(cell), options)
        rule = adamw(cell.decay) if cell.rule == "adamw" else gf.optimizers.gd
        steps = round(cell.horizon / cell.rate)
        marks = np.linspace(0, steps, cell.records + 1).astype(int)[1:]
        return Descent(
            posed, start(cell), rule, cell.rate, steps,
            record=np.union1d(marks - 1, marks), observe={"imbalance": imbalance, "kick": kick},
        )  # fmt: skip

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        if run.outcome == gf.Outcome.DIVERGED:
            raise ValueError(f"The descent diverged at the rate {cell.rate}; take smaller ones.")
        found = np.asarray(run["imbalance"]).reshape(len(run.times), -1)
        size = np.linalg.norm(found[0])
        clock = run.times * (cell.rate or 1.0)
        law = np.exp(-2 * cell.decay * clock)
        numbers = {
            "clock": clock,
            "share": np.linalg.norm(found, axis=1) / size,
            "off": float(np.max(np.linalg.norm(found - law[:, None] * found[0], axis=1)) / size),
            "step_off": np.nan,
        }
        if cell.rule == "gd":
            kicks = np.asarray(run["kick"]).reshape(len(run.times), -1)
            next_one = np.flatnonzero(np.diff(run.times) == 1)
            kept = (1 - cell.rate * cell.decay) ** 2 * found[next_one]
            told = kept + cell.rate**2 * kicks[next_one]
            numbers["step_off"] = float(np.max(np.abs(found[next_one + 1] - told)) / size)
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
    for depth in grid.depths:
        whole("depths", depth, 2, len(STDS))
    for decay in grid.decays:
        if not 0 <= decay <= 10:
            raise ValueError(f"decays must be between 0 and 10, but one is {decay}.")
    for rate in (*grid.rates, grid.adamw_rate):
        if not positive("rates", rate) <= 0.2:
            raise ValueError(f"rates must be at most 0.2, but one is {rate}: descents diverge.")
    for seed in grid.seeds:
        whole("seeds", seed, 0)
    if not 1 <= positive("horizon", grid.horizon) <= 1e3:
        raise ValueError(f"horizon must be between 1 and 1000, but it is {grid.horizon}.")
    whole("records", grid.records, 5)
