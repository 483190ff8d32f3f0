r"""Several trajectories on one page, with one cursor for all: see `gradflow.plotting.explore`."""

import html
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradflow.plotting._packing import (
    carried,
    checked_truth,
    filled,
    fits,
    kept_records,
    numbers,
    packed_matrices,
    packed_spectrum,
    properties,
    script,
    series_of,
    title_of,
)
from gradflow.plotting._style import COLOURS, DARK_COLOURS
from gradflow.trajectory import Trajectory

MOST_RUNS = 40
_CURVES = 20  # the most singular values that are kept of a run
_ROOM = 6_000_000  # characters that all matrices together may take
_FAMILY = r"depth (\d+), (?:scale|std|alpha) ([-+.\de]+)"
_SCRIPTS = {"chart": "chart.js", "runs": "explorer_runs.js", "moving": "explorer_runs_page.js"}


def page_of_runs(
    runs: Mapping[Any, Trajectory], truth: Any, moments: int, title: str | None
) -> tuple[str, int]:
    """The page of several runs, and the most moments that one of them has.

    Args:
      runs: by label; a label may be (depth, scale).
      truth: (d, d') what each W should become, or None.
      moments: the most of each run that are kept.
      title: the page's heading, or None.

    Raises:
      ValueError: see `gradflow.plotting.explore`.
    """
    labels = [_label(key) for key in runs]
    _check(labels, list(runs.values()))
    payload: dict[str, str] = {}
    kept = [kept_records(run, moments) for run in runs.values()]
    told = [
        _one(run, label, records, truth, payload, f"spectrum-{k}")
        for k, (run, label, records) in enumerate(zip(runs.values(), labels, kept, strict=True))
    ]
    for k, (read, text) in enumerate(_all_matrices(list(runs.values()), kept)):
        if text:
            told[k]["matrix"], payload[f"matrix-{k}"] = read, text
    heading = title or f"{len(runs)} runs"
    page = {"title": heading, "runs": told, "family": _family(labels)}
    parts = {k: script(name) for k, name in _SCRIPTS.items()} | carried(page, payload)
    parts |= {"title": html.escape(heading)}
    parts |= {"light": properties(COLOURS), "dark": properties(DARK_COLOURS)}
    return filled("explorer_runs.html", parts), max(map(len, kept))


def _label(key: Any) -> str:
    """A run's name; a pair of numbers is (depth, scale)."""
    if isinstance(key, tuple) and len(key) == 2:
        return f"depth {key[0]}, scale {key[1]:g}"
    return str(key)


def _check(labels: list[str], runs: list[Trajectory]) -> None:
    if not runs:
        raise ValueError("There is no run to show; give at least one.")
    if len(runs) > MOST_RUNS:
        raise ValueError(
            f"{len(runs)} runs are more than one page can tell apart; give at most {MOST_RUNS}."
        )
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise ValueError(f"Two runs have the label {twice[0]!r}; give each its own.")
    for label, run in zip(labels, runs, strict=True):
        if len(run) < 2:
            raise ValueError(f"The run {label!r} has {len(run)} record; record at least two.")


def _family(labels: list[str]) -> list[list[float]] | None:
    """Each run's depth and scale, if all labels tell them and no two the same."""
    found = [re.fullmatch(_FAMILY, label) for label in labels]
    try:
        pairs = [[float(one[1]), float(one[2])] for one in found if one]
    except ValueError:
        return None
    known = len(pairs) == len(labels) and len({tuple(pair) for pair in pairs}) == len(pairs)
    return pairs if known and len(pairs) > 1 and np.all(np.isfinite(pairs)) else None


def _one(
    run: Trajectory,
    label: str,
    kept: np.ndarray,
    truth: Any,
    payload: dict[str, str],
    block: str,
) -> dict[str, Any]:
    """What the page says of a run, its matrices apart; singular values go into the payload."""
    goal = checked_truth(run, truth) if truth is not None else None
    told: dict[str, Any] = {
        "label": label,
        "what": title_of(run),
        "outcome": "; but ".join([f"the run {run.outcome.value}", *run.warnings]),
        "clock": "iteration" if run.config.get("kind") == "descent" else "t",
        "records": kept.tolist(),
        "times": numbers(run.times[kept]),
        "series": {name: numbers(values[kept]) for name, values in series_of(run, goal).items()},
    }
    if "singular_values" in run.observables and fits("singular_values", run["singular_values"]):
        told["spectrum"], payload[block] = packed_spectrum(run, kept, None, _CURVES)
    return told


def _all_matrices(
    runs: list[Trajectory], kept: list[np.ndarray]
) -> list[tuple[dict[str, Any], str]]:
    """Each run's matrices packed, of as many moments as all together have room for."""
    every = 1
    while True:
        found = []
        for run, records in zip(runs, kept, strict=True):
            if "product" not in run.observables or not fits("product", run["product"]):
                found.append(({}, ""))
                continue
            read, text = packed_matrices(run["product"][records[::every]])
            found.append((read | {"every": every}, text))
        size = sum(len(text) for _, text in found)
        if size <= _ROOM or every >= max(map(len, kept)):
            return found
        every = max(every + 1, int(np.ceil(every * size / _ROOM)))
