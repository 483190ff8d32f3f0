r"""Pictures of trajectories with matplotlib.

Every function takes one `Trajectory` or a dictionary label -> `Trajectory`, draws on the axes given
(or on new ones) and returns them. Log axes leave out what they cannot show, such as t = 0. Beside a
flow, a plain gradient descent is drawn, dashed, over learning rate times iteration.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from gradflow._validate import whole
from gradflow.trajectory import Trajectory

Runs = Trajectory | Mapping[str, Trajectory]
Scale = Literal["linear", "log"]

# Okabe and Ito's colours, which nearly all readers can tell apart, without the pale yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_NAMES = {
    "loss": r"loss $\ell(W)$",
    "test_error": r"test error $\|W - W^*\|_F^2 \, / \, \|W^*\|_F^2$",
    "effective_rank": "effective rank of $W$",
    "singular_values": r"singular values $\sigma_i(W)$",
    "unobserved_entries": "unobserved entry of $W$",
}


def paper_style() -> AbstractContextManager[None]:
    """The style of these pictures, as a context; outside of it matplotlib's settings stay.

    Example:
      >>> with paper_style():
      ...     matplotlib.rcParams["legend.frameon"]
      False
    """
    settings: dict[Any, Any] = {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.figsize": (4.6, 3.2),
        "font.size": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
    }
    return matplotlib.rc_context(settings)


def plot_observable(
    runs: Runs,
    name: str,
    ax: Axes | None = None,
    *,
    component: int | tuple[int, ...] | None = None,
    xscale: Scale = "log",
    yscale: Scale = "linear",
) -> Axes:
    """Draw a recorded number over time (flows) or iterations (descents).

    Args:
      runs: a trajectory, or label -> trajectory.
      name: of the observable.
      ax: where to draw; new axes by default.
      component: which entry, by position, if the observable is an array.
      xscale: of the time or iteration.
      yscale: of the observable.

    Raises:
      ValueError: if a run has not recorded it, or no record fits the scales.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> ax = plot_observable({"depth 2": flow}, "gradient_norm")
      >>> ax.get_xlabel(), ax.lines[0].get_label()
      ('time $t$', 'depth 2')
    """
    drawn, clock_name = _arrange(runs)
    data = [_recorded(run, name, component) for run, *_ in drawn]
    ylabel = _NAMES.get(name, name.replace("_", " "))
    ylabel += "" if component is None else f", entry {component}"
    with paper_style():
        ax = _prepare(ax, clock_name, ylabel, xscale, yscale)
        for (_, clock, style), values in zip(drawn, data, strict=True):
            _line(ax, clock, values, color=_next_colour(ax), **style)
        return ax


def plot_loss(runs: Runs, ax: Axes | None = None, *, xscale: Scale = "log") -> Axes:
    """Draw the loss, on a log axis, over time or iterations; see `plot_observable`.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> len(plot_loss(flow).lines[0].get_xdata()) == len(flow) - 1  # all but t = 0
      True
    """
    return plot_observable(runs, "loss", ax, xscale=xscale, yscale="log")


def plot_effective_rank(runs: Runs, ax: Axes | None = None, *, xscale: Scale = "log") -> Axes:
    """Draw the effective rank over time or iterations; see `plot_observable`.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> plot_effective_rank(flow).get_ylabel()
      'effective rank of $W$'
    """
    return plot_observable(runs, "effective_rank", ax, xscale=xscale)


def plot_spectrum(
    runs: Runs, ax: Axes | None = None, *, top: int = 5, xscale: Scale = "log"
) -> Axes:
    """Draw the largest singular values of W over time or iterations.

    A run without a label has a colour for each of the first seven; runs with labels have one each,
    fainter for smaller singular values. The axis ends 16 digits below the largest value drawn.

    Args:
      runs: a trajectory, or label -> trajectory.
      ax: where to draw; new axes by default.
      top: how many, from the largest on.
      xscale: of the time or iteration.

    Raises:
      ValueError: if a run has not recorded them, or `top` is below 1.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), horizon=9.0)
      >>> len(plot_spectrum(flow).lines)
      2
    """
    top = whole("top", top)
    drawn, clock_name = _arrange(runs)
    data = [_recorded(run, "singular_values", ...)[:, :top] for run, *_ in drawn]
    with paper_style():
        ax = _prepare(ax, clock_name, _NAMES["singular_values"], xscale, "log")
        for (_, clock, style), values in zip(drawn, data, strict=True):
            colour, count = _next_colour(ax), values.shape[1]
            for i, value in enumerate(values.T):
                own = {"label": None if i else style["label"], "alpha": 1 - 0.7 * i / count}
                if style["label"] is None:
                    few = i < len(COLOURS)
                    colour = COLOURS[i] if few else "0.7"
                    own = {"label": rf"$\sigma_{{{i + 1}}}$" if few else None}
                if i == 0 or np.any(value > 0):
                    _line(ax, clock, value, color=colour, **style | own)
        if ax.dataLim.y0 < 1e-16 * ax.dataLim.y1:
            ax.set_ylim(1e-16 * ax.dataLim.y1, 4 * ax.dataLim.y1)
        return ax


def plot_unobserved_entry(
    runs: Runs,
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
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> flow = gf.solve_flow(objective, 0.1 * np.eye(2), coordinates="logdet", stop_loss=1e-3)
      >>> ax = plot_unobserved_entry(flow, lower_bound=lambda loss: 1 / np.sqrt(2 * loss) - 2)
      >>> bool(ax.xaxis_inverted()), len(ax.lines)
      (True, 2)

    References:
      razin2020, Figure 1 and Lemma 18.
    """
    name = "unobserved_entries"
    drawn, clock_name = _arrange(runs)
    data = [(run["loss"], np.abs(_recorded(run, name, entry))) for run, *_ in drawn]
    norm = LogNorm(clip=True)
    norm.autoscale(np.concatenate([clock for _, clock, _ in drawn]))
    with paper_style():
        ax = _prepare(ax, _NAMES["loss"], f"|{_NAMES[name]}|", "log", yscale)
        for k, ((_, clock, style), (loss, values)) in enumerate(zip(drawn, data, strict=True)):
            if not colour_by_time:
                style["marker"] = "." if len(loss) < 60 else None
                _line(ax, loss, values, color=_next_colour(ax), **style)
                continue
            shape = "os^DvPX"[k % 7]
            _line(ax, loss, values, color="0.6", linewidth=0.7, zorder=1)
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
            _line(ax, grid, bound, label="lower bound", color="0.3", linestyle="--", linewidth=1)
        ax.xaxis.set_inverted(True)
        return ax


