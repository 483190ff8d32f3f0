"""What pages carry of a trajectory, and how it is packed into text."""

import base64
import gzip
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num, UInt8

from gradflow._util.validate import finite_array
from gradflow.trajectory import Trajectory

PANELS = ("singular_values", "product", "alignment")
CURVES = 100
"""The most singular values that are shown."""
_EXACT = 65_536  # up to so many entries in all, matrices are kept in float32
_LEVELS, _MISSING = 127, 255  # 8-bit levels on each side of zero; what is no finite number
_SIDE = 128  # the most rows or columns that are shown


def fits(name: str, values: np.ndarray) -> bool:
    """Whether an observable is a matrix's (a tensor's product has more axes)."""
    return values.ndim == (3 if name == "product" else 2)


def title_of(run: Trajectory) -> str:
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


def checked_truth(run: Trajectory, truth: Any) -> Float[np.ndarray, "m n"]:
    """The truth, checked against the recorded W."""
    if "product" not in run.observables or not fits("product", run["product"]):
        raise ValueError(
            "truth is compared with the matrix W, but there is no record of it; run again with "
            "observe=gradflow.plotting.OBSERVE, or leave truth away."
        )
    goal, shape = finite_array("truth", truth), run["product"].shape[1:]
    if goal.shape != shape:
        raise ValueError(f"truth must have W's shape {shape}, but its shape is {goal.shape}.")
    return goal


def spectrum_of(w: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " k"]:
    """Singular values; those of rounding (as `numpy.linalg.matrix_rank` has it) are 0."""
    values = np.linalg.svd(w, compute_uv=False)
    return np.where(values > values[0] * max(w.shape) * np.finfo(w.dtype).eps, values, 0.0)


def kept_records(run: Trajectory, moments: int) -> Int[np.ndarray, " k"]:
    """Which records a page has: at least two, evenly taken."""
    count = min(len(run), max(2, moments))
    return np.round(np.linspace(0, len(run) - 1, count)).astype(int)


def packed_spectrum(
    run: Trajectory, kept: Int[np.ndarray, " k"], goal: np.ndarray | None, most: int
) -> tuple[dict[str, Any], str]:
    """The largest singular values of these records packed; and what is needed to read them."""
    values = float32(run["singular_values"][kept])
    read: dict[str, Any] = {"of": values.shape[1], "count": min(values.shape[1], most)}
    if goal is not None:
        read["truth"] = numbers(spectrum_of(goal)[:most])
    return read, packed(values[:, :most])


def series_of(run: Trajectory, goal: np.ndarray | None) -> dict[str, np.ndarray]:
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


def places(times: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """log10 of the times; a time of 0 stands a gap to the left of the others."""
    places = np.log10(times, where=times > 0, out=np.full(len(times), np.nan))
    gap = max(0.08 * (np.nanmax(places) - np.nanmin(places)), 0.1)
    return np.where(times > 0, places, np.nanmin(places) - gap)


def numbers(values: np.ndarray) -> list[float | str]:
    """Plain numbers; JSON has no other names than strings for those that are not finite."""
    names = {np.inf: "Infinity", -np.inf: "-Infinity"}
    return [x if np.isfinite(x) else names.get(x, "NaN") for x in values.tolist()]


def packed_matrices(w: Float[np.ndarray, "k m n"]) -> tuple[dict[str, Any], str]:
    """Matrices thinned out and packed; and what is needed to read them."""
    steps = [-(-size // _SIDE) for size in w.shape[1:]]
    thin = w[:, :: steps[0], :: steps[1]]
    finite = np.isfinite(thin)
    largest = np.max(np.abs(np.where(finite, thin, 0.0)), axis=(1, 2))
    read = {"shape": thin.shape[1:], "steps": steps, "largest": largest.tolist()}
    if thin.size <= _EXACT:
        return read | {"bits": 32}, packed(float32(thin))
    codes = _quantised(thin, finite, largest)
    return read | {"bits": 8}, packed(np.diff(codes, axis=0, prepend=codes[:1] * 0))


def _quantised(
    w: Float[np.ndarray, "k m n"], finite: np.ndarray, largest: Float[np.ndarray, " k"]
) -> UInt8[np.ndarray, "k m n"]:
    """Entries as 0 to 254 around 127, on a linear scale up to each matrix's largest; or 255."""
    unit = np.where(largest > 0, largest, 1.0)[:, None, None]
    levels = np.rint(np.where(finite, w, 0.0) / unit * _LEVELS) + _LEVELS
    return np.where(finite, levels, _MISSING).astype(np.uint8)


def float32(values: np.ndarray) -> np.ndarray:
    """In float32: too large becomes infinite, too small zero (not the few digits of subnormals)."""
    with np.errstate(over="ignore", under="ignore"):
        short = values.astype(np.float32)
    return np.where(np.abs(short) < np.finfo(np.float32).tiny, np.float32(0), short)


def packed(data: np.ndarray | bytes) -> str:
    """Compressed bytes (little-endian) as text."""
    raw = data if isinstance(data, bytes) else data.astype(data.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(gzip.compress(raw, mtime=0)).decode()


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template of this folder with its {{marks}} filled in, once: what is put in has none."""
    text = _text(template)
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], text)


def script(name: str) -> str:
    """A script of this folder."""
    return _text(name)


def carried(page: Mapping[str, Any], payload: Mapping[str, str]) -> dict[str, str]:
    """Parts for a template: texts and numbers, and what is packed; no `<` can end a script."""
    blocks = [f'<script type="text/plain" id="{k}-data">{v}</script>' for k, v in payload.items()]
    plain = json.dumps(page, allow_nan=False).replace("<", "\\u003c")
    return {"page": plain, "payload": "\n".join(blocks)}


def properties(colours: tuple[str, ...]) -> str:
    """Colours as a style's properties --c0, --c1, ...."""
    return "  " + " ".join(f"--c{k}: {colour};" for k, colour in enumerate(colours))


def _text(name: str) -> str:
    return (files("gradflow.plotting") / name).read_text(encoding="utf-8")
