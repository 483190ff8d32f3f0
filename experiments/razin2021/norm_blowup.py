"""The norm blow-up of tensors (ours): few observed entries of a CP factorisation.

A component escapes, fits what it can and goes on along entries that are not observed; alone it
would run to infinity. It does so until a second one has come up, which takes the longer the
smaller the start. Descents, and the exact flow in log-polar coordinates from the same starts,
recorded at losses that fall by a quarter of a decade.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.descent.records import log_marks
from gradflow.state import State
from gradflow.sweeps import Descent, Finding, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale
from gradflow.sweeps.job import Computation, Job

from ..razin2020._tensors import OBSERVE, Task, norm, problem, rule

EACH = 4
"""Losses a decade at which the flow is recorded."""
LARGE, RESTS = 3.0, 1.1
"""The truth has norm 1: beyond the first a norm has blown up, below the second it has not."""


@dataclass(frozen=True)
class Cell:
    """One descent, or one flow.

    Attributes:
      task: what is to be recovered.
      components: R.
      std: standard deviation of every weight of the start.
      seed: of the start.
      decades: by how many the loss is to fall.
      exact: whether it is the flow.
      steps: iterations of the descent, or steps of the flow, allowed.
    """

    task: Task
    components: int
    std: float
    seed: int
    decades: int
    exact: bool
    steps: int
    has_flow: bool = False


@dataclass(frozen=True)
class Grid:
    """Numbers of observations with scales and seeds."""

    observations: tuple[int, ...] = (12, 20, 30, 60)
    """Observed entries."""
    stds: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    """Standard deviations of the start's weights."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the starts."""
    order: int = 4
    """Axes of the tensor."""
    size: int = 4
    """The length of every axis."""
    components: int = 8
    """R."""
    decades: int = 6
    """By how many the loss is to fall."""
    steps: int = 200_000
    """Iterations of a descent allowed."""
    flow_steps: int = 4000
    """Steps of a flow allowed."""


@cache
def _objective(task: Task, components: int) -> gf.Objective:
    return gf.Objective(problem(task, "float64"), gf.CPTensor(task.shape, components))


def first_loss(task: Task) -> float:
    """The loss of W = 0."""
    return float(problem(task, "float64").loss(jnp.zeros(task.shape)))


def seen_norm(state: State) -> jax.Array:
    """The norm of the observed entries of W."""
    assert isinstance(state.problem, gf.TensorCompletion)
    return jnp.sqrt(jnp.sum((state.problem.mask * state.product) ** 2))


def two_largest(state: State) -> jax.Array:
    """The norms of the two largest components."""
    return jax.lax.top_k(jnp.exp(gf.observables.log_component_norms(state)), 2)[0]


SEEN = {"loss": gf.observables.loss, "norm": norm, "seen": seen_norm, "largest": two_largest}


@dataclass(frozen=True)
class _Exact:
    """The flow of a cell, from one loss to the next, each a start in its own coordinates."""

    cell: Cell

    def __call__(self) -> Mapping[str, Any]:
        cell, state = self.cell, None
        objective = _objective(cell.task, cell.components)
        first = first_loss(cell.task)
        levels = first * 10 ** (-np.arange(1, EACH * cell.decades + 1) / EACH)
        time, steps, rows = 0.0, 0, []
        start: Any = objective.factorization.gaussian(jax.random.key(cell.seed), std=cell.std)
        for level in levels:
            run = gf.solve_flow(
                objective, start if state is None else state, stop_loss=float(level),
                coordinates="logpolar", horizon=1e290, observe=SEEN, rtol=1e-7,
                max_steps=max(cell.steps - steps, 1),
            )  # fmt: skip
            time, state = time + run.stats["end"], run.final
            steps += run.stats["steps"] + run.stats["rejected"]
            rows.append([time, *(run[name][-1] for name in ("loss", "norm", "seen"))])
            rows[-1] += list(run["largest"][-1])
            if run.outcome is not gf.Outcome.REACHED_LOSS:
                break
        names = ("at_time", "at_loss", "at_norm", "at_seen", "first", "second")
        found = dict(zip(names, np.array(rows).T, strict=True))
        summary = _summary(found["at_norm"], found["at_seen"], found["second"], found["first"])
        return found | summary | {"first_loss": first}


def _summary(norms: Any, seen: Any, second: Any, first: Any) -> dict[str, float]:
    """The largest norm, its observed part, and the share of the second component there."""
    top = int(np.argmax(norms))
    return {
        "largest_norm": float(norms[top]),
        "seen_there": float(seen[top]),
        "second_before": float((second / first)[norms > norms[top] / 2][0]),
    }


@register
class NormBlowup(Experiment):
    """See the module's docstring."""

    id = "razin2021.norm_blowup"
    title = "norm blow-up of tensors: components escape along unobserved entries (ours)"
    varies: ClassVar[tuple[str, ...]] = ("seed", "std")
    hours: ClassVar[dict[str, float]] = {"quick": 0.02, "paper": 0.3}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(observations=(20, 60), stds=(1e-2, 1e-3), seeds=(0,), decades=3)

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        return [
            Cell(Task(grid.order, grid.size, 1, n), grid.components, std, seed, grid.decades,
                 exact, grid.flow_steps if exact else grid.steps)
            for n in grid.observations for std in grid.stds for seed in grid.seeds
            for exact in (True, False)
        ]  # fmt: skip

    def job(self, cell: Cell, precision: Precision) -> Job:
        if cell.exact:
            return Computation(_Exact(cell))
        objective = _objective(cell.task, cell.components)
        start = objective.factorization.gaussian(jax.random.key(cell.seed), std=cell.std)
        marks = log_marks(cell.steps, 40)
        return Descent(
            objective=gf.astype(objective, precision),
            start=gf.astype(start, precision),
            optimizer=rule,
            rate=1e-2,
            steps=cell.steps,
            stop_loss=first_loss(cell.task) * 10.0**-cell.decades,
            record=marks,
            observe=SEEN | {"distance": OBSERVE["distance"]},
        )

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        first, second = np.asarray(run["largest"]).T
        summary = _summary(run["norm"], run["seen"], second, first)
        return summary | {"first_loss": first_loss(cell.task)}

    def plot(self, results: Results) -> Figure:
        return picture(results)

    def compare(self, results: Results) -> list[Finding]:
        return findings(results)


