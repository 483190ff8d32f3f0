"""Figures 2 and 6 of razin2020 from their cells: picture and findings."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

import gradflow as gf
from gradflow.sweeps import Finding
from gradflow.sweeps.results import Results, arrivals

from ._tensors import Cell, floor

MARKERS = "os^D"
# What the paper's example plots show at rank 1, read off to about 20%: order -> std -> errors.
PRINTED = {
    3: {
        1e-3: (0.13, 4e-3, 4e-4, 5e-6, 2.5e-6, 3.5e-6, 4e-6, 2.3e-6, 1e-6, 5e-7),
        1e-2: (1.3, 6e-2, 9e-3, 7.5e-3, 3e-3, 6.5e-4, 7e-4, 3.7e-4, 6e-4, 3.7e-4),
    },
    4: {
        1e-3: (11, 2.3e-4, 8e-7, 1e-6, 5e-7, 5.5e-7, 6.5e-7, 5e-7, 5e-7),
        1e-2: (1.4, 0.2, 1e-4, 2.5e-5, 2e-5, 1.7e-5, 1.6e-5, 2e-5, 1.6e-5),
    },
}


def tables(results: Results, method: str = "own") -> tuple[Any, Any]:
    """The descents (or flows), and the linear completions, as tables."""
    table = results.table
    if table.empty:
        return table, table
    if "std" not in table:  # linear completions alone, which both protocols share
        table = table.assign(std=np.nan)
    linear = table["std"].isna()
    good = ~linear & (table["method"] == method) & (table["outcome"] != "DIVERGED")
    return table[good], table[linear]


def spread(ax: Axes, some: Any, value: str, **style: Any) -> None:
    """Medians over seeds against the observations, with bars from quartile to quartile."""
    groups = some.groupby("observations")[value]
    middle, low, high = (groups.quantile(q) for q in (0.5, 0.25, 0.75))
    bars = [middle - low, high - middle]
    ax.errorbar(middle.index, middle, yerr=bars, capsize=2, lw=1.2, ms=4, **style)


def picture(results: Results) -> Figure:
    """Error and estimated rank against the number of observations, a row an order."""
    runs, linear = tables(results)
    flows, _ = tables(results, "flow")
    orders = sorted({int(n) for n in results.values("order")})
    truth = max(results.values("rank"), default=0)
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(
            len(orders), 2, figsize=(7.6, 2.6 * len(orders) + 0.5), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for row, order in zip(axes, orders, strict=True):
            own, beside = runs[runs["order"] == order], linear[linear["order"] == order]
            levels = {cell.std: floor(cell) for cell, _ in results.where(order=order, method="own")
                      if isinstance(cell, Cell)}  # fmt: skip
            for ax, value in zip(row, ("final_distance", "rank_upper"), strict=True):
                for k, std in enumerate(sorted(own["std"].unique(), reverse=True)):
                    colour, label = gf.plotting.COLOURS[k], f"standard deviation {std:g}"
                    some = own[own["std"] == std]
                    spread(ax, some, value, color=colour, marker=MARKERS[k % 4], label=label)
                    if value == "rank_upper":
                        continue
                    ax.axhline(levels[std], color=colour, ls=":", lw=1)
                    if len(flows):
                        chosen = flows[(flows["order"] == order) & (flows["std"] == std)]
                        spread(ax, chosen, value, color=colour, ls="--", alpha=0.7)
                spread(ax, beside, value, color="gray", marker="x", label="linear (zeros)")
                ax.set(xlabel="observed entries", title=f"order {order}")
            row[0].set(yscale="log", ylabel=r"error $\|W - W^*\|_F$")
            row[1].axhline(truth, color="black", ls=":", lw=1.2, label="ground truth")
            row[1].set(yscale="log", ylabel="CP rank at mean squared error $10^{-6}$")
            ranks = row[1].yaxis
            for put in (ranks.set_major_formatter, ranks.set_minor_formatter):
                put(LogFormatter(minor_thresholds=(2, 0.4)))  # 2 and 10, no powers
        handles, labels = axes[0, 1].get_legend_handles_labels()
        handles.append(Line2D([], [], color="gray", ls=":", lw=1))
        labels.append("floor of idle components")
        if len(flows):
            handles.append(Line2D([], [], color="gray", ls="--"))
            labels.append("exact flow")
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def findings(results: Results) -> list[Finding]:
    """The figure's statements, and ours on its errors, order by order."""
    found = [arrivals(results)]
    runs, linear = tables(results)
    for order in sorted({int(n) for n in runs["order"]} if len(runs) else ()):
        own, beside = runs[runs["order"] == order], linear[linear["order"] == order]
        medians = own.groupby(["std", "observations"])[["final_distance", "rank_upper"]].median()
        lines = beside.set_index("observations")
        found += _errors(order, medians["final_distance"].unstack("std"), lines)
        found += _ranks(order, medians["rank_upper"].unstack("std"), lines, own)
        found += _floors(results, order, medians["final_distance"].unstack("std"))
    return found


