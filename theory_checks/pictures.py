"""Pictures of claims, drawn from the same exact flows that the verdicts rest on."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.spectrum import effective_rank_of
from theory_checks.norms import schatten
from theory_checks.razin2020 import DEPTHS, STOP_LOSS, DistanceSides, RankSides
from theory_checks.runs import blowup

BLUE, ORANGE, RED, PINK, BLACK = "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#000000"


def draw(ids: Sequence[str]) -> dict[str, bytes]:
    """PNG pictures for those of the claims that have one; one for all parts of a theorem.

    Args:
      ids: the claims that were checked.

    Returns:
      PNG images by the id of the first claim that they illustrate.
    """
    drawn = {}
    for prefix, figure in (
        ("razin2020.thm1", norm_blowup_figure),
        ("zhao2022.thm1.W", _adam_figure),
    ):
        first = next((id for id in ids if id.startswith(prefix)), None)
        if first is not None:
            drawn[first] = _png(figure())
    return drawn


def _adam_figure() -> Figure:
    from theory_checks import adam_study  # which draws with the colours above

    return adam_study.figure()


def save(pictures: dict[str, bytes], folder: Path) -> list[Path]:
    """Write the pictures as `<theorem>.png` into a folder, which is made if need be."""
    files = []
    for id, data in pictures.items():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{'.'.join(id.split('.')[:2])}.png"
        file.write_bytes(data)
        files.append(file)
    return files


def norm_blowup_figure() -> Figure:
    """Norms, effective rank and distance from rank one against the loss, with Theorem 1's bounds.

    References:
      razin2020, Theorem 1 and Figure 1 (whose runs are gradient descent; these are exact flows).
    """
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, len(DEPTHS), sharex=True, sharey="row")
    for column, depth in enumerate(DEPTHS):
        _norms(axes[0, column], depth)
        _ranks(axes[1, column], depth)
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


def _norms(ax: Axes, depth: int) -> None:
    norm = schatten(1.0)
    for start, style, name in (
        ("generic", "-", "generic start"),
        ("identity", ":", r"start $\alpha I$"),
    ):
        flow = blowup(depth, start, 1e-8, STOP_LOSS, dense=True)
        w, s = flow["product"], flow["singular_values"]
        ax.loglog(
            flow["loss"], norm.of(w, s), style, color=BLUE, linewidth=3, alpha=0.6,
            label=f"nuclear norm, {name}",
        )  # fmt: skip
        ax.loglog(
            flow["loss"], np.abs(w[:, 0, 0]), style, color=RED, linewidth=1.2,
            label=rf"unobserved $|w_{{11}}|$, {name}",
        )  # fmt: skip
    loss = np.geomspace(STOP_LOSS, 1.0, 400)
    bound = norm.a / np.sqrt(loss) - norm.b
    ax.loglog(
        loss,
        np.where(bound > 0, bound, np.nan),
        "--",
        color=BLACK,
        label="bound (8) on the nuclear norm",
    )
    ax.set_xlim(1.2, STOP_LOSS)
    ax.set_ylim(1e-3, 3e3)
    ax.grid(alpha=0.25)


def _ranks(ax: Axes, depth: int) -> None:
    flow = blowup(depth, "generic", 1e-8, STOP_LOSS, dense=True)
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
    fine = np.geomspace(STOP_LOSS, 1.0, 50)
    ax.loglog(fine, RankSides.CONSTANT * fine**0.5, "--", color=ORANGE, label="bound (9)")
    ax.loglog(fine, DistanceSides.CONSTANT * fine**0.5, "--", color=PINK, label="bound (10)")
    ax.set_ylim(1e-12, 30)
    ax.grid(alpha=0.25)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
