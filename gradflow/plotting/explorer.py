r"""One trajectory to explore: a slider of time that moves its spectrum, loss, W and alignment.

The result is one HTML page that needs no server, no widget and no network. plotly.js and the
numbers stand in it compressed, and the browser inflates them.
"""

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num, UInt8

from gradflow._util.annotations import Checked
from gradflow._util.files import whole_file
from gradflow._util.validate import finite_array, whole
from gradflow.plotting.static import COLOURS
from gradflow.trajectory import Trajectory

OBSERVE = ("loss", "singular_values", "effective_rank", "product", "alignment")
"""What to record for all panels; with "test_error" too where the problem has a truth."""

_PANELS = ("singular_values", "product", "alignment")
_EXACT = 65_536  # up to so many entries in all, matrices are kept in float32
_LEVELS, _MISSING = 127, 255  # 8-bit levels on each side of zero; what is no finite number
_SIDE, _CURVES = 128, 100  # the most rows or columns, and the most singular values, that are shown


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
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" '
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
    run: Trajectory, *, truth: Any = None, moments: Checked[int] = 200, title: str | None = None
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

    Args:
      run: a flow or a descent.
      truth: (d, d') what W should become; without it W stands alone. It also gives the test error
        ||W - truth||_F^2 / ||truth||_F^2, if only W was recorded.
      moments: the most positions of the slider; of more records, so many are taken evenly.
      title: the page's heading; by default what ran.

    Returns:
      An `Explorer`, which a notebook shows and `save` writes.

    Raises:
      ValueError: if the run has fewer than two records or lacks all of singular values, product and
        alignment, or if the truth has another shape than W, or W was not recorded beside it.

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
    shown = [name for name in _PANELS if name in run.observables and _fits(name, run[name])]
    if not shown:
        raise ValueError(
            f"There is nothing to show beside the loss: recorded are {', '.join(run.observables)}; "
            "run again with observe=gradflow.plotting.OBSERVE."
        )
    if len(run) < 2:
        raise ValueError(f"The run has {len(run)} record; record at least two.")
    count = min(len(run), max(2, whole("moments", moments)))
    kept = np.round(np.linspace(0, len(run) - 1, count)).astype(int)
    records = f"{count} of {len(run)} records" if count < len(run) else f"{count} records"
    goal = _truth(run, truth) if truth is not None else None
    page: dict[str, Any] = {
        "title": title or _title(run),
        "subtitle": "; but ".join([f"{records}; the run {run.outcome.value}", *run.warnings]),
        "clock": "iteration" if run.config.get("kind") == "descent" else "t",
        "colours": COLOURS,
        "times": run.times[kept].tolist(),
        "places": _places(run.times[kept]).tolist(),
        "series": {name: _numbers(values[kept]) for name, values in _series(run, goal).items()},
    }
    payload = {"plotly": _plotly()}
    if "singular_values" in shown:
        values = _float32(run["singular_values"][kept])
        page["spectrum"] = {"of": values.shape[1], "count": min(values.shape[1], _CURVES)}
        payload["spectrum"] = _packed(values[:, :_CURVES])
        if goal is not None:
            page["spectrum"]["truth"] = _numbers(_spectrum(goal)[:_CURVES])
    if "product" in shown:
        w = run["product"][kept]
        w = w if goal is None else np.concatenate([w, goal[None]])
        page["matrix"], payload["matrix"] = _matrices(w)
        page["matrix"]["truth"] = goal is not None
    return Explorer(_page(page, payload), len(kept))


def save_html(
    run: Trajectory,
    path: str | Path,
    *,
    truth: Any = None,
    moments: int = 200,
    title: str | None = None,
) -> Path:
    """Write the page of `explore` as one file that works without a network.

    Args:
      run: a flow or a descent.
      path: where to; its folder must exist.
      truth: (d, d') what W should become.
      moments: the most positions of the slider.
      title: the page's heading; by default what ran.

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


def _fits(name: str, values: np.ndarray) -> bool:
    """Whether an observable is a matrix's (a tensor's product has more axes)."""
    return values.ndim == (3 if name == "product" else 2)


def _title(run: Trajectory) -> str:
    """What ran, as far as the configuration tells, which may come from anybody's file."""
    config = run.config
    found = config.get("objective")
    objective = found if isinstance(found, Mapping) else {}
    parts = ["Gradient flow"]
    if config.get("kind") == "descent":
        rate = config.get("learning_rate")
        parts = [f"Descent by {config.get('optimizer', 'an optimiser')}"]
        shown = f"{rate:g}" if isinstance(rate, int | float) else str(rate)
        parts += [] if rate is None else [f"learning rate {shown}"]
    if isinstance(shapes := objective.get("factor_shapes"), list):
        parts.append(f"depth {len(shapes)}")
    if isinstance(shape := objective.get("shape"), list):
        parts.append(" × ".join(map(str, shape)))
    return ", ".join(parts)


