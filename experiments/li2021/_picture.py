"""The picture of li2021's counterexample: four panels, the scale of the start falling to the right.

Where flows end, how far that is from the limit, of which rank; and the loss on the way.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Results

from ._completion import exponent, first_loss, rates

COLOURS = gf.plotting.COLOURS
ALPHA = r"scale of the start $\alpha$"
SMALL = 1e-2
"""The alpha that is not small."""
SHOWN = 4
"""Curves of the loss."""


def picture(results: Results) -> Figure:
    """See the module's docstring."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(2, 2, figsize=(7.0, 5.6), layout="constrained")
        _distances(axes[0, 0], results)
        _norms(axes[0, 1], results)
        _spectra(axes[1, 0], results)
        _losses(axes[1, 1], results)
    return figure


def _over_alpha(ax: Axes, results: Results) -> None:
    alphas = results.values("alpha")
    ax.set(xscale="log", xlabel=ALPHA)
    if alphas:
        ax.set_xlim(alphas[-1] * 3, alphas[0] / 3)  # falling
        ax.axvline(SMALL, color="gray", ls="--", lw=0.9)
        ax.annotate(
            r"$\alpha = 10^{-2}$", (SMALL, 0.6), xycoords=("data", "axes fraction"),
            xytext=(4, 0), textcoords="offset points", color="gray", fontsize=7,
        )  # fmt: skip


def _lines(ax: Axes, results: Results, name: str) -> None:
    """A number against alpha, a line a start; random ones are thin."""
    named: set[str] = set()
    for (kind, _), rows in results.table.groupby(["start", "seed"], sort=False):
        rows = rows.sort_values("alpha")
        style: dict[str, Any] = (
            {"color": COLOURS[0], "marker": "o", "ms": 3, "zorder": 3, "label": r"from $\alpha I$"}
            if kind == "identity"
            else {"color": COLOURS[5], "lw": 0.8, "label": r"from random $\alpha A A^\top$"}
        )
        if kind in named:
            style.pop("label")
        named.add(str(kind))
        ax.plot(rows["alpha"], rows[name], **style)


def _distances(ax: Axes, results: Results) -> None:
    """How far ends are from the limit, with the law's slope through the last."""
    _over_alpha(ax, results)
    _lines(ax, results, "distance")
    ax.set(yscale="log", ylabel="distance of the end from the limit", title="how slowly it comes")
    table = results.table
    if not table.empty:
        power, first = exponent(results.grid.ratio), table[table["start"] == table["start"].iloc[0]]
        at = first.loc[first["alpha"].idxmin()]
        # From where it would be the whole distance on.
        alphas = at["alpha"] * np.array([1.0, at["distance"] ** (-1 / power)])
        law = at["distance"] * (alphas / at["alpha"]) ** power
        ax.plot(alphas, law, color="black", ls=":", lw=1.1, label=rf"$\alpha^{{{power:.3f}}}$")
        ax.legend(loc="lower left")


def _norms(ax: Axes, results: Results) -> None:
    """Nuclear norms of the ends, between the least and the limit's."""
    _over_alpha(ax, results)
    table, ratio = results.table, results.grid.ratio
    if not table.empty:
        _lines(ax, results, "nuclear_norm")
        least = float(table["least_norm"].iloc[0])
        ax.axhline(2 * ratio**2 + 2, color=COLOURS[2], ls=":", label=r"of the limit, $2R^2 + 2$")
        ax.axhline(least, color=COLOURS[1], ls="--", label="least, $4R$")
        ax.legend(loc="center right")
    ax.set(ylabel="nuclear norm of the end", title="what it looks like on the way")


def _spectra(ax: Axes, results: Results) -> None:
    """Singular values of the ends from one start: two, then one."""
    _over_alpha(ax, results)
    ax.set(
        yscale="log", ylim=(1e-8, 3), ylabel="singular value / largest",
        title=r"of which rank it is, from $\alpha I$",
    )  # fmt: skip
    runs = _one_start(results)
    if len(runs):
        table = sorted(((cell.alpha, data) for cell, data in runs), key=lambda one: one[0])
        alphas = [alpha for alpha, _ in table]
        values = np.array([np.asarray(data["spectrum"]) for _, data in table])
        shares = np.maximum(values / values[:, :1], 1e-300)
        for k, label in enumerate(("first", "second", "third", "fourth")):
            ax.plot(
                alphas, shares[:, k], marker="o", ms=3, color=COLOURS[k], label=label,
                ls=("-", "-", "--", ":")[k],
            )  # fmt: skip
        ax.legend(loc="lower center")


def _losses(ax: Axes, results: Results) -> None:
    """The loss over time in units of ln(1/alpha), and when the limit jumps."""
    runs = sorted(_one_start(results), key=lambda one: -one[0].alpha)
    runs = [one for one in runs if one[0].alpha < 0.5]
    chosen = sorted({round(k) for k in np.linspace(0, len(runs) - 1, SHOWN)}) if runs else []
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, max(len(chosen), 1)))
    jump = 1 / (2 * rates(results.grid.ratio)[0])
    for k, colour in zip(chosen, colours, strict=False):
        cell, data = runs[k]
        time = np.asarray(data["time"]) / np.log(1 / cell.alpha)
        loss = np.asarray(data["loss"]) / first_loss(cell.ratio)
        ax.plot(time, loss, color=colour, label=rf"$\alpha = 10^{{{np.log10(cell.alpha):.0f}}}$")
    ax.stairs([1, 0], [0, jump, 2.5 * jump], baseline=None, color="black", ls=":", label="limit")
    ax.set(
        xlim=(0, 2.5 * jump), ylim=(-0.04, 1.08), xlabel=r"time / $\ln(1/\alpha)$",
        ylabel="loss / first loss", title="from the saddle at 0 to the end",
    )  # fmt: skip
    ax.legend(loc="upper right")


def _one_start(results: Results) -> Results:
    """The runs from the identity or, without any, from the first seed."""
    found = results.where(start="identity")
    return found if len(found) else results.where(seed=min(results.values("seed"), default=0))
