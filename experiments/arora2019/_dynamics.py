"""What Figures 3 and 6 of arora2019 share: singular values and alignment along descents.

Cells are single runs of depths 1, 2 and 3; the problem is a synthetic completion, a synthetic
sensing problem, or all ratings of MovieLens 100K.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.axes import Axes

import gradflow as gf
from gradflow.descent.records import log_marks
from gradflow.factorizations.base import Factors
from gradflow.state import State
from gradflow.sweeps import Descent
from gradflow.sweeps.experiment import Finding, Precision, Protocol
from gradflow.sweeps.results import Results, arrivals

from . import _recovery as deep_recovery

Data = Literal["completion", "sensing", "ratings"]
SHOWN = 10
"""Singular values that are recorded."""


@dataclass(frozen=True)
class Cell:
    """One descent.

    Attributes:
      data: which problem.
      size: d of a synthetic d x d problem; 0 for the ratings.
      rank: of a synthetic truth.
      observations: of a synthetic problem.
      depth: number of factors; 1 is the matrix itself.
      rate: learning rate.
      norm: expected Frobenius norm of the initial product.
      identity: start from a multiple of the identity, with that norm, instead of Gaussian factors.
      seed: of the start.
      steps: iterations allowed.
      stop_loss: where it stops.
      protocol: decides the truth's scale and the loss.
    """

    data: Data
    size: int
    rank: int
    observations: int
    depth: int
    rate: float
    norm: float
    identity: bool
    seed: int
    steps: int
    stop_loss: float
    protocol: Protocol


@cache
def _objective(cell_data: tuple[Any, ...], depth: int, precision: Precision) -> gf.Objective:
    data, size, rank, observations, protocol = cell_data
    if data == "ratings":
        loss = "mean" if protocol == "code" else "half_sum"
        problem = gf.astype(gf.problems.movielens_100k().completion(loss=loss), precision)
    else:
        task = deep_recovery.Task(size, rank, observations, data == "sensing", protocol)
        problem = deep_recovery.problem(task, precision)
    return gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth))


def start(objective: gf.Objective, cell: Cell) -> Factors:
    """Gaussian factors (of equal standard deviation) or multiples of the identity."""
    model = objective.factorization
    assert isinstance(model, gf.MatrixProduct)
    rows, columns = model.shape
    if cell.identity:
        return model.identity(cell.norm / np.sqrt(min(rows, columns)))
    key, entry = jax.random.key(cell.seed), cell.norm / np.sqrt(rows * columns)
    return model.gaussian(key, product_std=entry)


def top_values(state: State) -> jax.Array:
    """The largest singular values of the product; of a large one to 1e-8 of the largest."""
    w = state.product
    if min(w.shape) <= 200:
        return state.singular_values[:SHOWN]
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w  # the SVD takes ten times as long
    return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(gram)[::-1][:SHOWN], 0.0))


def alignment(state: State) -> jax.Array:
    r"""Mean and standard deviation of |U^T gradient V|: on the diagonal, then off it.

    Only the singular vectors that belong to the product's left and right sides are compared; both
    sets have min(d, d') members.

    References:
      arora2019, Figure 3 (right) and Corollary 1.
    """
    w = state.product
    u, _, vt = jnp.linalg.svd(w, full_matrices=False)
    g = jnp.abs(u.T @ state.problem.gradient(w) @ vt.T)
    n = g.shape[0]
    on = jnp.diagonal(g)
    off = g[~np.eye(n, dtype=bool)]
    return jnp.stack([jnp.mean(on), jnp.std(on), jnp.mean(off), jnp.std(off)])


def descent(cell: Cell, precision: Precision) -> Descent:
    """Plain gradient descent; the alignment is recorded at depth 2."""
    objective = _objective(
        (cell.data, cell.size, cell.rank, cell.observations, cell.protocol), cell.depth, precision
    )
    observe = {"loss": gf.observables.loss, "top_values": top_values}
    if cell.data != "ratings":
        observe["test_error"] = gf.observables.test_error
        observe["effective_rank"] = gf.observables.effective_rank
    if cell.depth == 2:
        observe["alignment"] = alignment
    density = 12 if cell.data == "ratings" else 40  # a large matrix's SVD costs many iterations
    marks = log_marks(cell.steps, density)
    return Descent(
        objective=objective,
        start=gf.astype(start(objective, cell), precision),
        optimizer=optax.sgd,
        rate=cell.rate,
        steps=cell.steps,
        stop_loss=cell.stop_loss,
        record=marks,
        observe=observe,
    )


# Reading


def draw_values(ax: Axes, data: xr.Dataset) -> None:
    """The singular values over iterations, the largest brightest."""
    blue = gf.plotting.COLOURS[0]
    gf.plotting.plot_spectrum(data, ax, top=SHOWN, name="top_values", colour=blue, yscale="linear")
    ax.set_ylabel("")


def sharpness(data: xr.Dataset) -> float:
    """How abruptly the largest singular value rises: the decades of iterations from 10% to 90%."""
    values = data["top_values"].to_numpy()[:, 0]
    times = np.maximum(data["time"].to_numpy(), 1)
    final = values[-1]
    low = times[np.argmax(values >= 0.1 * final)]
    high = times[np.argmax(values >= 0.9 * final)]
    return float(np.log10(high / low))


def tail_share(data: xr.Dataset, rank: int) -> float:
    """The part of the ten largest values' sum at the end that lies beyond the rank."""
    values = data["top_values"].to_numpy()[-1]
    return float(values[rank:].sum() / values.sum())


def while_moving(data: xr.Dataset) -> np.ndarray:
    """Ratios of diagonal to off-diagonal means, while the top value moves.

    It moves where it has left its start, and the loss is between 99% and 1% of its first value.
    """
    loss, found = data["loss"].to_numpy(), data["alignment"].to_numpy()
    moving = (loss < 0.99 * loss[0]) & (loss > 0.01 * loss[0])
    return found[moving, 0] / found[moving, 2]


def settled(data: xr.Dataset) -> bool:
    """Whether a run has risen far enough to speak of its singular values: the loss has halved."""
    loss = data["loss"].to_numpy()
    return bool(np.isfinite(loss[-1]) and loss[-1] < 0.5 * loss[0])


def findings(own: Results, rank: int, what: str) -> list[Finding]:
    """The statements of Figures 3 and 6 for one problem."""
    found = [arrivals(own, f"{what}: ")]
    runs = {cell.depth: data for cell, data in own if data.attrs["outcome"] != "DIVERGED"}
    depths = sorted(runs)
    early = [d for d in depths if not settled(runs[d])]
    if len(depths) > 1:
        unknown = f"the loss has not halved at depth {', '.join(map(str, early))}"
        rises = {} if early else {d: sharpness(runs[d]) for d in depths}
        found.append(
            Finding(
                f"{what}: singular values rise the more abruptly the deeper the factorisation",
                None if early else _falls(rises),
                unknown
                if early
                else "decades of iterations from 10% to 90% of the largest value's end: "
                + ", ".join(f"depth {d}: {v:.2f}" for d, v in rises.items()),
            )
        )
        tails = {} if early else {d: tail_share(runs[d], rank) for d in depths}
        found.append(
            Finding(
                f"{what}: deeper solutions are effectively of lower rank",
                None if early else _falls(tails),
                unknown
                if early
                else f"share of values {rank + 1} to {SHOWN} in the sum of the first {SHOWN}: "
                + ", ".join(f"depth {d}: {v:.2e}" for d, v in tails.items()),
            )
        )
    if 2 in runs:
        ratios = while_moving(runs[2])
        found.append(
            Finding(
                f"{what}: U^T gradient V is diagonally dominant while there is movement",
                bool(np.median(ratios) > 3) if ratios.size else None,
                f"mean diagonal over mean off-diagonal entry while the loss falls from 99% to 1%: "
                f"median {np.median(ratios):.1f}, least {ratios.min():.1f}"
                if ratios.size
                else "the loss has not fallen that far",
            )
        )
    return found


def _falls(by_depth: dict[int, float]) -> bool:
    """Whether a number is the smaller the deeper."""
    return bool(np.all(np.diff([by_depth[depth] for depth in sorted(by_depth)]) < 0))