def _truth(run: Trajectory, truth: Any) -> Float[np.ndarray, "m n"]:
    """The truth, checked against the recorded W."""
    if "product" not in run.observables or not _fits("product", run["product"]):
        raise ValueError(
            "truth is compared with the matrix W, but there is no record of it; run again with "
            "observe=gradflow.plotting.OBSERVE, or leave truth away."
        )
    goal, shape = finite_array("truth", truth), run["product"].shape[1:]
    if goal.shape != shape:
        raise ValueError(f"truth must have W's shape {shape}, but its shape is {goal.shape}.")
    return goal


def _spectrum(w: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " k"]:
    """Singular values; those of rounding (as `numpy.linalg.matrix_rank` has it) are 0."""
    values = np.linalg.svd(w, compute_uv=False)
    return np.where(values > values[0] * max(w.shape) * np.finfo(w.dtype).eps, values, 0.0)


def _series(run: Trajectory, goal: np.ndarray | None) -> dict[str, np.ndarray]:
    """Numbers over all records by name."""
    found = {"loss": run["loss"]}
    if "test_error" in run.observables:
        found["test_error"] = run["test_error"]
    elif goal is not None and np.any(goal):
        gap = (run["product"] - goal).reshape(len(run), -1)
        found["test_error"] = np.sum(gap**2, axis=1) / np.sum(goal**2)
    if "alignment" in run.observables:
        found |= dict(zip(("on_diagonal", "off_diagonal"), run["alignment"].T, strict=True))
    if "effective_rank" in run.observables:
        found["effective_rank"] = run["effective_rank"]
    return found


def _places(times: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """log10 of the times; a time of 0 stands a gap to the left of the others."""
    places = np.log10(times, where=times > 0, out=np.full(len(times), np.nan))
    gap = max(0.08 * (np.nanmax(places) - np.nanmin(places)), 0.1)
    return np.where(times > 0, places, np.nanmin(places) - gap)


def _numbers(values: np.ndarray) -> list[float | str]:
    """Plain numbers; JSON has no other names than strings for those that are not finite."""
    names = {np.inf: "Infinity", -np.inf: "-Infinity"}
    return [x if np.isfinite(x) else names.get(x, "NaN") for x in values.tolist()]


def _matrices(w: Float[np.ndarray, "k m n"]) -> tuple[dict[str, Any], str]:
    """Matrices thinned out and packed; and what is needed to read them."""
    steps = [-(-size // _SIDE) for size in w.shape[1:]]
    thin = w[:, :: steps[0], :: steps[1]]
    finite = np.isfinite(thin)
    largest = np.max(np.abs(np.where(finite, thin, 0.0)), axis=(1, 2))
    read = {"shape": thin.shape[1:], "steps": steps, "largest": largest.tolist()}
    if thin.size <= _EXACT:
        return read | {"bits": 32}, _packed(_float32(thin))
    codes = _quantised(thin, finite, largest)
    return read | {"bits": 8}, _packed(np.diff(codes, axis=0, prepend=codes[:1] * 0))


def _quantised(
    w: Float[np.ndarray, "k m n"], finite: np.ndarray, largest: Float[np.ndarray, " k"]
) -> UInt8[np.ndarray, "k m n"]:
    """Entries as 0 to 254 around 127, on a linear scale up to each matrix's largest; or 255."""
    unit = np.where(largest > 0, largest, 1.0)[:, None, None]
    levels = np.rint(np.where(finite, w, 0.0) / unit * _LEVELS) + _LEVELS
    return np.where(finite, levels, _MISSING).astype(np.uint8)


def _float32(values: np.ndarray) -> np.ndarray:
    """In float32: too large becomes infinite, too small zero (not the few digits of subnormals)."""
    with np.errstate(over="ignore", under="ignore"):
        short = values.astype(np.float32)
    return np.where(np.abs(short) < np.finfo(np.float32).tiny, np.float32(0), short)


def _packed(data: np.ndarray | bytes) -> str:
    """Compressed bytes (little-endian) as text."""
    raw = data if isinstance(data, bytes) else data.astype(data.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(gzip.compress(raw, mtime=0)).decode()


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs().encode())


def _page(page: dict[str, Any], payload: dict[str, str]) -> str:
    """The template, filled in; a `<` in texts cannot end the script that carries them."""
    folder = files("gradflow.plotting")
    blocks = [f'<script type="text/plain" id="{k}-data">{v}</script>' for k, v in payload.items()]
    parts = {
        "title": html.escape(page["title"]),
        "moving": (folder / "explorer.js").read_text(encoding="utf-8"),
        "panels": (folder / "explorer_panels.js").read_text(encoding="utf-8"),
        "page": json.dumps(page, allow_nan=False).replace("<", "\\u003c"),
        "payload": "\n".join(blocks),
    }
    template = (folder / "explorer.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], template)
