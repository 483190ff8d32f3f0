"""Pictures of many runs that differ by their seeds: mean and quantiles over them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gradflow._util.annotations import Checked
from gradflow._util.validate import real
from gradflow.plotting._axes import Scale, arrange, line, next_colour, prepare, recorded
from gradflow.plotting._style import paper_style


def plot_quantiles(
    runs: Checked[Sequence[Any] | Mapping[str, Sequence[Any]]],
    name: str = "loss",
    ax: Axes | None = None,
    *,
    levels: Checked[tuple[float, float]] = (0.1, 0.9),
    component: int | tuple[int, ...] | None = None,
    xscale: Scale = "log",
    yscale: Scale = "linear",
) -> Axes:
    """Draw the mean of a recorded number over seeds, and a band between two of its quantiles.

    Args:
      runs: trajectories of one experiment, two or more, recorded at the same times or iterations;
        or label -> such trajectories.
      name: of the observable.
      ax: where to draw; new axes by default.
      levels: the lower and the upper quantile, in [0, 1].
      component: which entry, by position, if the observable is an array.
      xscale: of the time or iteration.
      yscale: of the observable.

    Raises:
      ValueError: if a run has not recorded it, runs were recorded at different times, there are
        less than two, or the levels do not rise.

    Example:
      >>> import gradflow as gf, jax
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> runs = gf.run_descents(
      ...     objective,
      ...     [objective.factorization.identity(0.5)] * 4,
      ...     gf.optimizers.gd,
      ...     learning_rate=0.05,
      ...     max_steps=60,
      ...     sampling=gf.descent.Sampling(batch=1),
      ...     key=jax.random.split(jax.random.key(0), 4),
      ... )
      >>> ax = plot_quantiles(runs, yscale="log")
      >>> ax.lines[0].get_label(), len(ax.collections)
      ('mean of 4', 1)
    """
    low, high = _levels(levels)
    labelled = dict(runs) if isinstance(runs, Mapping) else {None: runs}
    bands = {label: _stacked(label, many, name, component) for label, many in labelled.items()}
    _, clock_name = arrange({str(label): many[0] for label, many in labelled.items()})
    with paper_style():
        ax = prepare(ax, clock_name, name.replace("_", " "), xscale, yscale)
        for label, (clock, values) in bands.items():
            mean, colour = np.mean(values, axis=0), next_colour(ax)
            below, above = np.quantile(values, (low, high), axis=0)
            words = f"mean of {len(values)}" if label is None else f"{label}, mean of {len(values)}"
            line(ax, clock, mean, color=colour, label=words)
            kept = clock > (0 if xscale == "log" else -np.inf)
            if yscale == "log":  # which has no zero
                below = np.where(below > 0, below, np.nan)
            ax.fill_between(
                clock[kept], below[kept], above[kept], color=colour, alpha=0.25, lw=0,
                label=f"{100 * low:g}% to {100 * high:g}%",
            )  # fmt: skip
        ax.legend()
        return ax


def _levels(levels: Checked[Any]) -> tuple[float, float]:
    found = tuple(map(real, levels)) if isinstance(levels, tuple | list) else ()
    if len(found) != 2 or not 0 <= found[0] < found[1] <= 1:
        raise ValueError(
            f"levels must be two numbers that rise from 0 to 1, such as (0.1, 0.9), but it is "
            f"{levels!r}."
        )
    return found[0], found[1]


def _stacked(
    label: str | None, runs: Any, name: str, component: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The clock of runs, and what they recorded, a row each."""
    said = "runs" if label is None else repr(label)
    if not isinstance(runs, list | tuple) or len(runs) < 2:
        raise ValueError(
            f"Quantiles are over two runs or more, but {said} has "
            f"{len(runs) if isinstance(runs, list | tuple) else 1}; give a list of them."
        )
    drawn = [arrange(run)[0][0] for run in runs]
    clock = drawn[0][1]
    for k, (_, other, _) in enumerate(drawn):
        if not np.array_equal(other, clock):
            raise ValueError(
                f"Run {k} of {said} was recorded at other times than the first ({len(other)} and "
                f"{len(clock)} records, to {other[-1]:g} and {clock[-1]:g}); give all the same "
                "record= and end, and no stop_loss."
            )
    return clock, np.stack([recorded(run, name, component) for run, *_ in drawn])
