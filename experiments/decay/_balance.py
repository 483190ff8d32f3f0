"""What imbalances under weight decay show: their picture and the findings."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Finding, Results

Table = Any
"""A pandas table, whose stubs do not know groups."""
COLOURS = gf.plotting.COLOURS
MARKS = ("o", "^", "s", "D", "v")
SAME = 1e-7
"""Distance from the law, of the first imbalance, that counts as none in a flow."""
ROUNDING = 1e-12
"""The same of a single step."""
POWER = 0.1
"""How far a measured power may be from 1."""
LEFT = 0.1
"""A run that is further from the law has left it."""


def picture(results: Results) -> Figure:
    """Sizes of imbalances over time; distances from the law over the rate."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.9), layout="constrained")
        seeds, depths = results.values("seed"), results.values("depth")
        if seeds and depths:
            _along(axes[0], results.where(seed=seeds[0], depth=depths[0]))
            _over(axes[1], results)
    return figure


def _along(ax: Axes, results: Results) -> None:
    """A colour a decay: the law, the flow, the fastest descent, AdamW."""
    rates = [rate for rate in results.values("rate") if rate]
    for k, decay in enumerate(results.values("decay")):
        for cell, data in results.where(decay=decay):
            if cell.rule == "gd" and cell.rate != max(rates):
                continue
            clock = np.asarray(data["clock"])
            style = {"flow": "o", "gd": "--", "adamw": ":"}[cell.rule]
            label = {"flow": "flow", "gd": "GD", "adamw": "AdamW"}[cell.rule]
            ax.semilogy(
                clock, data["share"], style, color=COLOURS[k], ms=3.5, mfc="none",
                label=rf"{label}, $\mu$ = {decay:g}",
            )  # fmt: skip
            if cell.rule == "flow":
                ax.semilogy(clock, np.exp(-2 * decay * clock), color=COLOURS[k], lw=0.8, zorder=0)
    ax.set(xlabel="time, rate times iteration", ylabel=r"$\|D\|$ / at the start")
    ax.legend(fontsize=6, loc="lower left")


def _over(ax: Axes, results: Results) -> None:
    """Distances of descents from the law, a colour a decay, a mark a depth."""
    table: Table = results.where(rule="gd").table
    for k, (decay, rows) in enumerate(table.groupby("decay")):
        for m, (depth, part) in enumerate(rows.groupby("depth")):
            line = part.groupby("rate")["off"].max()
            ax.loglog(
                line.index, line.to_numpy(), color=COLOURS[k], marker=MARKS[m], ms=4, mfc="none",
                label=rf"$\mu$ = {decay:g}, $N$ = {depth}",
            )  # fmt: skip
    ax.set(xlabel="rate $h$", ylabel="distance of $D$ from the law / at the start")
    if ax.lines:
        rates = sorted(set(table["rate"]))
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.set_xticks([], minor=True)
        ax.legend(fontsize=6, loc="upper left")


def findings(results: Results) -> list[Finding]:
    """The flow with and without decay; then descents, their steps, and AdamW."""
    table: Table = results.table
    if table.empty:
        return []
    flows = table[table["rule"] == "flow"]
    return [
        _law(flows[flows["decay"] == 0], "Without decay a flow conserves imbalances (du2018)"),
        _law(
            flows[flows["decay"] > 0],
            "With decay mu a flow's imbalances are e^(-2 mu t) times their start",
        ),
        _steps(table[table["rule"] == "gd"]),
        _power(table[table["rule"] == "gd"]),
        _adamw(table[table["rule"] == "adamw"]),
    ]  # fmt: skip


def _law(flows: Table, statement: str) -> Finding:
    if flows.empty:
        return Finding(statement, None)
    worst = flows["off"].max()
    return Finding(
        statement, bool(worst < SAME),
        f"{len(flows)} flows: off by at most {worst:.1e} of the first (counts as none below "
        f"{SAME:g})",
    )  # fmt: skip


def _steps(rows: Table) -> Finding:
    statement = "A step of descent scales them by (1 - h mu)^2 and adds h^2 times the gradients'"
    if rows.empty:
        return Finding.also(statement, None)
    worst = rows["step_off"].max()
    return Finding.also(
        statement, bool(worst < ROUNDING),
        f"{len(rows)} descents: off by at most {worst:.1e} of the first (counts as rounding below "
        f"{ROUNDING:g})",
    )  # fmt: skip


def powers(rows: Table) -> np.ndarray:
    """Of the rate in the distance from the law, between the two smallest rates."""
    found = []
    for _, line in rows.groupby(["depth", "decay", "seed"]):
        least = line.sort_values("rate").iloc[:2]
        if len(least) == 2:
            found.append(
                float(np.diff(np.log(least["off"]))[0] / np.diff(np.log(least["rate"]))[0])
            )
    return np.array(found)


def _power(rows: Table) -> Finding:
    statement = f"Descents are off the flow's law by O(h) (power within {POWER:g} of 1)"
    found = powers(rows)
    if not found.size:
        return Finding.also(statement, None)
    least = rows["rate"].min()
    return Finding.also(
        statement, bool(np.all(np.abs(found - 1) < POWER)),
        f"{found.size} pairs: powers {found.min():.3f} to {found.max():.3f} between the two "
        f"smallest rates; at h = {least:g} off by at most "
        f"{rows[rows['rate'] == least]['off'].max():.1e} of the first",
    )  # fmt: skip


def _adamw(rows: Table) -> Finding:
    statement = f"AdamW does not follow it (off by more than {LEFT:g})"
    if rows.empty:
        return Finding.also(statement, None)
    return Finding.also(
        statement, bool((rows["off"] > LEFT).all()),
        f"{len(rows)} runs: off by {rows['off'].min():.2g} to {rows['off'].max():.2g} of the first",
    )  # fmt: skip
