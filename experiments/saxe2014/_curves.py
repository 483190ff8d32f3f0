"""What learning curves show: their picture and the findings."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Finding, Results

STYLE = {"flow": "-", "descent": "--", "decoupled": ":"}
NEAR = 0.1
"""How far, of its time, a half rise may be from the law's to count as near."""
SPREAD = 1.3
"""By what factor s t of half rises may differ within a run: the rest of a logarithm."""


def picture(results: Results) -> Figure:
    """Curves at a middling scale; half rises against strengths; how far these are from the law."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplot_mosaic(
            [["curves", "curves"], ["law", "delay"]], figsize=(5.2, 5.2), layout="constrained"
        )
        stds = results.values("std")[::-1]
        if stds:
            _draw_curves(axes["curves"], results.where(std=stds[len(stds) // 2]))
            _draw_law(axes["law"], results, stds)
            _draw_delays(axes["delay"], results, stds)
    return figure


def _draw_curves(ax: Axes, results: Results) -> None:
    """Strengths of the modes over time, a colour a mode."""
    strengths = results.items[0].cell.strengths
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(strengths)))
    for cell, data in results:
        width = {"flow": 1.2, "descent": 0.8, "decoupled": 1.6}[cell.kind]
        for r, colour in enumerate(colours):
            ax.plot(
                data["clock"], data["strength"][:, r], STYLE[cell.kind], lw=width,
                color="black" if cell.kind == "decoupled" else colour,
                zorder=3 if cell.kind == "decoupled" else 2,
            )  # fmt: skip
    ax.set(xlabel="time $t$ (of descents: iterations times rate)", ylabel="strength of the mode")
    ax.set_title(f"weights of standard deviation {results.items[0].cell.std:g}")
    handles = [Line2D([], [], color=c, label=f"$s$ = {s:g}")
               for c, s in zip(colours, strengths, strict=True)]  # fmt: skip
    words = {"flow": "exact flow", "descent": "descent", "decoupled": "from a decoupled start"}
    kinds = [kind for kind in STYLE if kind in results.values("kind")]
    handles += [
        Line2D([], [], ls=STYLE[kind], label=words[kind],
               color="black" if kind == "decoupled" else "gray") for kind in kinds
    ]  # fmt: skip
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_law(ax: Axes, results: Results, stds: list[float]) -> None:
    """Times of half rise against strengths, and the law from decoupled starts."""
    for k, std in enumerate(stds):
        colour = gf.plotting.COLOURS[k % len(gf.plotting.COLOURS)]
        for cell, data in results.where(std=std):
            if cell.kind == "decoupled":
                ax.plot(cell.strengths, data["law"], ":", color=colour, lw=1.2)
            else:
                mark = "o" if cell.kind == "flow" else "x"
                ax.plot(cell.strengths, data["half_times"], mark, color=colour, ms=3, mfc="none")
    ax.set(xscale="log", yscale="log", xlabel="singular value $s$", ylabel="time of half rise")
    shown = [1, 2, 4] if max(results.items[0].cell.strengths) > 2 else [0.5, 1]
    ax.set_xticks(shown, [f"{s:g}" for s in shown])
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()
    ax.set_ylim(top=ax.get_ylim()[1] * 8)  # room for the legend
    handles: list[Any] = [
        Line2D([], [], color=gf.plotting.COLOURS[k % len(gf.plotting.COLOURS)], marker="s", ls="",
               ms=4, label=f"std {std:g}") for k, std in enumerate(stds)
    ]  # fmt: skip
    handles += [
        Line2D([], [], color="gray", marker="o", mfc="none", ls="", ms=3, label="exact flow"),
        Line2D([], [], color="gray", marker="x", ls="", ms=3, label="descent"),
        Line2D([], [], color="gray", ls=":", label=r"$\ln(s/a_0 - 1)/(2s)$"),
    ]
    ax.legend(handles=handles, fontsize=6, labelspacing=0.3, loc="upper right")


def _draw_delays(ax: Axes, results: Results, stds: list[float]) -> None:
    """The largest distance from the law, by what the start has of each mode."""
    for law, mark, label in (
        ("law", "o-", "from $|p_r|^2$ at the start"),
        ("law_of_rest", "s--", "from its remainder"),
    ):
        seen = [(std, delays(results.where(std=std, kind="flow"), law)) for std in stds]
        points = [(std, np.max(d)) for std, d in seen if d.size]
        if points:
            colour = gf.plotting.COLOURS[0 if law == "law" else 1]
            ax.plot(*np.array(points).T, mark, color=colour, ms=4, label=label)
    ax.set(xscale="log", yscale="log", xlabel="standard deviation of the weights")
    ax.set_ylabel("largest delay / the law's time")
    ax.set_ylim(bottom=ax.get_ylim()[0] / 4)  # room for the legend
    ax.legend(fontsize=6, loc="lower right")


def delays(results: Results, law: str = "law") -> np.ndarray:
    """|t - law| / law of all half rises of all modes, NaN where there was none."""
    found = [
        np.abs(data["half_times"].to_numpy() - data[law].to_numpy()) / data[law].to_numpy()
        for _, data in results
    ]
    return np.array(found).ravel()


def findings(results: Results) -> list[Finding]:
    """The paper's formula from decoupled starts; what small random ones make of it."""
    if not len(results):
        return []
    found = [_order(results), _inverse(results), _formula(results)]
    return [*found, *_random(results), _descents(results)]


