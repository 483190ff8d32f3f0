r"""Trajectories to explore: a slider of time that moves spectrum, loss, W and alignment.

The result is one HTML page that needs no server, no widget and no network. plotly.js and the
numbers stand in it compressed, and the browser inflates them.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.files import whole_file
from gradflow._util.validate import whole
from gradflow.plotting._packing import (
    CURVES,
    PANELS,
    carried,
    checked_truth,
    filled,
    fits,
    kept_records,
    numbers,
    packed,
    packed_matrices,
    packed_spectrum,
    places,
    properties,
    script,
    series_of,
    title_of,
)
from gradflow.plotting._style import COLOURS, DARK_COLOURS
from gradflow.plotting.explorer_runs import page_of_runs
from gradflow.trajectory import Trajectory

OBSERVE = ("loss", "singular_values", "effective_rank", "product", "alignment")
"""What to record for all panels; with "test_error" too where the problem has a truth."""


@dataclass(frozen=True, repr=False)
class Explorer:
    """A trajectory's page; the last expression of a notebook's cell shows it.

    JupyterLab shows it in trusted notebooks; `save` gives a file for all others.

    Attributes:
      html: the whole page.
      moments: how many positions its slider has.
    """

    html: str
    moments: int

    def __repr__(self) -> str:
        return f"Explorer({self.moments} moments, {len(self.html) / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that a notebook's styles and scripts stay out."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts allow-downloads" '
            'style="width: 100%; height: 780px; border: 0" title="Trajectory explorer"></iframe>'
        )

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all.

        Raises:
          FileNotFoundError: if the folder does not exist.
        """
        with whole_file(path) as temporary:
            temporary.write_text(self.html, encoding="utf-8")
        return Path(path)


def explore(
    run: Trajectory | Mapping[Any, Trajectory],
    *,
    truth: Any = None,
    moments: Checked[int] = 200,
    title: str | None = None,
) -> Explorer:
    r"""A page with a slider on the logarithm of time (flows) or iterations (descents).

    It moves the loss (with the test error), the singular values of W, W beside the truth or minus
    it, and the alignment together. Panels whose observables were not recorded are left out; record
    `OBSERVE` for all of them. On log axes t = 0 stands apart at the left edge, and what is not
    above zero (of singular values, what is below 1e-16 of the largest) leaves a gap; the numbers
    beside the names show it all the same.

    Numbers are kept in double precision, singular values in float32 (0 below 1.2e-38), matrices in
    float32 up to 65,536 entries in all. Larger matrices have 8 bits: W_k is shown as m q / 127 with
    whole q from -127 to 127 and m the largest finite |entry| of W_k, so that an entry is off by at
    most m / 254; the truth likewise. Of more than 128 rows or columns every second (third, ...) is
    shown, and of more than 100 singular values the largest.

    Several runs share one page, over each other or side by side, with one cursor that stands at a
    time, a loss or a record number in all of them; it draws without plotly and saves pictures and
    numbers. Of matrices that would make it larger than 8 MB only every second (third, ...) is kept;
    of each run's singular values the 20 largest, of which 8 are drawn. A truth gives test errors.
    Runs labelled (depth, scale), or "depth 2, scale 0.1", are a family with a slider for each.

    Args:
      run: a flow or a descent; or several by their labels, at most 40.
      truth: (d, d') what W should become; without it W stands alone. It also gives the test error
        ||W - truth||_F^2 / ||truth||_F^2, if only W was recorded.
      moments: the most positions of the slider; of more records, so many are taken evenly.
      title: the page's heading; by default what ran, or how many.

    Returns:
      An `Explorer`, which a notebook shows and `save` writes.

    Raises:
      ValueError: if a run has fewer than two records, or a single one lacks all of singular values,
        product and alignment; if there are no runs, too many, or two of one label; if the truth has
        another shape than W, or W was not recorded beside it.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start = gf.factorizations.identity_factors((2, 2, 2), 0.1)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-3, observe=gf.plotting.OBSERVE)
      >>> explore(flow, moments=20)
      Explorer(20 moments, 2.0 MB)

    References:
      arora2019, Figures 2 (singular values over time) and 3 (alignment).
    """
    count = whole("moments", moments)
    if isinstance(run, Mapping):
        return Explorer(*page_of_runs(run, truth, count, title))
    return Explorer(*_page_of_run(run, truth, count, title))


def _page_of_run(run: Trajectory, truth: Any, moments: int, title: str | None) -> tuple[str, int]:
    """The page of one run, and how many moments it has; see `explore`."""
    shown = [name for name in PANELS if name in run.observables and fits(name, run[name])]
    if not shown:
        raise ValueError(
            f"There is nothing to show beside the loss: recorded are {', '.join(run.observables)}; "
            "run again with observe=gradflow.plotting.OBSERVE."
        )
    if len(run) < 2:
        raise ValueError(f"The run has {len(run)} record; record at least two.")
    kept = kept_records(run, moments)
    of = f" of {len(run)}" if len(kept) < len(run) else ""
    records = f"{len(kept)}{of} records"
    goal = checked_truth(run, truth) if truth is not None else None
    page: dict[str, Any] = {
        "title": title or title_of(run),
        "subtitle": "; but ".join([f"{records}; the run {run.outcome.value}", *run.warnings]),
        "clock": "iteration" if run.config.get("kind") == "descent" else "t",
        "times": run.times[kept].tolist(),
        "places": places(run.times[kept]).tolist(),
        "series": {name: numbers(values[kept]) for name, values in series_of(run, goal).items()},
    }
    payload = {"plotly": _plotly()}
    if "singular_values" in shown:
        page["spectrum"], payload["spectrum"] = packed_spectrum(run, kept, goal, CURVES)
    if "product" in shown:
        w = run["product"][kept]
        w = w if goal is None else np.concatenate([w, goal[None]])
        page["matrix"], payload["matrix"] = packed_matrices(w)
        page["matrix"]["truth"] = goal is not None
    return _page(page, payload), len(kept)


def save_html(
    run: Trajectory | Mapping[Any, Trajectory],
    path: str | Path,
    *,
    truth: Any = None,
    moments: int = 200,
    title: str | None = None,
) -> Path:
    """Write the page of `explore` as one file that works without a network.

    Args:
      run: a flow or a descent, or several by their labels.
      path: where to; its folder must exist.
      truth: (d, d') what W should become.
      moments: the most positions of the slider.
      title: the page's heading; by default what ran, or how many.

    Returns:
      The path.

    Raises:
      ValueError: on what `explore` refuses.
      FileNotFoundError: if the folder does not exist.

    Example:
      >>> import pathlib, tempfile
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start = gf.factorizations.identity_factors((2, 2, 2), 0.1)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-3, observe=gf.plotting.OBSERVE)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = save_html(flow, pathlib.Path(folder) / "flow.html", moments=20)
      ...     file.stat().st_size > 1_000_000
      True
    """
    return explore(run, truth=truth, moments=moments, title=title).save(path)


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return packed(get_plotlyjs().encode())


def _page(page: dict[str, Any], payload: dict[str, str]) -> str:
    """The template, filled in; a `<` in texts cannot end the script that carries them."""
    files = {"moving": "explorer", "panels": "explorer_panels", "picture": "explorer_picture"}
    scripts = {name: script(f"{file}.js") for name, file in files.items()}
    parts = {"title": html.escape(page["title"])}
    parts |= {"light": properties(COLOURS), "dark": properties(DARK_COLOURS)}
    return filled("explorer.html", parts | scripts | carried(page, payload))
