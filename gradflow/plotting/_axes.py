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

NAMES = {
    "loss": r"loss $\ell(W)$",
    "test_error": r"test error $\|W - W^*\|_F^2 \, / \, \|W^*\|_F^2$",
    "effective_rank": "effective rank of $W$",
    "singular_values": r"singular values $\sigma_i(W)$",
    "gradient_norm": r"gradient norm",
    "alignment": r"entries of $|U^\top \nabla\ell(W)\, V|$",
    "unobserved_entries": "unobserved entry of $W$",
}
"""What an axis calls an observable."""


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


Drawn = tuple[Trajectory, np.ndarray, dict[str, Any]]
"""A run, where its records are drawn along the horizontal axis, and its line's style."""


def arrange(runs: Any) -> tuple[list[Drawn], str]:
    """Runs with their times or iterations and style; and what the clock is called.

    The labels of runs whose numbers are in doubt say so.

    Raises:
      ValueError: if something is no run, or a descent has no clock in common with a flow.
    """
    pairs = labelled(runs)
    kinds = {run.config.get("kind") for _, run in pairs}
    if len(kinds) == 1 or "descent" not in kinds:
        name = "iteration" if "descent" in kinds else "time $t$"
        return [(run, run.times, {"label": label}) for label, run in pairs], name
    drawn = []
    for label, run in pairs:
        rate, dash = 1.0, "-"
        if run.config.get("kind") == "descent":
            rate, dash = run.config.get("learning_rate"), "--"
            plain = run.config.get("optimizer") in ("sgd", "gd")
            if not isinstance(rate, int | float) or not plain:
                raise ValueError(
                    f"{label!r} has no clock in common with a flow: only optax.sgd or optimizers.gd"
                    " with a number as learning_rate= has. Draw all over what each has reached, "
                    "against='loss' of plot_observable, or flows and descents on axes of their own."
                )
        drawn.append((run, run.times * rate, {"label": label, "linestyle": dash}))
    return drawn, r"time $t$ (descent: learning rate $\times$ iteration)"


def arrange_against(runs: Any, name: str) -> tuple[list[Drawn], str]:
    """The same over a number that each run recorded, where no clock is needed; descents dashed.

    Raises:
      ValueError: if something is no run, or has not recorded one such number.
    """
    drawn, pairs = [], labelled(runs)
    mixed = len({run.config.get("kind") for _, run in pairs}) > 1
    for label, run in pairs:
        dash = "--" if mixed and run.config.get("kind") == "descent" else "-"
        values = recorded(run, name)
        if values[0].size != 1:
            raise ValueError(f"{name!r} has shape {values.shape[1:]} in each record; draw against "
                             "a single number, such as 'loss'.")  # fmt: skip
        drawn.append((run, values.reshape(len(values)), {"label": label, "linestyle": dash}))
    return drawn, NAMES.get(name, name.replace("_", " "))


def labelled(runs: Any) -> list[tuple[str | None, Trajectory]]:
    """Runs by their labels, of which doubtful ones say so.

    Raises:
      ValueError: if something is no run.
    """
    by_label = isinstance(runs, Mapping) and not isinstance(runs, xr.Dataset)
    pairs: list[Any] = list(runs.items()) if by_label else [(None, runs)]
    if not pairs:
        raise ValueError(
            "Give a Trajectory, or a dictionary label -> Trajectory, not an empty one."
        )
    read = [(label, as_trajectory(run)) for label, run in pairs]
    return [(_doubted(label, run), run) for label, run in read]


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
    shape = values.shape[1:]
    example = 0 if len(shape) == 1 else (0,) * len(shape)
    asked = "" if component is None else f"; there is no {component!r}"
    raise ValueError(
        f"{name!r} has shape {shape} in each record; choose one entry of it by its position, such "
        f"as component={example}{asked}."
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
