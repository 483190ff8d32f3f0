"""What the pictures of `gradflow.plotting` share: clocks, records, labels and lines."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from gradflow.plotting._style import COLOURS
from gradflow.trajectory import Outcome, Trajectory

Run = Trajectory | xr.Dataset
Runs = Run | Mapping[str, Run]
Scale = Literal["linear", "log"]


def as_trajectory(run: Any) -> Trajectory:
    """The run itself, or one read from what `Trajectory.to_xarray` gave.

    Raises:
      ValueError: if it is neither.
    """
    if isinstance(run, Trajectory):
        return run
    if not isinstance(run, xr.Dataset) or not {"outcome", "config"} <= run.attrs.keys():
        raise ValueError(
            "Give a Trajectory, or a dictionary label -> Trajectory (or their to_xarray()), "
            f"not {run!r}."
        )
    return Trajectory(
        times=run["time"],
        observables={str(k): v for k, v in run.data_vars.items() if v.dims[:1] == ("time",)},
        final={},
        initial={},
        outcome=Outcome[run.attrs["outcome"]],
        stats=json.loads(run.attrs.get("stats", "{}")),
        config=json.loads(run.attrs["config"]),
    )


def arrange(runs: Any) -> tuple[list[tuple[Trajectory, np.ndarray, dict[str, Any]]], str]:
    """Runs with their times or iterations and style; and what the clock is called.

    The labels of runs whose numbers are in doubt say so.

    Raises:
      ValueError: if something is no run, or a descent has no clock in common with a flow.
    """
    labelled = isinstance(runs, Mapping) and not isinstance(runs, xr.Dataset)
    pairs: list[Any] = list(runs.items()) if labelled else [(None, runs)]
    if not pairs:
        raise ValueError(
            "Give a Trajectory, or a dictionary label -> Trajectory, not an empty one."
        )
    read = [(label, as_trajectory(run)) for label, run in pairs]
    pairs = [(_doubted(label, run), run) for label, run in read]
    kinds = {run.config.get("kind") for _, run in pairs}
    if len(kinds) == 1 or "descent" not in kinds:
        name = "iteration" if "descent" in kinds else "time $t$"
        return [(run, run.times, {"label": label}) for label, run in pairs], name
    drawn = []
    for label, run in pairs:
        rate, dash = 1.0, "-"
        if run.config.get("kind") == "descent":
            rate, dash = run.config.get("learning_rate"), "--"
            if not isinstance(rate, int | float) or run.config.get("optimizer") != "sgd":
                raise ValueError(
                    f"Draw {label!r} apart: it is not optax.sgd with a number as learning_rate=."
                )
        drawn.append((run, run.times * rate, {"label": label, "linestyle": dash}))
    return drawn, r"time $t$ (descent: learning rate $\times$ iteration)"


def _doubted(label: str | None, run: Trajectory) -> str | None:
    if not run.warnings:
        return label
    return "with warnings" if label is None else f"{label}, with warnings"


def recorded(run: Trajectory, name: str, component: Any = ...) -> np.ndarray:
    """One entry of an observable over all records; everything for `...`.

    Raises:
      ValueError: if it was not recorded, or no single entry is chosen.
    """
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


def new_axes(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1]
    return ax


def prepare(ax: Axes | None, x: str, y: str, xscale: Scale, yscale: Scale) -> Axes:
    """Label and scale the axes, if need be new ones.

    Raises:
      ValueError: if the axes show something else.
    """
    if ax is None:
        ax = new_axes(ax)
        ax.grid()
    shown_x, shown_y = (ax.get_xlabel(), ax.get_ylabel()) if ax.has_data() else ("", "")
    if shown_x not in ("", x):
        raise ValueError(f"The axes show {shown_x!r}, not {x!r}; use others, or one dictionary.")
    if shown_y and y not in shown_y:
        y = f"{shown_y}, {y}"
    ax.set(xlabel=x, ylabel=y, xscale=xscale, yscale=yscale)
    return ax


def next_colour(ax: Axes) -> str:
    """The first of the colours that the axes show least."""
    return min(COLOURS, key=[line.get_color() for line in ax.lines].count)


def line(ax: Axes, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """Draw what the scales can show: nothing where x cannot be, a gap where y cannot be.

    Raises:
      ValueError: if they can show nothing.
    """
    low_x, low_y = (0 if s == "log" else -np.inf for s in (ax.get_xscale(), ax.get_yscale()))
    kept = np.isfinite(x) & (x > low_x)
    y = np.where(np.isfinite(y) & (y > low_y), y, np.nan)[kept]
    if np.all(np.isnan(y)):
        raise ValueError("No record is finite and fits the scales; record more, or use 'linear'.")
    ax.plot(x[kept], y, **style)
    if style.get("label"):
        ax.legend()
