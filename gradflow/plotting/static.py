r"""Pictures of trajectories with matplotlib, in one style fit for a paper.

Every function takes one run or a dictionary label -> run, draws on the axes given (or on new ones)
and returns them. A run is a `Trajectory`, or its xarray Dataset as experiments store it. Log axes
leave out what they cannot show, such as t = 0. Beside a flow, a plain gradient descent is drawn,
dashed, over learning rate times iteration.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array, positive, whole
from gradflow.linalg.spectrum import effective_rank_of
from gradflow.plotting._axes import (
    NAMES,
    Run,
    Runs,
    Scale,
    arrange,
    arrange_against,
    line,
    new_axes,
    next_colour,
    prepare,
    recorded,
)
from gradflow.plotting._style import COLOURS, paper_style, save_figure
from gradflow.trajectory import Trajectory

__all__ = [
    "COLOURS",
    "paper_style",
    "plot_alignment",
    "plot_effective_rank",
    "plot_loss",
    "plot_matrix",
    "plot_observable",
    "plot_spectrum",
    "plot_unobserved_entry",
    "save_figure",
]


def plot_observable(
    runs: Checked[Runs],
    name: str,
    ax: Axes | None = None,
    *,
    component: int | tuple[int, ...] | None = None,
    against: Checked[str | None] = None,
    xscale: Scale = "log",
    yscale: Scale = "linear",
) -> Axes:
    """Draw a recorded number over time (flows) or iterations (descents), or over another one.

    Args:
      runs: a trajectory, or label -> trajectory.
      name: of the observable.
      ax: where to draw; new axes by default.
      component: which entry, by position, if the observable is an array.
      against: another recorded number to draw it over. "loss", which falls to the right, puts
        flows and any optimisers on one axis, by what each has reached.
      xscale: of the time or iteration, or of what it is drawn over.
      yscale: of the observable.

    Raises:
      ValueError: if a run has not recorded it, no record fits the scales, or a descent that is
        not plain has no clock in common with a flow.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> ax = plot_observable({"depth 2": flow}, "gradient_norm")
      >>> ax.get_xlabel(), ax.lines[0].get_label()
      ('time $t$', 'depth 2')
      >>> bool(plot_observable(flow, "gradient_norm", against="loss").xaxis_inverted())
      True
    """
    drawn, clock_name = arrange(runs) if against is None else arrange_against(runs, against)
    data = [recorded(run, name, component) for run, *_ in drawn]
    ylabel = NAMES.get(name, name.replace("_", " "))
    ylabel += "" if component is None else f", entry {component}"
    with paper_style():
        ax = prepare(ax, clock_name, ylabel, xscale, yscale)
        for (_, clock, style), values in zip(drawn, data, strict=True):
            line(ax, clock, values, color=next_colour(ax), **style)
        if against == "loss":
            ax.xaxis.set_inverted(True)
        return ax


def plot_loss(runs: Checked[Runs], ax: Axes | None = None, *, xscale: Scale = "log") -> Axes:
    """Draw the loss, on a log axis, over time or iterations; see `plot_observable`.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> ax = plot_loss(flow)
      >>> len(ax.lines[0].get_xdata()) == len(flow) - 1  # all but t = 0
      True
    """
    return plot_observable(runs, "loss", ax, xscale=xscale, yscale="log")


def plot_effective_rank(
    runs: Checked[Runs],
    ax: Axes | None = None,
    *,
    against: Checked[str | None] = None,
    xscale: Scale = "log",
) -> Axes:
    """Draw the effective rank over time or iterations, or over the loss; see `plot_observable`.

    Example:
      >>> import jax
      >>> import gradflow as gf
      >>> problem = gf.synthetic.matrix_completion(
      ...     jax.random.key(0), (12, 9), rank=2, observations=80
      ... )
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = objective.factorization.random_balanced(jax.random.key(1), std=0.01)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-4)
      >>> ax = plot_effective_rank(flow)
      >>> ax.get_ylabel()
      'effective rank of $W$'
    """
    return plot_observable(runs, "effective_rank", ax, against=against, xscale=xscale)


def plot_spectrum(
    runs: Checked[Runs],
    ax: Axes | None = None,
    *,
    top: Checked[int | None] = None,
    name: str = "singular_values",
    colour: str | None = None,
    xscale: Scale = "log",
    yscale: Scale = "log",
) -> Axes:
    """Draw the largest singular values of W over time or iterations.

    A run without a label has a colour for each of the first seven; runs with labels have one each,
    fainter for smaller singular values. A log axis ends 16 digits below the largest value drawn.

    Args:
      runs: a trajectory, or label -> trajectory.
      ax: where to draw; new axes by default.
      top: how many, from the largest on. By default two more than the effective rank at the end,
        so that the gap below it is seen, but 5 at least and 12 at most.
      name: of the observable that holds them, in falling order.
      colour: one for all values of all runs, fainter for smaller ones.
      xscale: of the time or iteration.
      yscale: of the singular values.

    Raises:
      ValueError: if a run has not recorded them, or `top` is below 1.

    Example:
      >>> import jax
      >>> import gradflow as gf
      >>> problem = gf.synthetic.matrix_completion(
      ...     jax.random.key(0), (12, 9), rank=2, observations=80
      ... )
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = objective.factorization.random_balanced(jax.random.key(1), std=0.01)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-4)
      >>> ax = plot_spectrum(flow)
      >>> len(ax.lines)
      5
    """
    drawn, clock_name = arrange(runs)
    data = [recorded(run, name) for run, *_ in drawn]
    top = max(map(_with_gap, data)) if top is None else whole("top", top)
    data = [values[:, :top] for values in data]
    with paper_style():
        ax = prepare(ax, clock_name, NAMES["singular_values"], xscale, yscale)
        for (_, clock, style), values in zip(drawn, data, strict=True):
            own_colour, count = colour or next_colour(ax), values.shape[1]
            for i, value in enumerate(values.T):
                own = {"label": None if i else style["label"], "alpha": 1 - 0.7 * i / count}
                if style["label"] is None and colour is None:
                    few = i < len(COLOURS)
                    own_colour = COLOURS[i] if few else "0.7"
                    own = {"label": rf"$\sigma_{{{i + 1}}}$" if few else None}
                if i == 0 or np.any(value > 0):
                    line(ax, clock, value, color=own_colour, **style | own)
        if yscale == "log" and ax.dataLim.y0 < 1e-16 * ax.dataLim.y1:
            ax.set_ylim(1e-16 * ax.dataLim.y1, 4 * ax.dataLim.y1)
        return ax


def _with_gap(values: np.ndarray) -> int:
    """Two more than the effective rank of the last singular values, from 5 to 12."""
    rank = float(effective_rank_of(values[-1]))  # NaN where nothing is left, or all is lost
    return int(np.clip(round(rank) + 2, 5, 12)) if np.isfinite(rank) else 5


def plot_alignment(runs: Checked[Runs], ax: Axes | None = None, *, xscale: Scale = "log") -> Axes:
    r"""Draw the means of |U^T gradient V| on and off the diagonal, W = U S V^T.

    Where the product's singular vectors are aligned with the gradient's, all of it is on the
    diagonal. If standard deviations were recorded too, they are shaded.

    Args:
      runs: a trajectory, or label -> trajectory, that recorded "alignment": two numbers a record
        (means on, off the diagonal), or four (mean, deviation on it; mean, deviation off it).
      ax: where to draw; new axes by default.
      xscale: of the time or iteration.

    Raises:
      ValueError: if a run has not recorded it, or it has neither two nor four numbers.

    Example:
      >>> import jax
      >>> import gradflow as gf
      >>> problem = gf.synthetic.matrix_completion(
      ...     jax.random.key(0), (6, 5), rank=2, observations=20
      ... )
      >>> objective = gf.Objective(problem, gf.MatrixProduct((5, 5, 6)))
      >>> start = objective.factorization.random_balanced(jax.random.key(1), std=0.01)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-3, observe=("alignment",))
      >>> ax = plot_alignment(flow)
      >>> [line.get_label() for line in ax.lines]
      ['diagonal', 'off the diagonal']

    References:
      arora2019, Figure 3 (right) and Corollary 1.
    """
    drawn, clock_name = arrange(runs)
    data = [recorded(run, "alignment") for run, *_ in drawn]
    for values in data:
        if values.shape[1:] not in ((2,), (4,)):
            raise ValueError(
                f"'alignment' has shape {values.shape[1:]} in each record; record 2 or 4 numbers."
            )
    with paper_style():
        ax = prepare(ax, clock_name, NAMES["alignment"], xscale, "log")
        for (_, clock, style), values in zip(drawn, data, strict=True):
            means, spreads = values[:, :: values.shape[1] // 2], values[:, 1::2]
            prefix = f"{style['label']}, " if style["label"] else ""
            for k, part in enumerate(("diagonal", "off the diagonal")):
                colour, mean = next_colour(ax), means[:, k]
                line(ax, clock, mean, color=colour, **style | {"label": f"{prefix}{part}"})
                if values.shape[1] == 4:
                    low = np.maximum(mean - spreads[:, k], 0.1 * mean)  # a log axis has no zero
                    kept = clock > (0 if xscale == "log" else -np.inf)
                    high = mean + spreads[:, k]
                    ax.fill_between(
                        clock[kept], low[kept], high[kept], color=colour, alpha=0.2, lw=0
                    )
        return ax


def plot_matrix(
    run: Run | np.ndarray,
    index: int = -1,
    truth: Any = None,
    ax: Axes | None = None,
    *,
    limit: Checked[float | None] = None,
) -> Axes:
    """Draw a record of the product W as a heat map, or how far it is from the truth.

    Args:
      run: a trajectory that recorded "product"; or a matrix, drawn as it is.
      index: of the record; negative ones count from the last.
      truth: if given, W - truth is drawn.
      ax: where to draw; new axes by default.
      limit: the colours reach from -limit to limit; by default the largest absolute entry drawn.

    Raises:
      ValueError: if the product was not recorded or is no matrix, there is no such record, the
        truth has another shape, or the limit is not above 0.

    Example:
      >>> import jax
      >>> import gradflow as gf
      >>> problem = gf.synthetic.matrix_completion(
      ...     jax.random.key(0), (12, 9), rank=2, observations=80
      ... )
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth=3))
      >>> start = objective.factorization.random_balanced(jax.random.key(1), std=0.01)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-4, observe=("product",))
      >>> ax = plot_matrix(flow)
      >>> ax.images[0].get_array().shape
      (12, 9)
      >>> beside = plot_matrix(flow, truth=problem.truth)
      >>> beside.images[0].colorbar.ax.get_ylabel()
      'entries of $W - W^*$'
    """
    title, name = None, "$W$"
    if isinstance(run, Trajectory | xr.Dataset):
        ((own, clock, _),), clock_name = arrange(run)
        products = recorded(own, "product")
        if not -len(products) <= index < len(products):
            raise ValueError(f"There are {len(products)} records, but the index is {index}.")
        matrix = products[index]
        title = f"{clock_name.replace(' $t$', '')} {clock[index]:.4g}"
    else:
        matrix = finite_array("run", run)
    if matrix.ndim != 2:
        raise ValueError(
            f"Only a matrix can be drawn, but this has shape {matrix.shape}; draw a slice of it."
        )
    if truth is not None:
        truth = finite_array("truth", truth)
        if truth.shape != matrix.shape:
            raise ValueError(f"truth must have shape {matrix.shape}, but it has {truth.shape}.")
        matrix, name = matrix - truth, "$W - W^*$"
    limit = float(np.nanmax(np.abs(matrix))) or 1.0 if limit is None else positive("limit", limit)
    with paper_style():
        ax = new_axes(ax)
        image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set(xlabel="column", ylabel="row", title=title)
        for side in ("top", "right"):
            ax.spines[side].set_visible(True)
        ax.figure.colorbar(image, ax=ax, label=f"entries of {name}")
        return ax


def plot_unobserved_entry(
    runs: Checked[Runs],
    ax: Axes | None = None,
    *,
    entry: int | None = None,
    colour_by_time: bool = False,
    lower_bound: Callable[[np.ndarray], Any] | None = None,
    yscale: Scale = "log",
) -> Axes:
    """Draw the absolute value of an unobserved entry against the loss, which falls to the right.

    Args:
      runs: a trajectory, or label -> trajectory.
      ax: where to draw; new axes by default.
      entry: which of the unobserved entries, in the order of their positions, if several.
      colour_by_time: colour the records by time or iteration, and tell runs apart by marks.
      lower_bound: a function from losses to what a theorem promises (NaN: nothing).
      yscale: of the entry.

    Raises:
      ValueError: if a run has not recorded its unobserved entries, or several and none is chosen.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), coordinates="logdet", stop_loss=1e-3)
      >>> ax = plot_unobserved_entry(flow, lower_bound=lambda loss: 1 / np.sqrt(2 * loss) - 2)
      >>> bool(ax.xaxis_inverted()), len(ax.lines)
      (True, 2)

    References:
      razin2020, Figure 1 and Lemma 18.
    """
    name = "unobserved_entries"
    drawn, clock_name = arrange(runs)
    data = [(run["loss"], np.abs(recorded(run, name, entry))) for run, *_ in drawn]
    norm = LogNorm(clip=True)
    norm.autoscale(np.concatenate([clock for _, clock, _ in drawn]))
    with paper_style():
        ax = prepare(ax, NAMES["loss"], f"|{NAMES[name]}|", "log", yscale)
        for k, ((_, clock, style), (loss, values)) in enumerate(zip(drawn, data, strict=True)):
            if not colour_by_time:
                style["marker"] = "." if len(loss) < 60 else None
                line(ax, loss, values, color=next_colour(ax), **style)
                continue
            shape = "os^DvPX"[k % 7]
            line(ax, loss, values, color="0.6", linewidth=0.7, zorder=1)
            marks = ax.scatter(loss, values, s=9, c=clock, marker=shape, norm=norm, zorder=2)
            if k == 0:
                ax.figure.colorbar(marks, ax=ax, label=clock_name)
            if style["label"]:
                ax.scatter([], [], s=12, c="0.4", marker=shape, label=style["label"])
                ax.legend()
        if lower_bound is not None:
            losses = np.concatenate([x[np.isfinite(x) & (x > 0)] for x, _ in data])
            grid = np.geomspace(losses.max(), losses.min(), 200)
            bound = np.array(lower_bound(grid), float)
            bound[bound < min(np.nanmin(values) for _, values in data)] = np.nan
            line(ax, grid, bound, label="lower bound", color="0.3", linestyle="--", linewidth=1)
        ax.xaxis.set_inverted(True)
        return ax