def _errors(order: int, errors: Any, lines: Any) -> list[Finding]:
    """Against the linear completion, and of the smaller scale against the larger."""
    small = errors[errors.columns.min()]
    # At the last number linear's error hangs on a single entry.
    counts = [n for n in small.index[1:-1] if n in lines.index]
    below = {n: lines.loc[n, "final_distance"] / small[n] for n in counts}
    far = {n: ratio for n, ratio in below.items() if n >= {3: 150}.get(order, 1000)}
    found = [
        Finding(
            f"Order {order}: the factorisation recovers far better than the linear completion",
            all(r > 1 for r in below.values()) and all(r > 10 for r in far.values())
            if far
            else None,
            "error of linear over that from the smallest start, medians: "
            + ", ".join(f"n = {n}: {ratio:.3g}" for n, ratio in below.items()),
        )
    ]
    if errors.shape[1] > 1:
        large = errors[errors.columns.max()]
        least = {3: 100}.get(order, 500)
        ratios = {n: large[n] / small[n] for n in small.index if n >= least}
        found.append(
            Finding(
                f"Order {order}: the smaller the start, the smaller the error",
                all(ratio > 1 for ratio in ratios.values()) if ratios else None,
                f"error from std {errors.columns.max():g} over that from "
                f"{errors.columns.min():g}: "
                + ", ".join(f"n = {n}: {ratio:.3g}" for n, ratio in ratios.items()),
            )
        )
    return found


def _ranks(order: int, ranks: Any, lines: Any, own: Any) -> list[Finding]:
    """Of the factorisation and of the linear completion."""
    truth = int(own["rank"].iloc[0])
    least = 1000 if order == 4 else (100 if truth == 1 else 200)
    small = ranks[ranks.columns.min()]
    seen = {n: small[n] for n in small.index if n >= least}
    certain = float((own["rank_lower"] == own["rank_upper"]).mean())
    between = [
        f"n = {n}: {row['rank_lower']:.0f} to {row['rank_upper']:.0f}"
        for n, row in lines.iterrows()
    ]
    inner = lines[lines.index < lines.index.max()] if len(lines) > 1 else lines
    return [
        Finding(
            f"Order {order}: from {least} observations on the solutions have the rank of the truth",
            all(rank == truth for rank in seen.values()) if seen else None,
            "median rank from the smallest start: "
            + ", ".join(f"n = {n}: {rank:g}" for n, rank in small.items())
            + f"; certain (lower bound = upper) in {certain:.1%} of all {len(own)} runs",
        ),
        Finding(
            f"Order {order}: the rank of the linear completion is far above",
            bool((inner["rank_lower"] > 2 * truth).all()) if len(inner) else None,
            "between " + ", ".join(between),
        ),
    ]


def _floors(results: Results, order: int, errors: Any) -> list[Finding]:
    """The error does not fall to zero with more observations, but to what the start leaves."""
    cells = [cell for cell, _ in results.where(order=order, method="own") if isinstance(cell, Cell)]
    levels = {cell.std: floor(cell) for cell in cells}
    last = errors.iloc[-1]
    ratios = {std: float(last[std] / levels[std]) for std in errors.columns}
    if {cell.protocol for cell in cells} == {"paper"}:
        least, left = float(errors.min().min()), 1e-3 * cells[0].task.size ** (order / 2)
        return [
            Finding.also(
                f"Order {order}: with the stop as printed, the error is what the stop leaves, "
                "whatever the scale",
                bool(least > left / 2),
                f"smallest median error {least:.2g}; a mean squared error of 1e-6 is an error of "
                f"{left:.2g}",
            )
        ]
    return [
        Finding.also(
            f"Order {order}: the error ends at the floor sqrt(R) (std sqrt(d))^N of the idle "
            "components",
            all(0.5 < ratio < 2 for ratio in ratios.values()),
            "median error at the most observations over the floor: "
            + ", ".join(f"std {std:g}: {ratio:.2f} ({levels[std]:.2g})"
                        for std, ratio in ratios.items()),
        )
    ]  # fmt: skip


def printed(results: Results) -> list[Finding]:
    """The errors of the paper's example plots beside ours, at the same numbers of observations.

    Those come from runs that stop as the code does, and are no measure of others.
    """
    runs, _ = tables(results)
    alike = list(results.values("protocol")) == ["code"]
    found = []
    for order, by_std in PRINTED.items():
        for std, errors in by_std.items():
            some = runs[(runs["order"] == order) & np.isclose(runs["std"], std)]
            medians = some.groupby("observations")["final_distance"].median()
            if len(medians) != len(errors):
                continue
            for (n, ours), theirs in zip(medians.items(), errors, strict=True):
                found.append(
                    Finding(
                        f"Order {order}, std {std:g}, {n} observations: error (read off the "
                        "example plot, which has the code's stop; another tensor, within a factor "
                        "of ten)",
                        bool(0.1 < ours / theirs < 10) if alike else None,
                        printed=theirs,
                        ours=float(ours),
                    )
                )
    return found
