"""wang2024, Figure 3: effective rank and distance from the infimal rank fall along the flow."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Finding, Results, register

from .fig2 import AlongTheFlow

Measure = Callable[[xr.Dataset], np.ndarray]
"""A number at every record of a flow."""
C1, C2 = 2 * np.sqrt(12) / np.log(2), 3 * np.sqrt(2)
"""Constants of the bounds on effective rank and distance (razin2020, Theorem 1)."""


@register
class Fig3(AlongTheFlow):
    """Two notions of rank along the flow of Figure 2."""

    id = "wang2024.fig3"
    title = "effective rank and distance from the infimal rank along the flow of the 2x2 problem"

    def plot(self, results: Results) -> Figure:
        depths = results.values("depth")
        colour = dict(zip(depths, gf.plotting.COLOURS, strict=False))
        with gf.plotting.paper_style():
            figure, axes = plt.subplots(2, 2, figsize=(7.2, 5.4), layout="constrained")
            for cell, data in results:
                style = {"color": colour[cell.depth], "lw": 1.3}
                style["ls"] = "-" if cell.start == "identity" else "--"
                time, loss = data["time"].to_numpy(), data["loss"].to_numpy()
                excess, distance = excess_rank(data), distance_from_rank_1(data)
                axes[0, 0].plot(time, 1 + excess, **style)
                axes[0, 1].plot(time, distance, **style)
                axes[1, 0].plot(loss, np.where(excess > 0, excess, np.nan), **style)
                axes[1, 1].plot(loss, np.where(distance > 0, distance, np.nan), **style)
            losses = [float(v) for _, data in results for v in (data["loss"][0], data["loss"][-1])]
            grid = np.geomspace(max(losses), min(losses))
            for ax, c in zip(axes[1], (C1, C2), strict=True):
                ax.plot(grid, c * np.sqrt(grid), ":", color="black")
                ax.set(xscale="log", yscale="log", xlabel=r"loss $\ell(t)$", ylim=(1e-12, 30))
                ax.invert_xaxis()
            for ax in axes[0]:
                ax.set(xscale="log", xlabel="time $t$")
            axes[0, 0].set(ylabel="effective rank", title="effective rank", ylim=(0.97, 2.05))
            axes[0, 1].set(ylabel=r"$D(W(t), \mathcal{M}_1)$", title="distance from infimal rank")
            axes[1, 0].set(ylabel="effective rank less 1")
            axes[1, 1].set(ylabel=r"$D(W(t), \mathcal{M}_1)$")
            handles = [Line2D([], [], color=colour[d], label=f"depth {d}") for d in depths]
            for kind, dash in (("identity", "-"), ("random", "--")):
                if len(results.where(start=kind)):
                    handles.append(Line2D([], [], color="0.4", ls=dash, label=f"{kind} start"))
            handles.append(Line2D([], [], color="black", ls=":", label=r"bound $c \sqrt{\ell}$"))
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return figure

    def compare(self, results: Results) -> list[Finding]:
        return [
            self._falling(
                results, excess_rank, "Effective rank falls to its infimum 1 over the solutions",
                "effective rank - 1",
            ),
            self._falling(
                results, distance_from_rank_1, "The distance from the infimal rank 1 falls to zero",
                "distance",
            ),
            self._bounded(results, excess_rank, C1, "Effective rank stays below 1 + c sqrt(loss)"),
            self._bounded(
                results, distance_from_rank_1, C2,
                "The distance from the infimal rank stays below c sqrt(loss)",
            ),
        ]  # fmt: skip

    @staticmethod
    def _falling(results: Results, of: Measure, statement: str, name: str) -> Finding:
        """Below its value at every earlier decade of the loss, and at most 1% in the end."""
        fine, largest, ends = [], [], []
        for _, data in results:
            values, loss = of(data), data["loss"].to_numpy()
            decades = 10.0 ** np.arange(-1, np.log10(loss[-1]) - 0.5, -1)
            marks = [values[np.flatnonzero(loss <= 1.001 * level)[0]] for level in decades]
            falls = all(b < a or b < 1e-12 for a, b in zip(marks[:-1], marks[1:], strict=True))
            fine.append(bool(falls and values[-1] < 0.01))
            largest.append(float(np.max(values)))
            ends.append(float(values[-1]))
        return Finding(
            statement,
            all(fine),
            f"{name} falls from decade to decade of the loss, below 0.1, in {sum(fine)} of "
            f"{len(fine)} flows, from up to {max(largest):.3g} to at most {max(ends):.2g} at the "
            "end",
        )

    @staticmethod
    def _bounded(results: Results, of: Measure, c: float, statement: str) -> Finding:
        """At every record."""
        ratio = max(
            float(np.max(of(data) / (c * np.sqrt(data["loss"].to_numpy())))) for _, data in results
        )
        return Finding(
            statement,
            ratio <= 1,
            f"with c = {c:.4g} (razin2020, Theorem 1), it takes at most {ratio:.3g} of c "
            "sqrt(loss) at any record",
        )


def excess_rank(data: xr.Dataset) -> np.ndarray:
    """Effective rank less 1 at all records, exact also where it is small."""
    s = data["singular_values"].to_numpy()
    small = s[:, 1] / s.sum(axis=1)
    alive = small > 0
    log = np.log(np.where(alive, small, 1.0))
    entropy = -(1 - small) * np.log1p(-small) - np.where(alive, small * log, 0.0)
    return np.expm1(entropy)


def distance_from_rank_1(data: xr.Dataset) -> np.ndarray:
    """The second singular value at all records."""
    return data["singular_values"].to_numpy()[:, 1]
