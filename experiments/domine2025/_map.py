"""What the map over lambda and scale shows: its picture and the findings."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Finding, Results

Table = Any
"""A pandas table, whose stubs do not know groups."""
COLOURS = gf.plotting.COLOURS
MARKS = ("o", "^", "s", "D", "v", "P", "X")
WORDS = {"square": "4 inputs, neurons, outputs", "narrow": "6 inputs, 3 neurons, 4 outputs"}
SAME = 1e-8
"""Distance of the exact solution from the flow, of the target's norm, that counts as none."""
LAZY = 0.02
"""A kernel that moves by less, of its norm, is lazy."""
LARGE = 10.0
"""The |lambda| from which on powers are measured."""
POWER = 0.1
"""How far a measured power may be from -2."""


def picture(results: Results) -> Figure:
    """The map of the kernel's movement, and cuts through it at each scale."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(2, 2, figsize=(7.0, 5.4), layout="constrained")
        for row, shape in zip(axes, ("square", "narrow"), strict=True):
            table: Table = results.where(shape=shape).table
            if not table.empty:
                _map(figure, row[0], table)
                _cuts(row[1], table)
            row[0].set_title(f"{shape}: {WORDS[shape]}")
    return figure


def _map(figure: Figure, ax: Axes, table: Table) -> None:
    """Median over seeds, a cell a run."""
    shown = table.pivot_table(index="scale", columns="balance", values="moved", aggfunc="median")
    image = ax.pcolormesh(
        np.arange(shown.shape[1] + 1), np.arange(shown.shape[0] + 1), shown.to_numpy(),
        norm=LogNorm(), cmap="viridis", rasterized=True,
    )  # fmt: skip
    ax.set_xticks(np.arange(shown.shape[1]) + 0.5, [f"{x:g}" for x in shown.columns], rotation=60)
    ax.set_yticks(np.arange(shown.shape[0]) + 0.5, [f"{x:g}" for x in shown.index])
    ax.set(xlabel=r"$\lambda$", ylabel=r"largest singular value of $W_0$")
    figure.colorbar(image, ax=ax, label=r"$\|K_\infty - K_0\| / \|K_0\|$")


def _cuts(ax: Axes, table: Table) -> None:
    """Movement over lambda, a line a scale."""
    for k, (scale, rows) in enumerate(table.groupby("scale")):
        line = rows.groupby("balance")["moved"].median()
        ax.plot(
            line.index, line.to_numpy(), color=COLOURS[k % len(COLOURS)],
            marker=MARKS[k % len(MARKS)], ms=3.5, mfc="none", label=f"{scale:g}",
        )  # fmt: skip
    ax.axhline(LAZY, color="gray", ls=":", lw=1)
    ax.annotate(
        "lazy: below this", (0, LAZY), xytext=(0, 3), textcoords="offset points", color="gray",
        fontsize=6, ha="center",
    )  # fmt: skip
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set(yscale="log", xlabel=r"$\lambda$", ylabel=r"$\|K_\infty - K_0\| / \|K_0\|$")
    ax.set_xticks([-10, -1, 0, 1, 10], ["$-10$", "$-1$", "0", "1", "10"])
    ax.legend(title=r"$\|W_0\|$", fontsize=6, title_fontsize=7, loc="upper right")


def findings(results: Results) -> list[Finding]:
    """The exact solution, and where the kernel stays."""
    table: Table = results.table
    if table.empty:
        return []
    off = table["off"].max()
    return [
        Finding(
            "From lambda-balanced starts the flow is the exact solution", bool(off < SAME),
            f"{len(table)} flows: largest distance of an entry {off:.1e} of the target's norm "
            f"(counts as none below {SAME:g})",
        ),
        *_square(table[table["shape"] == "square"]),
        _narrow(table[table["shape"] == "narrow"]),
        _balanced(table),
    ]  # fmt: skip


def _square(table: Table) -> list[Finding]:
    return [] if table.empty else [_lazy(table), _falls(table), _power(table)]


def _narrow(table: Table) -> Finding:
    statement = f"With fewer neurons than inputs and outputs it moves by more than {LAZY:g} always"
    if table.empty:
        return Finding.also(statement, None)
    least = table["moved"].min()
    return Finding.also(
        statement, bool(least > LAZY),
        f"{len(table)} flows, |lambda| up to {table['balance'].abs().max():g}: at least "
        f"{least:.2g} of its norm",
    )  # fmt: skip


def _lazy(table: Table) -> Finding:
    size = table["balance"].abs()
    statement = (
        f"Square, |lambda| = {size.max():g}: the kernel moves by less than {LAZY:g} at all scales"
    )
    worst = table[size == size.max()]["moved"].max()
    return Finding.also(statement, bool(worst < LAZY), f"at most {worst:.2g} of its norm")


def _falls(table: Table) -> Finding:
    statement = "Square: at every scale the kernel moves less the larger |lambda| is"
    found, rows = [], table[table["balance"] >= 0]
    for _, line in rows.groupby(["scale", "seed"]):
        found.append(bool(np.all(np.diff(line.sort_values("balance")["moved"]) < 0)))
    if not found or rows["balance"].nunique() < 2:
        return Finding.also(statement, None)
    return Finding.also(
        statement, all(found), f"for lambda >= 0 in {sum(found)} of {len(found)} lines"
    )


def powers(table: Table) -> np.ndarray:
    """Of the movement in |lambda|, between the two largest of either sign."""
    found = []
    for sign in (-1, 1):
        side = table[sign * table["balance"] >= LARGE]
        for _, line in side.groupby(["scale", "seed"]):
            last = line.assign(size=line["balance"].abs()).sort_values("size").iloc[-2:]
            if len(last) == 2:
                rise = np.diff(np.log(last["moved"])) / np.diff(np.log(last["size"]))
                found.append(float(rise[0]))
    return np.array(found)


def _power(table: Table) -> Finding:
    statement = f"Square: that falls like 1/lambda^2 in the end (power within {POWER:g} of -2)"
    found = powers(table)
    if not found.size:
        return Finding.also(statement, None)
    return Finding.also(
        statement, bool(np.all(np.abs(found + 2) < POWER)),
        f"between the two largest |lambda|: {found.min():.3f} to {found.max():.3f}",
    )  # fmt: skip


def _balanced(table: Table) -> Finding:
    statement = "At lambda = 0 it moves the more, relative to its norm, the smaller the start is"
    rows = table[table["balance"] == 0]
    if rows["scale"].nunique() < 2:
        return Finding.also(statement, None)
    line = rows.groupby("scale")["moved"].median()
    return Finding.also(
        statement, bool(np.all(np.diff(line) < 0)),
        ", ".join(f"{v:.3g} (scale {s:g})" for s, v in line.items()),
    )  # fmt: skip
