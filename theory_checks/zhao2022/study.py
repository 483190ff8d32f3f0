r"""How far Theorem 1 of zhao2022 and its corrections are from real Adam, and what drives the error.

Run as `python -m theory_checks.zhao2022.study` for the table. `table` measures velocities over a
window after five memories 1/(1 - beta); `figure` draws the errors against the learning rate, and
along a run from the paper's start. The formulas are those of `_runs`; errors are relative, so 1
means as wrong as saying that nothing moves.

What was found (6x6, seed 0). At depth 1 printed and corrected agree, and their error is that of the
model (15): 1% at a learning rate of 1e-6, 100% at the paper's 1e-3, where the memory of v is as
long as the whole fit. From depth 2 on the printed formula is off by 85% to 100% where (15) holds,
whatever the batch and betas. From a generic balanced start that is the wrong place of S_j: order
and partial products change nothing. From the paper's small start, where the factors are nearly of
rank one with entries of one size, it is the Kronecker order first (100% falls to about 10% in the
rise); later, at a time of 1, what is left is the place of S_j at depth 2 and the unbalancedness at
depth 3, 40% each. With full batches the corrected error grows faster with the learning rate: there
the model is a sign, which jumps where an entry of the gradient changes its own.
"""

from dataclasses import dataclass

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from gradflow.claims.report.pictures import BLACK, BLUE, ORANGE, PINK, RED

from ._runs import OBSERVED, Setup, windows

DEPTHS = (1, 2, 3)
RATES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
BETAS = ((0.9, 0.999), (0.999, 0.999), (0.9, 0.99))
BATCHES = (None, 4)
LINES = {
    "printed": (RED, "o", "Theorem 1 as printed"),
    "order repaired": (ORANGE, "s", "Kronecker order and layers repaired"),
    "partial products": (PINK, "^", "and partial products, no balance assumed"),
    "corrected": (BLUE, "D", "corrected: $S_j$ on the layer's gradient"),
}


@dataclass(frozen=True)
class Row:
    """One Adam run.

    Attributes:
      depth: N.
      rate: the learning rate.
      betas: (beta_1, beta_2).
      batch: entries in a minibatch; None for full batches.
      printed: relative error of Theorem 1's dW/dt, Equation (6).
      cosine: of the angle between Theorem 1's dW/dt and the run's.
      order_repaired: with the Kronecker order and the layers' exponents put right.
      partial_products: and with partial products instead of powers of W W^T.
      corrected: with S_j on the layer's gradient too, which is exact for Equation (15).
      model: relative error of (15) itself, over all layers.
      unbalancedness: largest |W_{j+1}^T W_{j+1} - W_j W_j^T| relative to the factors.
      noise: median of s / |g|.
      turning: share of the gradient's entries that change sign within the memory.
      loss: at the window.
    """

    depth: int
    rate: float
    betas: tuple[float, float]
    batch: int | None
    printed: float
    cosine: float
    order_repaired: float
    partial_products: float
    corrected: float
    model: float
    unbalancedness: float
    noise: float
    turning: float
    loss: float


