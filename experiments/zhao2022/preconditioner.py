"""What Adam does to the gradient: spectra of P_W and P_{W,G} along a run, and what they predict.

Beside zhao2022's Theorem 1: at points of an Adam run the operators are made as matrices, Adam's one
from the second moments that the next step divides by. Each is asked for the next step of W: P_W up
to its best length, since gradient descent has another clock; Adam's as it is, in three forms, the
printed one, the corrected one, and the corrected one on the momentum instead of the gradient, which
is off by the change of W's factors within the step alone.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow import factorizations
from gradflow.sweeps import Computation, Results, register
from gradflow.sweeps.experiment import Experiment, Finding, Precision, Protocol, Scale

from ._completion import STOP_LOSS

EPS = 1e-8
"""Of PyTorch's Adam, added to the root."""
FORMS = {
    "gradient_descent": r"$P_W$, best length",
    "printed": r"$P_{W,G}$ as printed",
    "corrected": r"$P_{W,G}$ corrected",
    "momentum": r"$P_{W,G}$ corrected, on the momentum",
}

_FANS = {"gd": gf.plotting.COLOURS[0], "adam": gf.plotting.COLOURS[2]}
"""Colours of the spectra, as of the errors by the same operator."""


@dataclass(frozen=True)
class Cell:
    """One Adam run.

    Attributes:
      depth: number of factors.
      rate: learning rate.
      weight: of the ratio penalty; 0 for none.
      size: d of the d x d matrix; the operators have d^4 entries.
      rank: of the truth.
      observations: observed entries.
      seed: of the start.
      steps: iterations, fewer if the loss comes down to 1e-7.
    """

    depth: int
    rate: float
    weight: float
    size: int
    rank: int
    observations: int
    seed: int
    steps: int
    has_flow: bool = False


@dataclass(frozen=True)
class Grid:
    """Every depth with and without penalty."""

    depths: tuple[int, ...] = (1, 2, 3)
    """Numbers of factors."""
    weights: tuple[float, ...] = (0.0, 1e-2)
    """Of the ratio penalty."""
    rate: float = 1e-3
    """Learning rate, the paper's."""
    size: int = 12
    """d of the d x d matrix."""
    rank: int = 2
    """Of the truth."""
    observations: int = 80
    """Observed entries."""
    seed: int = 0
    """Of the start."""
    steps: int = 20_000
    """Iterations."""


@register
class Preconditioner(Experiment):
    """Spectra and predictions along Adam runs."""

    id = "zhao2022.preconditioner"
    title = "spectra of P_W and P_{W,G} along Adam, and how well each predicts the next step"

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        return Grid() if scale == "paper" else Grid(size=6, rank=1, observations=24, steps=5_000)

    def cells(self, grid: Grid) -> list[Cell]:
        if min(grid.depths, default=1) < 1:
            raise ValueError(f"depths must be at least 1, but they are {grid.depths}.")
        if not 2 <= grid.size <= 30:
            raise ValueError(
                f"size must be between 2 and 30 (operators have size^4 entries), but it is "
                f"{grid.size}."
            )
        if not (grid.rate > 0 and min(grid.weights, default=0) >= 0 and grid.steps >= 1):
            raise ValueError(
                f"rate must be above 0, weights and steps not below 0 and 1, but they are "
                f"{grid.rate}, {grid.weights} and {grid.steps}."
            )
        return [
            Cell(depth, grid.rate, weight, grid.size, grid.rank, grid.observations, grid.seed,
                 grid.steps)
            for depth, weight in itertools.product(grid.depths, grid.weights)
        ]  # fmt: skip

    def job(self, cell: Cell, precision: Precision) -> Computation:
        return Computation(partial(along_adam, cell))

    def plot(self, results: Results) -> Figure:
        depths, weights = results.values("depth"), results.values("weight")
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(
                2 * len(weights), len(depths), squeeze=False,
                figsize=(2.7 * len(depths) + 0.6, 4.3 * len(weights)), sharex=True, sharey="row",
                layout="constrained",
            )  # fmt: skip
            for (i, weight), (j, depth) in itertools.product(enumerate(weights), enumerate(depths)):
                for _, data in results.where(depth=depth, weight=weight):
                    spectra, errors = axes[2 * i, j], axes[2 * i + 1, j]
                    times = data["times"].to_numpy()
                    for name, colour in _FANS.items():
                        _fan(spectra, times, data[f"spectrum_{name}"].to_numpy(), colour)
                    for k, (form, label) in enumerate(FORMS.items()):
                        ax_style = {"color": gf.plotting.COLOURS[k], "label": label}
                        errors.plot(times, data[f"error_{form}"], lw=1.2, **ax_style)
                    penalty = rf", $\lambda = {weight:g}$" if weight else ", no penalty"
                    spectra.set_title(f"depth {depth}{penalty}")
                    spectra.set(yscale="log")
                    errors.set(yscale="log", xlabel="iteration", xscale="log", ylim=(1e-5, 5))
            for i in range(len(weights)):
                axes[2 * i, 0].set_ylabel("eigenvalues")
                axes[2 * i + 1, 0].set_ylabel("relative error\nof the next step")
            handles, _ = axes[1, 0].get_legend_handles_labels()
            fans = [
                Line2D([], [], color=colour, label=label, lw=4, alpha=0.5)
                for label, colour in zip(
                    ("spectrum of $P_W$", "spectrum of $P_{W,G}$ corrected"),
                    _FANS.values(),
                    strict=True,
                )
            ]
            figure.legend(handles=[*fans, *handles], loc="outside lower center", ncols=3)
        return figure

    def compare(self, results: Results) -> list[Finding]:
        found = []
        for cell, data in results:
            middle = {form: float(np.median(data[f"error_{form}"])) for form in FORMS}
            told = ", ".join(f"{form.replace('_', ' ')} {v:.2g}" for form, v in middle.items())
            name = f"depth {cell.depth}, lambda {cell.weight:g}"
            if cell.depth > 1:
                found.append(
                    Finding(
                        f"{name}: the printed P_WG predicts Adam's steps (median error below 10%)",
                        middle["printed"] < 0.1,
                        f"median relative errors of the next step: {told}",
                    )
                )
            found.append(
                Finding.also(
                    f"{name}: the corrected P_WG on the momentum predicts Adam's steps",
                    middle["momentum"] < 0.1,
                    f"median relative errors of the next step: {told}",
                )
            )
        return found


