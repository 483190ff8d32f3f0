r"""Li, Luo and Lyu 2021: their counterexample as a sweep over the scale of the start (our picture).

Of a symmetric 4x4 matrix W = U U^T the entries (1, 3) = 1 and (1, 4) = (2, 3) = R are seen. Flows
from alpha A A^T end, for alpha -> 0, at v v^T, v = (1, R, 1, R), of rank one and nuclear norm
2 R^2 + 2; the least norm is 4 R. A second column grows at the rate lambda_2 while the first does at
lambda_1: when the first has come up the second's square is alpha^p, p = 1 - lambda_2/lambda_1. So
the distance from the limit falls like alpha^p (ours), a small power.
"""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow._util.validate import positive
from gradflow.factorizations.base import Factors
from gradflow.sweeps import Finding, Flow, Results, register
from gradflow.sweeps.experiment import Experiment, Precision, Protocol, Scale

from ._completion import exponent, first_loss, least_norm, limit_of, problem, rates
from ._picture import SMALL, picture

RANK_ONE = 1e-2
"""A second singular value below this share of the first does not count."""
RECORDS = 120


@dataclass(frozen=True)
class Cell:
    """One flow.

    Attributes:
      ratio: R.
      alpha: the scale of the start.
      start: whether A is I or random, with the norm of I.
      seed: of a random A.
      stop: at which share of the first loss it ends.
    """

    has_flow: ClassVar[bool] = False
    ratio: float
    alpha: float
    start: Literal["identity", "random"]
    seed: int
    stop: float


@dataclass(frozen=True)
class Grid:
    """Every start at every scale."""

    alphas: tuple[float, ...] = (
        1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-12, 1e-16, 1e-20, 1e-24, 1e-28, 1e-32
    )  # fmt: skip
    """Scales of the start."""
    starts: tuple[Literal["identity", "random"], ...] = ("identity", "random")
    """Directions of the start."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of random ones."""
    ratio: float = 3.0
    """R."""
    stop: float = 1e-20
    """The share of the first loss where flows end."""


