"""The picture of Theorem 1, drawn from the same exact flows that the verdicts rest on."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.claims.oracles.flows import blowup
from gradflow.claims.oracles.norms import schatten
from gradflow.claims.report.pictures import BLACK, BLUE, ORANGE, PINK, RED
from gradflow.linalg.spectrum import effective_rank_of


def norm_blowup_figure(
    depths: Sequence[int], stop_loss: float, erank_constant: float, distance_constant: float
) -> Figure:
    """Norms, effective rank and distance from rank one against the loss, with Theorem 1's bounds.

    Args:
      depths: one column each.
      stop_loss: where the flows end.
      erank_constant: of the bound (9), times the root of the loss.
      distance_constant: of the bound (10).

    References:
      razin2020, Theorem 1 and Figure 1 (whose runs are gradient descent; these are exact flows).
    """
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, len(depths), sharex=True, sharey="row")
    for column, depth in enumerate(depths):
        _norms(axes[0, column], depth, stop_loss)
        _ranks(axes[1, column], depth, stop_loss, (erank_constant, distance_constant))
        axes[0, column].set_title(f"depth {depth}")
        axes[1, column].set_xlabel(r"loss $\ell$ (falls to the right)")
    axes[0, 0].set_ylabel("norm of $W$")
    axes[1, 0].set_ylabel("rank measures")
    handles = [
        *axes[0, 0].get_legend_handles_labels()[0],
        *axes[1, 0].get_legend_handles_labels()[0],
    ]
    labels = [
        *axes[0, 0].get_legend_handles_labels()[1],
        *axes[1, 0].get_legend_handles_labels()[1],
    ]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(
        "Exact gradient flow of 2x2 completion, det W(0) > 0: fitting drives norms up and rank down"
    )
    return figure


def _norms(ax: Axes, depth: int, stop_loss: float) -> None:
    norm = schatten(1.0)
    for start, style, name in (
        ("generic", "-", "generic start"),
        ("identity", ":", r"start $\alpha I$"),
    ):
        flow = blowup(depth, start, 1e-8, stop_loss, dense=True)
        w, s = flow["product"], flow["singular_values"]
        ax.loglog(
            flow["loss"], norm.of(w, s), style, color=BLUE, linewidth=3, alpha=0.6,
            label=f"nuclear norm, {name}",
        )  # fmt: skip
        ax.loglog(
            flow["loss"], np.abs(w[:, 0, 0]), style, color=RED, linewidth=1.2,
            label=rf"unobserved $|w_{{11}}|$, {name}",
        )  # fmt: skip
    loss = np.geomspace(stop_loss, 1.0, 400)
    bound = norm.a / np.sqrt(loss) - norm.b
    ax.loglog(
        loss,
        np.where(bound > 0, bound, np.nan),
        "--",
        color=BLACK,
        label="bound (8) on the nuclear norm",
    )
    ax.set_xlim(1.2, stop_loss)
    ax.set_ylim(1e-3, 3e3)
    ax.grid(alpha=0.25)


def _ranks(ax: Axes, depth: int, stop_loss: float, constants: tuple[float, float]) -> None:
    flow = blowup(depth, "generic", 1e-8, stop_loss, dense=True)
    loss, s = flow["loss"], flow["singular_values"]
    excess = np.asarray(jax.vmap(effective_rank_of)(jnp.asarray(s))) - 1
    ax.loglog(
        loss,
        np.where(excess > 0, excess, np.nan),
        color=ORANGE,
        label="effective rank - 1, generic start",
    )
    ax.loglog(
        loss,
        np.where(s[:, 1] > 0, s[:, 1], np.nan),
        color=PINK,
        label="distance from rank 1, generic start",
    )
    fine = np.geomspace(stop_loss, 1.0, 50)
    ax.loglog(fine, constants[0] * fine**0.5, "--", color=ORANGE, label="bound (9)")
    ax.loglog(fine, constants[1] * fine**0.5, "--", color=PINK, label="bound (10)")
    ax.set_ylim(1e-12, 30)
    ax.grid(alpha=0.25)
