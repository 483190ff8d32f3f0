"""What jumps of diagonal networks show: their picture and the findings."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Finding, Results

COLOURS = gf.plotting.COLOURS
MARKS = ("o", "^", "s", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)))
ARRIVED = 1e-3
"""Distance from a saddle, of the largest entry, below which a flow is there."""
FALLEN = 10.0
"""By what factor distances from saddles are to fall over the alphas of the grid."""
LATE = 0.1
"""Relative distance of a jump's rescaled time from the limit's that counts as near."""
SHARE = 0.1
"""Of a jump's time: predictions of which the path itself says that they are better are judged."""
SOLVED = 1e-6
"""By how much a flow's own time may be off, in units of ln(1/alpha)."""
LEAST = 1e-3
"""Excess over the least l1 norm that counts as none."""


def picture(results: Results) -> Figure:
    """Entries at the smallest alpha; distance of jump times from either prediction."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplot_mosaic(
            [["early", "late"], ["times", "errors"]], figsize=(7.0, 5.2), layout="constrained"
        )
        alphas, seeds = results.values("alpha"), results.values("seed")
        if alphas and seeds:
            one = results.where(seed=seeds[0])
            _entries(axes["early"], one.where(alpha=max(alphas)))
            _entries(axes["late"], one.where(alpha=min(alphas)))
            axes["late"].legend(ncols=2, fontsize=6, loc="upper left")
            _errors(axes["times"], results, constant=False)
            _errors(axes["errors"], results, constant=True)
            axes["errors"].legend(fontsize=6, loc="upper right")
    return figure


def _entries(ax: Axes, results: Results) -> None:
    """Entries over rescaled time, thin, on the limit's steps, pale."""
    for cell, data in results:
        tau, beta = np.asarray(data["tau"]), np.asarray(data["beta"])
        saddles = np.asarray(data["path_products"])
        edges = np.concatenate([[0.0], np.asarray(data["path_taus"]), [tau[-1]]])
        edges[-1] = max(edges[-1], edges[-2])
        for i in range(beta.shape[1]):
            colour = COLOURS[i % len(COLOURS)]
            ax.stairs(saddles[:, i], edges, baseline=None, color=colour, alpha=0.35, lw=3)
            ax.plot(
                tau, beta[:, i], color=colour, ls=DASHES[i % len(DASHES)], label=rf"$\beta_{i + 1}$"
            )
        top = float(saddles.max())
        ax.set_ylim(float(saddles.min()) - 0.15 * top, top * 1.6)  # room for the legend
        power = round(float(np.log10(cell.alpha)))
        ax.set(
            xlabel=r"time / $\ln(1/\alpha)$", ylabel="entry (pale: the limit)",
            title=rf"$\alpha = 10^{{{power}}}$",
        )  # fmt: skip


def _errors(ax: Axes, results: Results, *, constant: bool) -> None:
    """Worst jump of each problem over alpha, from the limit's time or with the constant added."""
    for k, seed in enumerate(results.values("seed")):
        runs = sorted(results.where(seed=seed), key=lambda one: one[0].alpha)
        alphas = [cell.alpha for cell, _ in runs]
        label = "an entry leaves" if seed == 0 else f"random {seed:g}"
        values = []
        for cell, data in runs:
            off = np.asarray(data["jump_errors"]) / np.log(1 / cell.alpha)
            first = np.abs(np.asarray(data["jump_taus"]) - np.asarray(data["path_taus"]))
            values.append(float(np.max(off if constant else first)))
        ax.plot(
            alphas, np.maximum(values, 1e-16), color=COLOURS[k % len(COLOURS)],
            marker=MARKS[k % len(MARKS)], ms=4, mfc="none", label=label,
        )  # fmt: skip
    ax.set(
        xscale="log", yscale="log", xlabel=r"scale of the start $\alpha$",
        ylabel=r"largest error / $\ln(1/\alpha)$",
        title="with the constant" if constant else r"from $\tau_k$ alone",
    )  # fmt: skip
    ax.invert_xaxis()


def findings(results: Results) -> list[Finding]:
    """Saddles, supports, times and the end; then the path's constants and its own errors."""
    if not len(results):
        return []
    least = min(results.values("alpha"))
    last = results.where(alpha=least)
    told = f"alpha = {least:g}, {len(last)} problems: "
    excess = max(abs(float(data["excess_l1"])) for _, data in last)
    limit = max(abs(float(data["path_excess_l1"])) for _, data in last)
    return [
        _saddles(results),
        _supports(results, least),
        _times(results, least),
        _leaving(last),
        Finding(
            "The end has the least l1 norm", bool(excess < LEAST),
            f"{told}above it by at most {excess:.1e} of it, the limit by {limit:.1e} (counts as "
            f"none below {LEAST:g})",
        ),
        _arrived(last, told),
        _constant(results, least),
        _promised(results),
    ]  # fmt: skip