def _fan(ax: Any, times: np.ndarray, values: np.ndarray, colour: str) -> None:
    """A spectrum over time: its range, its quartiles, its median."""
    shown = np.where(values > 0, values, np.nan)
    levels = np.nanpercentile(shown, [0, 25, 50, 75, 100], axis=1)
    ax.fill_between(times, levels[0], levels[4], color=colour, alpha=0.15, lw=0)
    ax.fill_between(times, levels[1], levels[3], color=colour, alpha=0.3, lw=0)
    ax.plot(times, levels[2], color=colour, lw=1)


def along_adam(cell: Cell) -> Mapping[str, Any]:
    """Spectra of both operators, and errors of all `FORMS`, at points of a run."""
    shape = (cell.size, cell.size)
    problem = gf.synthetic.matrix_completion(
        jax.random.key(0), shape, cell.rank, cell.observations, loss="sum", norm=float(cell.size)
    )
    model = gf.MatrixProduct.of(shape, cell.depth)
    penalty = gf.NuclearFrobeniusRatio(cell.weight) if cell.weight else None
    objective = gf.Objective(problem, model, penalty)
    start = model.gaussian(jax.random.key(cell.seed), std=1e-3)
    marks = np.unique(np.round(np.geomspace(1, cell.steps, 60)).astype(int))
    rule = gf.optimizers.adam(cell.rate)

    def step(carry: Any) -> Any:
        factors, state = carry
        change, state = rule.update(objective.gradient(factors), state, factors)
        return jax.tree.map(jnp.add, factors, change), state

    @jax.jit
    def to_mark(carry: Any, steps: jax.Array) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, inner: step(inner), carry)

    look = jax.jit(partial(_at_a_point, objective, step, cell.rate))
    carry, now, rows = (start, rule.init(start)), 0, []
    for mark in marks:
        carry, now = to_mark(carry, jnp.asarray(mark - now)), int(mark)
        rows.append(jax.tree.map(np.asarray, look(carry)))
        if rows[-1]["loss"] <= STOP_LOSS:
            break
    found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return {"times": marks[: len(rows)], **found}


def _at_a_point(objective: gf.Objective, step: Any, rate: float, carry: Any) -> dict[str, Any]:
    factors, _ = carry
    w = objective.product(factors)
    whole = objective.problem.gradient(w)
    if objective.penalty is not None:
        whole = whole + objective.penalty.gradient(w)
    after, state = step(carry)
    moved = objective.product(after) - w
    count = optax.tree_utils.tree_get(state, "count")
    second = optax.tree_utils.tree_get(state, "nu")
    first = optax.tree_utils.tree_get(state, "mu")
    scales = jax.tree.map(lambda v: 1 / (jnp.sqrt(v / (1 - 0.999**count)) + EPS), second)
    momentum = jax.tree.map(lambda m: m / (1 - 0.9**count), first)
    model = objective.factorization
    assert isinstance(model, gf.MatrixProduct)
    above, below = model.neighbours(factors)
    on_momentum = sum(
        a @ (s * m) @ b for a, s, m, b in zip(above, scales, momentum, below, strict=True)
    )

    def plain(g: jax.Array) -> jax.Array:
        return factorizations.end_to_end(w, g, model.depth)

    def adam(g: jax.Array) -> jax.Array:
        return factorizations.adam_end_to_end(factors, scales, g)

    straight = plain(whole)
    length = jnp.sum(straight * moved) / jnp.sum(straight**2)
    predicted = {
        "gradient_descent": length * straight,
        "printed": -rate * printed(w, scales, whole),
        "corrected": -rate * adam(whole),
        "momentum": -rate * on_momentum,
    }
    size = jnp.linalg.norm(moved)
    return {
        "spectrum_gd": jnp.linalg.eigvalsh(factorizations.as_matrix(plain, w.shape)),
        "spectrum_adam": jnp.linalg.eigvalsh(factorizations.as_matrix(adam, w.shape)),
        "loss": objective.loss(factors),
        **{f"error_{k}": jnp.linalg.norm(moved - v) / size for k, v in predicted.items()},
    }


def printed(w: jax.Array, scales: Iterable[jax.Array], gradient: jax.Array) -> jax.Array:
    """Theorem 1's P_{W,G}[G] as printed: S_j on G itself, powers in the printed order.

    References:
      zhao2022, Equation (6): ((W W^T)^((j-1)/N) kron (W^T W)^((N-j)/N)) G_j.
    """
    u, s, vt = jnp.linalg.svd(w)
    scaled = [g * gradient for g in scales]
    n = len(scaled)

    def power(frame: jax.Array, k: int) -> jax.Array:
        return jnp.eye(len(w)) if k == 0 else (frame * s ** (2 * k / n)) @ frame.T

    return sum(
        (power(vt.T, n - 1 - j) @ scaled[j] @ power(u, j) for j in range(n)), jnp.zeros_like(w)
    )