def check(grid: Grid) -> None:
    """Refuse a grid that cannot be run.

    Raises:
      ValueError: on a value out of range.
    """
    # Two components, for the second's share of the first is recorded.
    for name, least in (("components", 2), ("decades", 1), ("steps", 1), ("flow_steps", 1),
                        ("order", 2), ("size", 2)):  # fmt: skip
        whole(name, getattr(grid, name), least)
    for count in grid.observations:
        whole("observations", count, 1, grid.size**grid.order)
    for std in grid.stds:
        positive("stds", std)


def picture(results: Results) -> Figure:
    """The norm against the loss, a panel a number of observations; flows full, descents dashed."""
    counts, stds = results.values("observations"), results.values("std")[::-1]
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(
            1, max(len(counts), 1), figsize=(2.6 * max(len(counts), 1) + 0.8, 2.9), sharey=True,
            squeeze=False, layout="constrained",
        )  # fmt: skip
        for ax, n in zip(axes[0], counts, strict=False):
            for cell, data in results.where(observations=n):
                loss, norms = ("at_loss", "at_norm") if cell.exact else ("loss", "norm")
                first = float(data["first_loss"])
                colour = gf.plotting.COLOURS[stds.index(cell.std)]
                style = {"ls": "-", "lw": 1.4} if cell.exact else {"ls": "--", "lw": 0.9}
                shown = np.asarray(data[norms]) > 1e-2  # the rise from the origin is not shown
                x, y = np.asarray(data[loss])[shown] / first, np.asarray(data[norms])[shown]
                ax.plot(x, y, color=colour, **style)
            ax.axhline(1, color="black", ls=":", lw=1)
            ax.set(xscale="log", yscale="log", title=f"{n} entries observed")
            ax.set(xlabel="loss / first loss", xlim=(1.5, 10.0**-results.grid.decades))
        axes[0, 0].set_ylabel(r"$\|W\|_F$")
        handles = [Line2D([], [], color=gf.plotting.COLOURS[k]) for k in range(len(stds))]
        handles += [Line2D([], [], color="gray", ls=ls) for ls in ("-", "--", ":")]
        labels = [f"standard deviation {std:g}" for std in stds]
        labels += ["exact flow", "descent", "the truth's norm"]
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def findings(results: Results) -> list[Finding]:
    """Where norms blow up, how, and where not."""
    table = results.table
    if table.empty:
        return []
    flows, descents = table[table["exact"]], table[~table["exact"]]
    few, many = table["observations"].min(), table["observations"].max()
    found: list[Finding] = []
    for n, some in flows.groupby("observations"):
        norms = some.pivot(index="seed", columns="std", values="largest_norm").dropna()
        norms = norms[sorted(norms.columns, reverse=True)]  # scales fall from left to right
        evidence = "largest norm, start by start: " + "; ".join(
            f"std {std:g}: {', '.join(f'{x:.4g}' for x in norms[std])}" for std in norms
        )
        if n == many and many > few:
            found.append(
                Finding.also(
                    f"With {n} entries observed norms do not blow up, whatever the start",
                    bool((norms < RESTS).all(axis=None)) if norms.size else None, evidence,
                )
            )  # fmt: skip
            continue
        blown = norms[norms.iloc[:, -1] > LARGE] if norms.size else norms
        rises = bool((np.diff(blown, axis=1) > 0).all()) if blown.size > len(blown) else None
        found += [
            Finding.also(f"With {n} entries observed norms blow up from some start",
                    len(blown) > 0 if norms.size else None, evidence),
            Finding.also(f"With {n} entries observed, where they do, smaller starts end at larger "
                    "norms", rises, evidence),
        ]  # fmt: skip
    blown = flows[flows["largest_norm"] > LARGE]
    ratio = blown["seen_there"].max() if len(blown) else np.nan
    share = blown["second_before"].max() if len(blown) else np.nan
    found += [
        Finding.also("What blows up is not observed", bool(ratio < RESTS) if len(blown) else None,
                f"{len(blown)} flows: observed part of W at its largest norm, at most {ratio:.3g}"),
        Finding.also("One component blows up alone", bool(share < 0.1) if len(blown) else None,
                f"second component over the first at half the largest norm, at most {share:.3g}"),
    ]  # fmt: skip
    if len(descents):
        here = descents[descents["observations"] == few]
        norms = here.sort_values("std", ascending=False)["largest_norm"]
        short = int((here["outcome"] == "OUT_OF_STEPS").sum())
        found.append(
            Finding.also(f"Descents blow up too at {few} entries", bool(norms.median() > LARGE),
                    "largest norms, scales falling: " + ", ".join(f"{x:.3g}" for x in norms)
                    + f"; {short} of {len(here)} ran out of iterations on the way")
        )  # fmt: skip
    return found