def _arrange(runs: Any) -> tuple[list[tuple[Trajectory, np.ndarray, dict[str, Any]]], str]:
    """Runs with their times or iterations and style; and what the clock is called."""
    pairs: list[Any] = list(runs.items()) if isinstance(runs, Mapping) else [(None, runs)]
    if not pairs or not all(isinstance(run, Trajectory) for _, run in pairs):
        raise ValueError(f"Give a Trajectory, or a dictionary label -> Trajectory, not {runs!r}.")
    kinds = {run.config.get("kind") for _, run in pairs}
    if len(kinds) == 1:
        name = "iteration" if "descent" in kinds else "time $t$"
        return [(run, run.times, {"label": label}) for label, run in pairs], name
    drawn = []
    for label, run in pairs:
        rate, dash = 1.0, "-"
        if run.config.get("kind") == "descent":
            rate, dash = run.config.get("learning_rate"), "--"
            if rate is None or run.config.get("optimizer") != "sgd":
                raise ValueError(f"Draw {label!r} apart: it is not optax.sgd with learning_rate=.")
        drawn.append((run, run.times * rate, {"label": label, "linestyle": dash}))
    return drawn, r"time $t$ (descent: learning rate $\times$ iteration)"


def _recorded(run: Trajectory, name: str, component: Any) -> np.ndarray:
    """One entry of an observable over all records; everything for `...`."""
    if name not in run.observables:
        raise ValueError(
            f"{name!r} was not recorded; run again with observe=({name!r}, ...). "
            f"Recorded are {', '.join(run.observables)}."
        )
    values = run[name]
    if component is ...:
        return values
    key = component if isinstance(component, tuple) else (component,)
    if component is None and values[0].size == 1:
        key = (0,) * (values.ndim - 1)
    with suppress(IndexError):
        if None not in key and len(key) == values.ndim - 1:
            return values[:, *key]
    raise ValueError(
        f"{name!r} has shape {values.shape[1:]} in each record; choose one entry of it by its "
        f"position, not {component!r}."
    )


def _prepare(ax: Axes | None, x: str, y: str, xscale: Scale, yscale: Scale) -> Axes:
    """Label and scale the axes, if need be new ones; refuse axes that show something else."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1]
        ax.grid(alpha=0.25, linewidth=0.6)
    shown_x, shown_y = (ax.get_xlabel(), ax.get_ylabel()) if ax.has_data() else ("", "")
    if shown_x not in ("", x):
        raise ValueError(f"The axes show {shown_x!r}, not {x!r}; use others, or one dictionary.")
    if shown_y and y not in shown_y:
        y = f"{shown_y}, {y}"
    ax.set(xlabel=x, ylabel=y, xscale=xscale, yscale=yscale)
    return ax


def _next_colour(ax: Axes) -> str:
    """The first of the colours that the axes show least."""
    return min(COLOURS, key=[line.get_color() for line in ax.lines].count)


def _line(ax: Axes, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """Draw what the scales can show: nothing where x cannot be, a gap where y cannot be."""
    low_x, low_y = (0 if s == "log" else -np.inf for s in (ax.get_xscale(), ax.get_yscale()))
    kept = np.isfinite(x) & (x > low_x)
    y = np.where(np.isfinite(y) & (y > low_y), y, np.nan)[kept]
    if np.all(np.isnan(y)):
        raise ValueError("No record is finite and fits the scales; record more, or use 'linear'.")
    ax.plot(x[kept], y, **style)
    if style.get("label"):
        ax.legend()
