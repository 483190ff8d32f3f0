r"""Fan et al. 2025: the margins that Muon, sign descent and Adam come to, in three norms (ours).

Linear classification of separable data by cross-entropy, W = 0 at the start. Steepest descent in a
norm, at rates c / t^(1/2), comes to the largest margin in that norm: sign descent in the largest
entry, normalised gradient descent in the Frobenius norm, Muon with exact polar factors in the
spectral norm; with momentum too, and Adam without epsilon like sign descent. Beside them plain
gradient descent at one rate, and Muon as it is used, by Newton and Schulz' iterations. Largest
margins are had by convex programs (`gf.baselines.largest_margin`). The data are ours.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive, whole
from gradflow.baselines import largest_margin
from gradflow.descent.records import log_marks
from gradflow.sweeps import Descent, Finding, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._margins import NORMS, RULES, findings, picture

TINY = 1e-140
"""Adam's and Muon's epsilon: next to any gradient here it is none, and its square is a number."""
optimizers = gf.optimizers


def decaying(make: Callable[[Any], optax.GradientTransformation]) -> Callable[[Any], Any]:
    """A function of c: the rule at the rate c / t^(1/2), t = 1, 2, ..."""
    return lambda rate: make(lambda count: rate / jnp.sqrt(count + 1.0))


MUON = partial(optimizers.muon, weight_decay=0.0, eps=TINY)
MAKE: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "gd": optimizers.gd,
    "normalised": decaying(partial(optimizers.group_rmsprop, decay=0.0, eps=0.0)),
    "sign": decaying(optimizers.sign_descent),
    "signum": decaying(partial(optimizers.sign_descent, momentum=0.9)),
    "adam": decaying(partial(optimizers.adam, b1=0.9, b2=0.99, eps=TINY)),
    "spectral": decaying(partial(MUON, momentum=0.0, nesterov=False, polar="exact")),
    "muon": decaying(partial(MUON, momentum=0.95, nesterov=False, polar="exact")),
    "newton-schulz": decaying(partial(MUON, momentum=0.95, nesterov=True)),
}
"""Each a function of c; of `gd` of its rate."""


@dataclass(frozen=True)
class Cell:
    """One descent.

    Attributes:
      rule: of `MAKE`.
      seed: of the data.
      classes: how many.
      size: entries of a datum.
      data: how many.
      growth: c times the largest margin in the rule's norm: by how much a step may widen the
        margin, times t^(1/2).
      steps: iterations.
    """

    has_flow: ClassVar[bool] = False
    rule: str
    seed: int
    classes: int
    size: int
    data: int
    growth: float
    steps: int


@dataclass(frozen=True)
class Grid:
    """Every rule on every set of data."""

    rules: tuple[str, ...] = tuple(MAKE)
    """Of descent."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the data."""
    classes: int = 4
    """How many."""
    size: int = 8
    """Entries of a datum."""
    data: int = 24
    """How many, the same of each class."""
    growth: float = 0.5
    """Of the margin at the first step; in the end it is 2 growth steps^(1/2) at most, and float64
    holds losses down to e^-700."""
    steps: int = 100_000
    """Iterations."""


@cache
def problem(seed: int, classes: int, size: int, data: int) -> tuple[gf.Objective, dict[str, float]]:
    """Gaussian data about Gaussian means, the first drawn that can be separated; their margins."""
    rng = np.random.default_rng([2025, seed])
    labels = np.arange(data) % classes
    for _ in range(100):
        means = rng.normal(size=(classes, size))
        inputs = means[labels] + 0.5 * rng.normal(size=(data, size))
        posed = gf.problems.Classification(inputs, labels)
        try:
            best = {name: largest_margin(posed, name).value for name in NORMS}
        except ValueError:
            continue
        return gf.Objective(posed, gf.MatrixProduct.of(posed.shape, depth=1)), best
    raise ValueError(f"None of 100 sets of {data} data can be separated; ask for fewer data.")


def norms_of(w: np.ndarray) -> np.ndarray:
    """In the order of `NORMS`; w of shape (records, classes, size)."""
    s = np.linalg.svd(w, compute_uv=False)
    return np.stack([np.abs(w).max((1, 2)), np.sqrt(np.sum(s**2, axis=1)), s[:, 0]], axis=1)


@register
class Margins(Experiment):
    """See the module's docstring."""

    id = "fan2025.margins"
    title = "margins of Muon, sign descent, Adam and gradient descent, in three norms (ours)"
    varies: ClassVar[tuple[str, ...]] = ("seed",)
    hours: ClassVar[dict[str, float]] = {"quick": 0.003, "paper": 0.007}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(seeds=(0,), growth=1.0, steps=4000)

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        return [
            Cell(rule, seed, grid.classes, grid.size, grid.data, grid.growth, grid.steps)
            for rule, seed in itertools.product(grid.rules, grid.seeds)
        ]

    def job(self, cell: Cell, precision: Precision) -> Descent:
        if precision != "float64":
            raise ValueError(f"Such losses need float64, but precision is {precision}.")
        posed, best = problem(cell.seed, cell.classes, cell.size, cell.data)
        if cell.rule == "gd":  # the loss's curvature is at most that of half the largest datum
            longest = float(np.max(np.linalg.norm(np.asarray(posed.problem.inputs), axis=1)))  # type: ignore[attr-defined]
            rate = 2 / longest**2
        else:
            rate = cell.growth / best[RULES[cell.rule][0]]
        return Descent(
            posed, (jnp.zeros(posed.problem.shape),), MAKE[cell.rule], rate, cell.steps,
            record=log_marks(cell.steps, 8), observe=("loss", "product"),
        )  # fmt: skip

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        posed, best = problem(cell.seed, cell.classes, cell.size, cell.data)
        later = np.asarray(run["product"])[1:]  # at first W is 0
        margin = np.array([np.min(posed.problem.margins(w)) for w in later])  # type: ignore[attr-defined]
        shares = margin[:, None] / norms_of(later) / np.array([best[name] for name in NORMS])
        return {
            "step": run.times[1:],
            "shares": shares,
            **{f"share_{name}": float(v) for name, v in zip(NORMS, shares[-1], strict=True)},
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
    for rule in grid.rules:
        if rule not in MAKE:
            raise ValueError(f"rules must be among {', '.join(MAKE)}, but one is {rule!r}.")
    for seed in grid.seeds:
        whole("seeds", seed, 0)
    whole("classes", grid.classes, 2, 10)
    whole("size", grid.size, 2, 30)
    whole("data", grid.data, grid.classes, 60)
    whole("steps", grid.steps, 100)
    if positive("growth", grid.growth) * 2 * grid.steps**0.5 > 320:
        raise ValueError(
            f"growth is {grid.growth}, and after {grid.steps} steps squares of gradients, e^-2m at "
            "the margin m, may be below what float64 holds; make 2 growth steps^(1/2) at most 320."
        )