def _runs(results: Results, kind: str) -> dict[tuple[float, int], np.ndarray]:
    """Half rises by scale and seed."""
    return {
        (cell.std, cell.seed): data["half_times"].to_numpy()
        for cell, data in results.where(kind=kind)
    }


def _order(results: Results) -> Finding:
    others = [
        f"the {cell.kind} of seed {cell.seed} at std {cell.std:g}"
        for cell, data in results
        if not np.all(np.diff(data["half_times"].to_numpy()) > 0)
    ]
    evidence = f"all half rises in order in {len(results) - len(others)} of {len(results)} runs"
    return Finding.also(
        "Modes are learned in the order of their singular values", not others,
        evidence + ", not in " * bool(others) + " and ".join(others),
    )  # fmt: skip


def _inverse(results: Results) -> Finding:
    statement = (
        f"From the smallest starts, s times a mode's half rise varies by a factor below {SPREAD:g}"
    )
    flows = _runs(results, "flow")
    if not flows:
        return Finding.also(statement, None)
    strengths = np.array(results.items[0].cell.strengths)
    rows: dict[float, list[float]] = {}
    for (std, _), times in flows.items():
        scaled = strengths * times
        rows.setdefault(std, []).append(float(scaled.max() / scaled.min()))
    worst = {std: max(row) for std, row in sorted(rows.items(), reverse=True)}
    least = min(worst)
    return Finding.also(
        statement, bool(worst[least] < SPREAD),
        f"strengths differ by {strengths[0] / strengths[-1]:.3g}, s times the time of half rise "
        "within a flow by at most " + ", ".join(f"{v:.3g} (std {s:g})" for s, v in worst.items()),
    )  # fmt: skip


def _formula(results: Results) -> Finding:
    statement = "From a decoupled start strengths are a(t) = s e^(2st) / (e^(2st) - 1 + s/a_0)"
    cells = results.where(kind="decoupled")
    if not len(cells):
        return Finding(statement, None)
    error = cells.table["formula_error"].max()
    gap = np.max(delays(cells))
    return Finding(
        statement, bool(error < 1e-9 and gap < 1e-8),
        f"{len(cells)} flows: off by at most {error:.1e} of s; half rises by {gap:.1e} of their "
        "time",
    )  # fmt: skip


def _random(results: Results) -> list[Finding]:
    """How near flows from small random starts are to the formula."""
    stated = f"From the smallest random starts half rises are within {NEAR:.0%} of the law's times"
    smaller = "The smaller the start, the nearer"
    nearer = "What counts of a mode's start is what it does not share with stronger modes"
    stds = results.where(kind="flow").values("std")[::-1]
    if not stds:
        return [Finding.also(stated, None), Finding.also(smaller, None), Finding.also(nearer, None)]
    plain, rest = (
        [float(np.max(delays(results.where(kind="flow", std=std), law))) for std in stds]
        for law in ("law", "law_of_rest")
    )

    def listed(values: list[float]) -> str:
        return ", ".join(f"{v:.3g} (std {std:g})" for v, std in zip(values, stds, strict=True))

    enough = len(stds) > 1
    return [
        Finding.also(stated, plain[-1] < NEAR,
                     f"half rises off by at most, of the law's time: {listed(plain)}"),
        Finding.also(smaller, bool(np.all(np.diff(plain) < 0)) if enough else None, listed(plain)),
        Finding.also(nearer, rest[-1] < plain[-1],
                     f"off by, if a_0 is that remainder: {listed(rest)}"),
    ]  # fmt: skip


def _descents(results: Results) -> Finding:
    statement = "Descents rise when flows from the same start do"
    flows, descents = _runs(results, "flow"), _runs(results, "descent")
    shared = [key for key in flows if key in descents]
    if not shared:
        return Finding.also(statement, None)
    gap = max(float(np.max(np.abs(descents[key] / flows[key] - 1))) for key in shared)
    cell = results.items[0].cell
    size = cell.rate * cell.strengths[0]
    return Finding.also(
        statement, bool(gap < 2 * size),
        f"{len(shared)} pairs: times of half rise differ by at most {gap:.2g} of themselves; rate "
        f"times largest singular value: {size:g}",
    )  # fmt: skip
