"""What Figures 1, 2, 4 and 5 of arora2019 share: recovery of a low-rank matrix, cell by cell.

The same matrix and the same observations for all runs; three starts differ in their seed alone.
Under the protocol "code" the truth has Frobenius norm d, the loss is the mean, and the rate adapts
to the gradient's norm; under "paper" the truth is U V^T as drawn, the loss half the sum of squares,
and the rate is fixed.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from experiments.experiment import (
    Experiment,
    Finding,
    Precision,
    Protocol,
    Scale,
    torch_step,
)
from experiments.results import Results
from experiments.work import Computation, Descent, Work
from gradflow import baselines, optimizers
from gradflow.factorizations import Factors
from gradflow.observables import State
from gradflow.problems import MatrixCompletion, MatrixSensing

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
    truth = gf.low_rank_matrix(of_truth, shape, task.rank, float(task.size) if code else None)
    loss = "mean" if code else "half_sum"
    if task.sensing:
        std = 1 / task.size if code else 1.0
        a = gf.gaussian_measurements(of_data, task.observations, shape, std)
        labels = jnp.einsum("kij,ij->k", a, truth)
        return gf.astype(MatrixSensing(a, labels, loss=loss, truth=truth), precision)
    where = gf.sample_entries(of_data, shape, task.observations)
    values = truth[where[:, 0], where[:, 1]]
    made = MatrixCompletion(shape, where, values, loss=loss, truth=truth)
    return gf.astype(made, precision)


@cache
def _objective(task: Task, depth: int, precision: Precision) -> gf.Objective:
    model = gf.MatrixProduct.of((task.size, task.size), depth)
    return gf.Objective(problem(task, precision), model)


def start(size: int, depth: int, norm: float, seed: int) -> Factors:
    """Independent Gaussian weights; drawn again while the product's norm is off by above 20%.

    The expected squared norm of the product is norm^2, so each weight's standard deviation is
    (norm / sqrt(d))^(1/N) / sqrt(d).

    References:
      arora2019, Appendix D.2.
    """
    model = gf.MatrixProduct.of((size, size), depth)
    std = (norm / np.sqrt(size)) ** (1 / depth) / np.sqrt(size)
    for attempt in range(1000):
        key = jax.random.fold_in(jax.random.key(seed), attempt)
        factors = gf.gaussian_factors(key, model.sizes, std=std)
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


def work(cell: Any, precision: Precision) -> Work:
    """Descent from a small start, or the baseline."""
    if isinstance(cell, Baseline):
        return Computation(_Least(cell.task))
    rule = optimizers.group_rmsprop if cell.task.protocol == "code" else optax.sgd
    marks = np.unique(np.round(10 ** np.arange(0, np.log10(cell.steps), 1 / 20)).astype(int))
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
            "final_nuclear_norm": float(jnp.sum(gf.spectrum.singular_values(found.product))),
            "final_effective_rank": float(gf.spectrum.effective_rank(found.product)),
            "truth_nuclear_norm": float(jnp.sum(gf.spectrum.singular_values(truth))),
            "truth_effective_rank": float(gf.spectrum.effective_rank(truth)),
            "optimality": found.optimality,
            "iterations": found.iterations,
        }


def finish(run: gf.Trajectory) -> dict[str, float]:
    """The numbers that the figures show, at the end of a run."""
    names = ("test_error", "nuclear_norm", "effective_rank")
    return {f"final_{name}": float(run[name][-1]) for name in names}


class Recovery(Experiment):
    """The shared half of the four figures."""

    protocols: ClassVar[tuple[Protocol, ...]] = ("paper", "code")
    varies: ClassVar[tuple[str, ...]] = ("seed", "rate", "norm")
    sensing: ClassVar[bool] = False

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        return grid(scale, protocol)

    def cells(self, grid: Grid) -> list[Any]:
        return cells(grid, self.sensing)

    def work(self, cell: Any, precision: Precision) -> Work:
        return work(cell, precision)

    def finish(self, cell: Any, run: gf.Trajectory) -> dict[str, float]:
        return finish(run)

    def their_step(self, cell: Any) -> float | None:
        if isinstance(cell, Baseline) or self.sensing or cell.task.size != 100:
            return None
        return torch_step(100, cell.depth)


# Reading the table

LABELS = {
    "final_test_error": "reconstruction error",
    "final_nuclear_norm": "nuclear norm",
    "final_effective_rank": "effective rank",
}
X_LABEL = "norm of the initial product"


def tables(results: Results, method: str = "own") -> tuple[Any, dict[int, Any]]:
    """The descents (or flows) as a table with a column "observations"; the baselines by it."""
    table = results.table
    least = table["depth"].isna()
    found = {int(row["observations"]): row for _, row in table[least].iterrows()}
    good = ~least & (table["method"] == method) & (table["outcome"] != "DIVERGED")
    return table[good], found


def divergences(results: Results) -> list[Finding]:
    """Whether the runs came to an end at all."""
    runs = results.table[results.table["depth"].notna()]
    lost = int((runs["outcome"] == "DIVERGED").sum())
    short = int((runs["outcome"] == "OUT_OF_STEPS").sum())
    return [
        Finding(
            "Descent reaches its stopping loss",
            lost + short == 0,
            f"of {len(runs)} runs {lost} diverged and {short} ran out of iterations",
        )
    ]


def spread(ax: Axes, some: Any, value: str, **style: Any) -> None:
    """Means over seeds against the initial norm, with standard deviations as error bars."""
    groups = some.groupby("norm")[value]
    mean, deviation = groups.mean(), groups.std(ddof=0)
    low = np.minimum(deviation, 0.999 * mean)  # so that a log axis can show it
    ax.errorbar(mean.index, mean, yerr=[low, deviation], capsize=2, lw=1.2, ms=4, **style)


def errors_figure(results: Results) -> Figure:
    """Reconstruction error against the initial norm: a column a depth, a row a number of data."""
    runs, _ = tables(results)
    depths, counts = sorted(runs["depth"].unique()), sorted(runs["observations"].unique())
    rates = sorted(runs["rate"].unique(), reverse=True)
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(
            len(counts), len(depths), figsize=(2.4 * len(depths) + 0.6, 2.2 * len(counts) + 0.4),
            sharex=True, sharey="row", squeeze=False, layout="constrained",
        )  # fmt: skip
        for (i, count), (j, depth) in itertools.product(enumerate(counts), enumerate(depths)):
            ax = axes[i, j]
            chosen = runs[(runs["depth"] == depth) & (runs["observations"] == count)]
            for k, rate in enumerate(rates):
                spread(
                    ax, chosen[chosen["rate"] == rate], "final_test_error",
                    color=gf.plotting.COLOURS[k], marker="os^D"[k % 4], label=f"rate {rate:g}",
                )  # fmt: skip
            flows, _ = tables(results, "flow")
            if len(flows):
                some = flows[(flows["depth"] == depth) & (flows["observations"] == count)]
                some = some[some["rate"] == some["rate"].max()]
                spread(ax, some, "final_test_error", color="black", ls="--", label="exact flow")
            ax.set(xscale="log", yscale="log")
            if i == 0:
                ax.set_title(f"depth {depth:.0f}")
            if i == len(counts) - 1:
                ax.set_xlabel(X_LABEL)
            if j == 0:
                ax.set_ylabel(f"{LABELS['final_test_error']}\n{count} observations")
        axes[0, 0].legend()
    return figure


def norms_figure(results: Results) -> Figure:
    """Error, nuclear norm and effective rank against the initial norm, with two levels."""
    runs, least = tables(results)
    runs = runs[runs["rate"] == runs["rate"].max()]
    depths, counts = sorted(runs["depth"].unique()), sorted(runs["observations"].unique())
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(
            len(counts), 3, figsize=(8.0, 2.3 * len(counts) + 0.5), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for (i, count), (j, value) in itertools.product(enumerate(counts), enumerate(LABELS)):
            ax = axes[i, j]
            for k, depth in enumerate(depths):
                chosen = runs[(runs["depth"] == depth) & (runs["observations"] == count)]
                spread(
                    ax, chosen, value, color=gf.plotting.COLOURS[k], marker="os^D"[k % 4],
                    label=f"depth {depth:.0f}",
                )  # fmt: skip
            if count in least:
                row = least[count]
                ax.axhline(row[value], color="black", ls="--", lw=1, label="least nuclear norm")
                truth = value.replace("final", "truth")
                if truth in row:
                    ax.axhline(row[truth], color="black", ls=":", lw=1.4, label="ground truth")
            ax.set(xscale="log", yscale="log" if value == "final_test_error" else "linear")
            if i == len(counts) - 1:
                ax.set_xlabel(X_LABEL)
            ax.set_ylabel(LABELS[value] + (f"\n{count} observations" if j == 0 else ""))
        handles, labels = axes[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def few_and_many(counts: Sequence[int]) -> tuple[int, int]:
    """The smallest and the largest number of observations."""
    return min(counts), max(counts)


def smallest_start(runs: Any, count: int, value: str) -> Any:
    """Mean over seeds and rates at the smallest initial norm, by depth."""
    some = runs[(runs["observations"] == count) & (runs["norm"] == runs["norm"].min())]
    return some.groupby("depth")[value].mean()


def depth_findings(results: Results) -> list[Finding]:
    """Depth helps where data are few, and is not needed where they are many."""
    findings = divergences(results)
    runs, _ = tables(results)
    if runs.empty:
        return findings
    few, many = few_and_many(runs["observations"].unique().tolist())
    errors = smallest_start(runs, few, "final_test_error")
    for depth in [d for d in errors.index if d > 2 and 2 in errors.index]:
        findings.append(
            Finding(
                f"With {few} observations depth {depth:.0f} is far more accurate than depth 2 "
                "(ten times)",
                bool(errors[depth] < errors[2] / 10),
                f"reconstruction errors at the smallest start: {errors[depth]:.2e} against "
                f"{errors[2]:.2e}",
            )
        )
    if many != few:
        all_errors = smallest_start(runs, many, "final_test_error")
        findings.append(
            Finding(
                f"With {many} observations all depths recover the matrix",
                bool(all_errors.max() < 1e-2),
                "reconstruction errors at the smallest start: "
                + ", ".join(f"depth {d:.0f}: {v:.1e}" for d, v in all_errors.items()),
            )
        )
    wide = runs[(runs["observations"] == few) & (runs["norm"] == runs["norm"].min())]
    by_rate = wide.groupby(["depth", "rate"])["final_test_error"].mean().unstack("rate")
    if by_rate.shape[1] > 1:
        worst = float((by_rate.max(axis=1) / by_rate.min(axis=1)).max())
        findings.append(
            Finding(
                "Curves of different learning rates mostly overlap",
                bool(worst < 2),
                f"at {few} observations and the smallest start, errors at the rates differ by a "
                f"factor of at most {worst:.3g}",
            )
        )
    return findings


def norm_findings(results: Results) -> list[Finding]:
    """Rank is lowered at the price of nuclear norm; with many data all coincide."""
    runs, least = tables(results)
    if runs.empty:
        return []
    few, many = few_and_many(runs["observations"].unique().tolist())
    if few not in least or many not in least:
        return []
    findings = []
    ranks = smallest_start(runs, few, "final_effective_rank")
    norms = smallest_start(runs, few, "final_nuclear_norm")
    low = least[few]
    for depth in [d for d in ranks.index if d > 2]:
        findings.append(
            Finding(
                f"With {few} observations depth {depth:.0f} ends near the truth's effective rank",
                bool(abs(ranks[depth] / low["truth_effective_rank"] - 1) < 0.05),
                f"{ranks[depth]:.3f}; truth {low['truth_effective_rank']:.3f}, least nuclear norm "
                f"{low['final_effective_rank']:.2f}",
            )
        )
        findings.append(
            Finding(
                f"... at a nuclear norm above the least one (depth {depth:.0f})",
                bool(norms[depth] > 1.001 * low["final_nuclear_norm"]),
                f"{norms[depth]:.2f} against {low['final_nuclear_norm']:.2f} (duality gap "
                f"{low['optimality']:.0e}); truth {low['truth_nuclear_norm']:.2f}",
            )
        )
    if 2 in ranks.index and 3 in ranks.index:
        findings.append(
            Finding(
                "The preference for low effective rank is stronger in deeper factorisations",
                bool(ranks[2] > ranks[3] and (4 not in ranks.index or ranks[3] > 0.95 * ranks[4])),
                ", ".join(f"depth {d:.0f}: {v:.3f}" for d, v in ranks.items()),
            )
        )
    if many != few:
        row = least[many]
        gaps = [
            smallest_start(runs, many, f"final_{name}") / row[f"truth_{name}"] - 1
            for name in ("nuclear_norm", "effective_rank")
        ]
        worst = max(float(gap.abs().max()) for gap in gaps)
        findings.append(
            Finding(
                f"With {many} observations all depths and the least nuclear norm meet the truth",
                bool(worst < 0.02 and row["final_test_error"] < 1e-6),
                f"nuclear norms and effective ranks at the smallest start are within {worst:.2%} "
                f"of the truth's; error of the least nuclear norm {row['final_test_error']:.1e}",
            )
        )
    return findings