def table(
    seed: int = 0,
    rates: tuple[float, ...] = RATES,
    betas: tuple[tuple[float, float], ...] = BETAS,
    depths: tuple[int, ...] = DEPTHS,
) -> list[Row]:
    """The study's runs from balanced starts, entries of about 0.4, 6x6, rank 2, 24 observed.

    Args:
      seed: of problem, start and batches.
      rates: learning rates.
      betas: pairs (beta_1, beta_2).
      depths: N.

    Returns:
      One row a run.
    """
    rows = []
    for depth in depths:
        for batch in BATCHES:
            for pair in betas:
                for rate in rates:
                    # A window long enough to average the sampling noise, but of little motion.
                    window = 10000 if rate <= 1e-6 else 2000 if rate <= 1e-5 else 400
                    setup = Setup(depth, rate, pair, batch, window=window, seed=seed)
                    (found,) = windows(setup)
                    rows.append(Row(
                        depth=depth, rate=rate, betas=pair, batch=batch,
                        printed=found.error("printed"),
                        cosine=cosine(found.product, found.formulas["printed"]),
                        order_repaired=found.error("order repaired"),
                        partial_products=found.error("partial products"),
                        corrected=found.error("corrected"),
                        model=found.model_error(), unbalancedness=found.unbalancedness,
                        noise=found.noise, turning=found.turning, loss=found.loss,
                    ))  # fmt: skip
    return rows


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two matrices."""
    return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def text(rows: list[Row]) -> str:
    """The rows as a plain table."""
    head = (
        "depth    rate           betas  batch  printed  cosine  order  partial  corrected  (15)  "
    )
    lines = [head + "unbalanced  s/|g|  turning     loss"]
    for r in rows:
        batch = "full" if r.batch is None else str(r.batch)
        lines.append(
            f"{r.depth:5d}  {r.rate:6.0e}  {r.betas!s:>14}  {batch:>5}  {r.printed:7.3f}"
            f"  {r.cosine:6.3f}"
            f"  {r.order_repaired:5.3f}  {r.partial_products:7.3f}  {r.corrected:9.4f}"
            f"  {r.model:.3f}  {r.unbalancedness:9.4f}  {r.noise:5.2f}  {r.turning:7.3f}"
            f"  {r.loss:7.2g}"
        )
    return "\n".join(lines)


def figure(rows: list[Row] | None = None, seed: int = 0) -> Figure:
    """Errors against the learning rate by depth, and along runs from the paper's start.

    Args:
      rows: of `table`; run if None.
      seed: of everything.

    Returns:
      A figure of two rows of panels.

    References:
      zhao2022, Theorem 1.
    """
    rows = table(seed) if rows is None else rows
    made = Figure(figsize=(11, 7.6), layout="constrained")
    axes = made.subplots(2, len(DEPTHS), sharey=True, squeeze=False)
    for column, depth in enumerate(DEPTHS):
        _against_rate(axes[0, column], [r for r in rows if r.depth == depth])
        agree = ": all formulas agree" if depth == 1 else ""
        axes[0, column].set_title(f"depth {depth}{agree}")
        _against_time(axes[1, column], depth, seed)
    for row, start in enumerate(("balanced start, entries 0.4", "paper's start, std $10^{-3}$")):
        axes[row, 0].set_ylabel(f"relative error of $\\dot W$\n{start}")
    axes[0, 0].set_ylim(3e-4, 2)
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=4, label=label)
        for color, marker, label in LINES.values()
    ]
    handles += [
        Line2D([], [], color=BLACK, label=f"batches of 4 of {OBSERVED} entries"),
        Line2D([], [], color=BLACK, linestyle=":", label="full batches"),
        Line2D([], [], color=BLACK, linestyle="--", label="relative unbalancedness"),
    ]
    made.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    made.suptitle("Real Adam against Theorem 1 of zhao2022: 6x6, rank 2, 24 entries observed")
    return made


def _against_rate(ax: Axes, rows: list[Row]) -> None:
    for name, (color, marker, _) in LINES.items():
        for batch, style in ((None, ":"), (4, "-")):
            chosen = [r for r in rows if r.batch == batch and r.betas == (0.9, 0.999)]
            ax.loglog(
                [r.rate for r in chosen],
                [getattr(r, name.replace(" ", "_")) for r in chosen],
                style, color=color, marker=marker, markersize=4, linewidth=1.3,
            )  # fmt: skip
    ax.axhline(0.1, color=BLACK, linewidth=0.6)
    ax.set_xlabel(r"learning rate $\alpha$ (entries per iteration)")
    ax.grid(alpha=0.25)


def _against_time(ax: Axes, depth: int, seed: int) -> None:
    """A run at rate 1e-5 with batches: memory 0.01 in time units, against a fit of about 1."""
    setup = Setup(
        depth, 1e-5, batch=4, start="gaussian", steps=1000, window=2000, windows=50, seed=seed
    )
    found = windows(setup)
    times = [w.time for w in found]
    for name, (color, _, _) in LINES.items():
        ax.loglog(times, [w.error(name) for w in found], color=color, linewidth=1.3)
    if depth > 1:
        balance = [w.unbalancedness for w in found]
        ax.loglog(times, balance, "--", color=BLACK, linewidth=1)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.axhline(0.1, color=BLACK, linewidth=0.6)
    ax.set_xlabel(r"time $\alpha\,\times$ iterations (entries)")
    ax.grid(alpha=0.25)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(text(table()))
