"""The picture of a path of saddles."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive
from gradflow.plotting import COLOURS, paper_style
from gradflow.trajectory import Trajectory

if TYPE_CHECKING:
    from gradflow.saddles.path import SaddlePath


def plot_saddle_path(
    path: "SaddlePath",
    alpha: Checked[float] = 1e-60,
    ax: Axes | None = None,
    *,
    flow: Trajectory | None = None,
) -> Axes:
    r"""Draw the loss of the limit over time / c(alpha), and between plateaus that of the ways.

    Grey steps are the limit itself; coloured, the same at an alpha: constants and ways take a part
    of the time that vanishes like 1 / c(alpha). Bands are `predicted_error`, as far as it is less
    than a plateau.

    Args:
      path: what to draw.
      alpha: the scale of the start.
      ax: where to draw; new axes by default.
      flow: a flow from `path.start_at(alpha)`, to be drawn beside it.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> problem = gf.MatrixCompletion((2, 2), list(np.ndindex(2, 2)), [2.0, 0.0, 0.0, 1.0])
      >>> path = gf.saddle_path(gf.Objective(problem, gf.SymmetricProduct(2, 2)), (np.eye(2),))
      >>> plot_saddle_path(path).get_xlabel()
      'time $t \\, / \\, \\ln(1/\\alpha)$'
    """
    unit = path.clock(positive("alpha", alpha))
    times = path.times(alpha) / unit
    end = 1.25 * float(np.max([*times, *path.taus], initial=0.0)) or 1.0
    with paper_style():
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(layout="constrained")[1]
        edges = np.concatenate([[0.0], path.taus, [end]])
        ax.stairs(path.losses, edges, baseline=None, color="0.6", lw=0.9, label=r"$\alpha \to 0$")
        x, y = _curve(path, times, unit, end)
        ax.plot(x, y, color=COLOURS[0], label=rf"$\alpha = {_power(alpha)}$")
        plateaus = np.diff([0.0, *times])
        errors = path.predicted_error(alpha) / unit
        for at, error, plateau in zip(times, errors, plateaus, strict=True):
            if 1e-3 * end < error < plateau:
                ax.axvspan(at - error, at + error, color=COLOURS[0], alpha=0.12, lw=0)
        if flow is not None:
            ax.plot(flow.times / unit, flow["loss"], color=COLOURS[1], ls="--", label="the flow")
        for k, rank in enumerate(path.ranks):
            middle = (edges[k] + edges[k + 1]) / 2
            ax.annotate(
                str(int(rank)), (middle, path.losses[k]), xytext=(0, 3),
                textcoords="offset points", ha="center", color="0.4",
            )  # fmt: skip
        clock = r"\ln(1/\alpha)" if path.power == 0 else rf"\alpha^{{-{path.power:.3g}}}"
        ax.set(xlabel=rf"time $t \, / \, {clock}$", ylabel=r"loss $\ell(W)$", xlim=(0, end))
        ax.set_ylim(bottom=min(0.0, float(path.losses[-1])))
        ax.legend()
        return ax


def _power(alpha: float) -> str:
    """A number as 3 digits times a power of 10, without the digits if they are 1."""
    digits, power = f"{alpha:.2e}".split("e")
    short = f"{float(digits):g}"
    return (rf"{short} \cdot " if short != "1" else "") + f"10^{{{int(power)}}}"


def _curve(
    path: "SaddlePath", times: np.ndarray, unit: float, end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Plateaus, joined by the ways where these are known."""
    x, y = [0.0], [float(path.losses[0])]
    for k, at in enumerate(times):
        way = at + path.orbit_times[k] / unit
        loss = path.orbit_losses[k]
        if not np.all(np.isfinite(way)):
            way, loss = np.array([at, at]), path.losses[k : k + 2]
        later = end
        if k + 1 < len(times):  # a way may have come to rest long after the next has begun
            begins = float(np.nan_to_num(path.orbit_times[k + 1, 0]))
            later = max(times[k + 1] + begins / unit, (at + times[k + 1]) / 2)
        shown = (way > x[-1]) & (way < later)
        x.extend(way[shown])
        y.extend(loss[shown])
    return np.array([*x, end]), np.array([*y, float(path.losses[-1])])