@register
class Counterexample(Experiment):
    """See the module's docstring."""

    id = "li2021.counterexample"
    title = "the end of a flow of U U^T against the scale of its start: 1e-2 is not small (ours)"
    varies: ClassVar[tuple[str, ...]] = ("alpha", "start", "seed")
    hours: ClassVar[dict[str, float]] = {"quick": 0.002, "paper": 0.004}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        del protocol
        if scale == "paper":
            return Grid()
        return Grid(alphas=(1.0, 1e-2, 1e-24, 1e-28, 1e-32), seeds=(0,))

    def cells(self, grid: Grid) -> list[Cell]:
        check(grid)
        found = [
            Cell(grid.ratio, alpha, start, seed if start == "random" else 0, grid.stop)
            for start, seed, alpha in itertools.product(grid.starts, grid.seeds, grid.alphas)
        ]
        return list(dict.fromkeys(found))

    def job(self, cell: Cell, precision: Precision) -> Flow:
        if precision != "float64":
            raise ValueError(f"Flows need float64, but precision is {precision}.")
        objective = problem(cell.ratio)
        clock = max(np.log(1 / cell.alpha), 1.0)  # at alpha = 1 there is no other unit
        times = np.linspace(0, 3, RECORDS + 1)[1:] / (2 * rates(cell.ratio)[0]) * clock
        options = {
            "stop_loss": cell.stop * first_loss(cell.ratio),
            "rtol": 1e-10,
            "record": times,
            "observe": ("loss", "product"),
        }
        return Flow(objective, start(cell), options)

    def finish(self, cell: Cell, run: gf.Trajectory) -> dict[str, Any]:
        w = np.asarray(run["product"][-1])
        limit = limit_of(cell.ratio)
        values = np.linalg.svd(w, compute_uv=False)
        return {
            "distance": np.linalg.norm(w - limit) / np.linalg.norm(limit),
            "nuclear_norm": values.sum(),
            "spectrum": values,
            "second": values[1] / values[0],
            "least_norm": least_norm(cell.ratio),
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
    for alpha in grid.alphas:
        if not 1e-60 <= positive("alphas", alpha) <= 1:
            raise ValueError(
                f"alphas must be between 1e-60 and 1, but one is {alpha}: below, float64 does not "
                "hold the second column beside the first."
            )
    if not 1 < positive("ratio", grid.ratio) <= 100:
        raise ValueError(f"ratio must be above 1 and at most 100, but it is {grid.ratio}.")
    if not 1e-24 <= positive("stop", grid.stop) <= 1e-6:
        raise ValueError(f"stop must be between 1e-24 and 1e-6, but it is {grid.stop}.")
    for kind in grid.starts:
        if kind not in ("identity", "random"):
            raise ValueError(f"starts must be identity or random, but one is {kind!r}.")


def start(cell: Cell) -> Factors:
    """U = alpha^(1/2) A."""
    model = problem(cell.ratio).factorization
    (u,) = model.identity(cell.alpha)
    if cell.start == "random":
        a = jax.random.normal(jax.random.key(cell.seed), (4, 4), "float64")
        u = cell.alpha**0.5 * 2 * a / np.linalg.norm(a)
    return (u,)


def slopes(results: Results) -> np.ndarray:
    """Of log(distance) against log(alpha), a row a start: between the three smallest alphas."""
    found = []
    for _, rows in results.table.groupby(["start", "seed"]):
        last = rows.sort_values("alpha").iloc[:3]
        if len(last) == 3:
            found.append(np.diff(np.log(last["distance"])) / np.diff(np.log(last["alpha"])))
    return np.array(found).reshape(-1, 2)


def findings(results: Results) -> list[Finding]:
    """Where flows end for alpha -> 0, and how slowly."""
    table, ratio = results.table, results.grid.ratio
    if table.empty:
        return []
    goal, least = 2 * ratio**2 + 2, float(table["least_norm"].iloc[0])
    smallest = table["alpha"].min()
    last, early = (table[table["alpha"] == alpha] for alpha in (smallest, SMALL))
    norms = last["nuclear_norm"]
    found = [
        Finding(
            "From a vanishing start flows end at v v^T, of rank one",
            bool((last["second"] < RANK_ONE).all() and (last["distance"] < 1e-4).all()),
            f"alpha = {smallest:g}, {len(last)} starts: relative distance at most "
            f"{last['distance'].max():.2g}, second singular value over the first at most "
            f"{last['second'].max():.2g}",
        ),
        Finding(
            "Its nuclear norm is larger than the least",
            bool((norms > 1.01 * least).all()),
            f"alpha = {smallest:g}: {norms.min():.8g} to {norms.max():.8g}, and 2 R^2 + 2 = "
            f"{goal:g}; the least is {least:.8g}, and 4 R = {4 * ratio:g}",
        ),
    ]
    seen = len(early) > 0
    told = (
        f"{len(early)} starts: second singular value over the first "
        f"{early['second'].min():.3g} to {early['second'].max():.3g}, relative distance "
        f"{early['distance'].min():.3g} to {early['distance'].max():.3g}"
    )
    share = (early["nuclear_norm"] - least) / (goal - least)
    power, measured = exponent(ratio), slopes(results)
    off = np.abs(measured - power)
    return [
        *found,
        Finding.also(
            f"At alpha = {SMALL:g} no end is of rank one",
            bool((early["second"] > RANK_ONE).all()) if seen else None,
            told if seen else "",
        ),
        Finding.also(
            f"At alpha = {SMALL:g} nuclear norms are nearer to the least than to the limit's",
            bool((share < 0.5).all()) if seen else None,
            "share of the way from the least norm to the limit's: "
            + ", ".join(f"{x:.3g}" for x in share)
            if seen
            else "",
        ),
        Finding.also(
            "The distance from the limit falls like alpha^p, p = 1 - lambda_2/lambda_1",
            bool((off[:, 0] < 0.01).all()) if len(off) else None,
            f"p = {power:.5f}; between the two smallest alphas {measured[:, 0].min():.5f} to "
            f"{measured[:, 0].max():.5f}, between the two before {measured[:, 1].min():.5f} to "
            f"{measured[:, 1].max():.5f}"
            if len(off)
            else "",
        ),
    ]
