"""What the path from least l2 to least l1 norm shows: its picture and the findings."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Finding, Results

Table = Any
"""A pandas table, whose stubs do not know groups."""
COLOURS = gf.plotting.COLOURS
MARKS = ("o", "^", "s", "D", "v")
SAME = 1e-6
"""Relative distance within which a flow's end is the least potential."""
NEAR = 1e-3
"""Excess of a norm, of the least, below which it is the least."""
RICH = 1e-2
"""Risk of rich ends as a share of that of kernel ones, below which they are much better."""
RESOLVED = 1e-8
"""Smaller excesses are differences of norms that rounding counts in, and give no powers."""
POWER = 0.05
"""How far a measured power may be from 1."""


def picture(results: Results) -> Figure:
    """Excess of either norm and risk against alpha^D: flows as marks, least potentials as lines."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.7), layout="constrained")
        for ax, name, label in zip(
            axes,
            ("excess_l1", "excess_l2", "risk"),
            (r"$\|\beta\|_1$ / least $-$ 1", r"$\|\beta\|_2$ / least $-$ 1",
             r"risk $\|\beta - \beta^*\|^2$"),
            strict=True,
        ):  # fmt: skip
            _panel(ax, results, name)
            ax.set(xscale="log", yscale="log", xlabel=r"scale of the start $\alpha^D$")
            ax.set_ylabel(label)
            ax.invert_xaxis()  # from kernel to rich
        axes[1].set_ylim(1e-9, 10)
        depths = results.values("depth")
        handles = [
            Line2D([], [], color=COLOURS[k], marker=MARKS[k], mfc="none", ms=4,
                   label=f"$D$ = {depth}") for k, depth in enumerate(depths)
        ]  # fmt: skip
        handles += [
            Line2D([], [], color="gray", label="least potential"),
            Line2D([], [], color="gray", marker="o", mfc="none", ls="", ms=4, label="flow's end"),
        ]
        axes[1].legend(handles=handles, loc="lower right")
    return figure


def _panel(ax: Axes, results: Results, name: str) -> None:
    """One number; a colour and mark a depth, a line a seed."""
    for k, depth in enumerate(results.values("depth")):
        table: Table = results.where(depth=depth).table
        style: dict[str, Any] = {"color": COLOURS[k], "zorder": 2}
        for _, rows in table[table["kind"] == "potential"].groupby("seed"):
            rows = rows.sort_values("scale")
            ax.plot(rows["scale"], np.maximum(rows[name], 1e-16), lw=0.8, **style)
        ends = table[table["kind"] == "flow"]
        ax.plot(ends["scale"], np.maximum(ends[name], 1e-16), MARKS[k], ms=4, mfc="none", **style)


def findings(results: Results) -> list[Finding]:
    """The theorem on the potential, its two limits, and how fast the second is."""
    table: Table = results.table
    if table.empty:
        return []
    flows, least = (table[table["kind"] == kind] for kind in ("flow", "potential"))
    found = [_ends(flows, int(depth)) for depth in results.values("depth")]
    return [*found, *_limits(least), _deeper(least), _power(least), _risk(least)]


def _ends(flows: Table, depth: int) -> Finding:
    statement = f"D = {depth}: flows that fit end where the potential is least"
    rows = flows[flows["depth"] == depth]
    if rows.empty:
        return Finding(statement, None)
    worst = rows["off"].max()
    return Finding(
        statement, bool(worst < SAME),
        f"{len(rows)} flows, alpha^D from {rows['scale'].max():g} to {rows['scale'].min():g}: off "
        f"by at most {worst:.1e} of the norm (counts as the same below {SAME:g})",
    )  # fmt: skip


def _limits(least: Table) -> list[Finding]:
    """Both ends of the path of least potentials."""
    found = []
    for statement, name, large in (
        ("From large starts ends have the least l2 norm", "excess_l2", True),
        ("From small starts ends have the least l1 norm", "excess_l1", False),
    ):
        if least.empty:
            found.append(Finding(statement, None))
            continue
        at = least["scale"].max() if large else least["scale"].min()
        rows = least[least["scale"] == at].groupby("depth")[name].max()
        found.append(
            Finding(
                statement,
                bool((rows < NEAR).all()),
                f"alpha^D = {at:g}: above it by at most "
                + ", ".join(f"{v:.1e} (D = {d})" for d, v in rows.items())
                + f" of it (counts as the least below {NEAR:g})",
            )
        )
    return found


def _deeper(least: Table) -> Finding:
    statement = "Of equal alpha^D up to 0.01 the deeper network is nearer to the least l1 norm"
    small = least[least["scale"] <= 1e-2]
    rows = small.pivot_table(index=["seed", "scale"], columns="depth", values="excess_l1")
    if rows.shape[1] < 2 or rows.empty:
        return Finding.also(statement, None)
    ratio = rows.iloc[:, 0] / rows.iloc[:, -1]
    falls = bool((rows.diff(axis=1).iloc[:, 1:] < 0).all(axis=None))
    return Finding.also(
        statement, falls,
        f"{len(rows)} pairs: excess at D = {rows.columns[0]} over that at D = {rows.columns[-1]} "
        f"from {ratio.min():.3g} to {ratio.max():.3g}",
    )  # fmt: skip


def powers(least: Table) -> dict[int, np.ndarray]:
    """Of the excess l1 norm in alpha^D, by depth, between the two smallest resolved scales."""
    found: dict[int, list[float]] = {}
    for (depth, _), rows in least.groupby(["depth", "seed"]):
        last = rows[rows["excess_l1"] > RESOLVED].sort_values("scale").iloc[:2]
        if len(last) == 2:
            ratio = np.diff(np.log(last["excess_l1"])) / np.diff(np.log(last["scale"]))
            found.setdefault(int(depth), []).append(float(ratio[0]))
    return {depth: np.array(values) for depth, values in found.items()}


def _power(least: Table) -> Finding:
    statement = (
        f"Beyond D = 2 the excess l1 norm falls like alpha^D (power of alpha^D within {POWER:g} of "
        "1), at D = 2 slower"
    )
    found = powers(least)
    if 2 not in found or len(found) < 2:
        return Finding.also(statement, None)
    deep = all(bool(np.all(np.abs(v - 1) < POWER)) for d, v in found.items() if d > 2)
    return Finding.also(
        statement, deep and bool(np.all(found[2] < 1 - POWER)),
        f"power between the two smallest scales with an excess above {RESOLVED:g}: "
        + ", ".join(f"{v.min():.3f} to {v.max():.3f} (D = {d})" for d, v in found.items()),
    )  # fmt: skip


def _risk(least: Table) -> Finding:
    statement = f"Of a sparse truth rich ends have less than {RICH:g} of the risk of kernel ones"
    if least.empty or least["scale"].nunique() < 2:
        return Finding.also(statement, None)
    rich, kernel = (
        least[least["scale"] == at].groupby(["depth", "seed"])["risk"].max()
        for at in (least["scale"].min(), least["scale"].max())
    )
    worst = (rich / kernel).groupby("depth").max()
    return Finding.also(
        statement, bool((worst < RICH).all()),
        f"alpha^D = {least['scale'].min():g} over {least['scale'].max():g}, at most: "
        + ", ".join(f"{v:.1e} (D = {d})" for d, v in worst.items()),
    )  # fmt: skip