def _saddles(results: Results) -> Finding:
    statement = "Between jumps the flow tends to the saddles of the limit"
    off: dict[float, float] = {}
    for cell, data in results:
        off[cell.alpha] = max(float(np.max(data["at_saddles"])), off.get(cell.alpha, 0.0))
    if len(off) < 2:
        return Finding(statement, None)
    rows = sorted(off.items(), reverse=True)
    values = np.array([v for _, v in rows])
    return Finding(
        statement, bool(np.all(np.diff(values) < 0) and values[-1] < values[0] / FALLEN),
        "distance in the middle of plateaus over the largest entry, at most, to fall throughout "
        f"and by a factor of {FALLEN:g}: " + ", ".join(f"{v:.2g} ({a:g})" for a, v in rows),
    )  # fmt: skip


def _supports(results: Results, least: float) -> Finding:
    statement = "The entries that are not 0 on plateaus are the limit's in the end"
    counts: dict[float, list[int]] = {}
    for cell, data in results:
        same = np.asarray(data["same_support"])
        row = counts.setdefault(cell.alpha, [0, 0])
        row[0], row[1] = row[0] + int(same.sum()), row[1] + same.size
    return Finding(
        statement, counts[least][0] == counts[least][1],
        "in the middle of plateaus: "
        + ", ".join(f"{a} of {b} ({k:g})" for k, (a, b) in sorted(counts.items(), reverse=True))
        + "; entries count as 0 below half of the saddle's smallest other one",
    )  # fmt: skip


def _arrived(last: Results, told: str) -> Finding:
    off = np.concatenate([np.asarray(data["at_saddles"]) for _, data in last])
    return Finding.also(
        f"At the smallest alpha all plateaus are within {ARRIVED:g} of their saddles",
        bool(np.all(off < ARRIVED)),
        f"{told}{int(np.sum(off < ARRIVED))} of {off.size}; at most {off.max():.1e} of the largest "
        "entry",
    )


def gaps(results: Results) -> dict[float, float]:
    """Largest relative distance of a jump's rescaled time from the limit's, by alpha, falling."""
    found: dict[float, float] = {}
    for cell, data in results:
        taus = np.asarray(data["path_taus"])
        off = float(np.max(np.abs(np.asarray(data["jump_taus"]) / taus - 1)))
        found[cell.alpha] = max(off, found.get(cell.alpha, 0.0))
    return dict(sorted(found.items(), reverse=True))


def _times(results: Results, least: float) -> Finding:
    statement = "Jump times over ln(1/alpha) tend to the limit's"
    off = gaps(results)
    if len(off) < 2:
        return Finding(statement, None)
    values = np.array([*off.values()])
    return Finding(
        statement, bool(np.all(np.diff(values) < 0) and off[least] < LATE),
        "largest relative distance, to fall and to be below "
        f"{LATE:g} in the end: " + ", ".join(f"{v:.3g} ({a:g})" for a, v in off.items()),
    )  # fmt: skip


def _leaving(last: Results) -> Finding:
    with_one = [cell.seed for cell, data in last if float(data["leaves"]) > 0]
    return Finding(
        "Entries that have come may leave again", bool(with_one) if len(last) else None,
        f"in {len(with_one)} of {len(last)} problems",
    )  # fmt: skip


def _constant(results: Results, least: float) -> Finding:
    statement = "With the path's constants jump times are nearer by a factor of at least 10"
    ratios = []
    for cell, data in results.where(alpha=least):
        off = np.asarray(data["jump_errors"]) / np.log(1 / cell.alpha)
        first = np.abs(np.asarray(data["jump_taus"]) - np.asarray(data["path_taus"]))
        ratios.append(float(np.max(first) / np.max(off)))
    if not ratios:
        return Finding.also(statement, None)
    return Finding.also(
        statement, min(ratios) > 10,
        f"alpha = {least:g}: by factors of {min(ratios):.3g} to {max(ratios):.3g}",
    )  # fmt: skip


def _promised(results: Results) -> Finding:
    statement = (
        f"Where the path says that its times are within {SHARE:g} of themselves, they are as near "
        "as it says"
    )
    worst, judged, unjudged = 0.0, 0, 0
    for cell, data in results:
        unit = np.log(1 / cell.alpha)
        promised = np.asarray(data["predicted_errors"]) + SOLVED * unit
        off = np.asarray(data["jump_errors"])
        known = promised < SHARE * np.asarray(data["path_taus"]) * unit
        judged, unjudged = judged + int(known.sum()), unjudged + int((~known).sum())
        worst = max(worst, float(np.max((off / promised)[known], initial=0.0)))
    return Finding.also(
        statement, bool(worst <= 1) if judged else None,
        f"{judged} jumps: error at most {worst:.2g} of what is said (and {SOLVED:g} of "
        f"ln(1/alpha) for the solver); of {unjudged} it says nothing so near",
    )  # fmt: skip
