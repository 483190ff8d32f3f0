"""Figures 1, 2, 4 and 5 of arora2019 from their cells: pictures and findings."""

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import gradflow as gf
from gradflow.sweeps import Finding
from gradflow.sweeps.results import Results, arrivals

LABELS = {
    "final_test_error": "reconstruction error",
    "final_nuclear_norm": "nuclear norm",
    "final_effective_rank": "effective rank",
}
X_LABEL = "norm of the initial product"


def tables(results: Results, method: str = "own") -> tuple[Any, dict[int, Any]]:
    """The descents (or flows) as a table with a column "observations"; the baselines by it."""
    table = results.table
    least = table["depth"].isna()
    found = {int(row["observations"]): row for _, row in table[least].iterrows()}
    good = ~least & (table["method"] == method) & (table["outcome"] != "DIVERGED")
    return table[good], found


def absent(results: Results, name: str, **where: float) -> str:
    """What a picture says of runs that it does not show."""
    kept = np.logical_and.reduce(
        [results.table[column] == value for column, value in where.items()]
    )
    return f"{name}: all diverged" if np.any(kept) else f"{name}: not run"


def tell(ax: Axes, said: Sequence[str]) -> None:
    """Write lines into a corner."""
    ax.text(0.04, 0.97, "\n".join(said), transform=ax.transAxes, fontsize=8, va="top")


def spread(ax: Axes, some: Any, value: str, **style: Any) -> None:
    """Means over seeds against the initial norm, with standard deviations as error bars."""
    groups = some.groupby("norm")[value]
    mean, deviation = groups.mean(), groups.std(ddof=0)
    low = np.minimum(deviation, 0.999 * mean)  # so that a log axis can show it
    ax.errorbar(mean.index, mean, yerr=[low, deviation], capsize=2, lw=1.2, ms=4, **style)


def errors_figure(results: Results) -> Figure:
    """Reconstruction error against the initial norm: a column a depth, a row a number of data."""
    runs, _ = tables(results)
    depths, counts = sorted(runs["depth"].unique()), sorted(runs["observations"].unique())
    rates = sorted(runs["rate"].unique(), reverse=True)
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(
            len(counts), len(depths), figsize=(2.4 * len(depths) + 0.6, 2.2 * len(counts) + 0.4),
            sharex=True, sharey="row", squeeze=False, layout="constrained",
        )  # fmt: skip
        for (i, count), (j, depth) in itertools.product(enumerate(counts), enumerate(depths)):
            ax = axes[i, j]
            chosen = runs[(runs["depth"] == depth) & (runs["observations"] == count)]
            said = []
            for k, rate in enumerate(rates):
                own = chosen[chosen["rate"] == rate]
                if own.empty:
                    where = {"depth": depth, "observations": count, "rate": rate}
                    said.append(absent(results, f"rate {rate:g}", **where))
                spread(
                    ax, own, "final_test_error",
                    color=gf.plotting.COLOURS[k], marker="os^D"[k % 4], label=f"rate {rate:g}",
                )  # fmt: skip
            flows, _ = tables(results, "flow")
            if len(flows):
                some = flows[(flows["depth"] == depth) & (flows["observations"] == count)]
                some = some[some["rate"] == some["rate"].max()]
                spread(ax, some, "final_test_error", color="black", ls="--", label="exact flow")
            tell(ax, said)
            ax.set(xscale="log", yscale="log")
            if i == 0:
                ax.set_title(f"depth {depth:.0f}")
            if i == len(counts) - 1:
                ax.set_xlabel(X_LABEL)
            if j == 0:
                ax.set_ylabel(f"{LABELS['final_test_error']}\n{count} observations")
        axes[0, 0].legend()
    return figure


def norms_figure(results: Results) -> Figure:
    """Error, nuclear norm and effective rank against the initial norm, with two levels."""
    runs, least = tables(results)
    largest = runs["rate"].max()
    runs = runs[runs["rate"] == largest]
    flows, _ = tables(results, "flow")
    flows = flows[flows["rate"] == flows["rate"].max()] if len(flows) else flows
    depths, counts = sorted(runs["depth"].unique()), sorted(runs["observations"].unique())
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(
            len(counts), 3, figsize=(8.0, 2.3 * len(counts) + 0.5), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for (i, count), (j, value) in itertools.product(enumerate(counts), enumerate(LABELS)):
            ax = axes[i, j]
            said = []
            for k, depth in enumerate(depths):
                chosen = runs[(runs["depth"] == depth) & (runs["observations"] == count)]
                if chosen.empty:
                    where = {"depth": depth, "observations": count, "rate": largest}
                    said.append(absent(results, f"depth {depth:.0f}", **where))
                spread(
                    ax, chosen, value, color=gf.plotting.COLOURS[k], marker="os^D"[k % 4],
                    label=f"depth {depth:.0f}",
                )  # fmt: skip
                if len(flows):
                    beside = flows[(flows["depth"] == depth) & (flows["observations"] == count)]
                    spread(ax, beside, value, color=gf.plotting.COLOURS[k], ls="--", alpha=0.7)
            if count in least:
                row = least[count]
                if row[value] > 1e-3 * runs.loc[runs["observations"] == count, value].min():
                    ax.axhline(row[value], color="black", ls="--", lw=1, label="least nuclear norm")
                else:
                    said.append(f"least nuclear norm: {row[value]:.0e}")
                truth = value.replace("final", "truth")
                if truth in row:
                    ax.axhline(row[truth], color="black", ls=":", lw=1.4, label="ground truth")
            if j == 0:
                tell(ax, said)
            ax.set(xscale="log", yscale="log" if value == "final_test_error" else "linear")
            if i == len(counts) - 1:
                ax.set_xlabel(X_LABEL)
            ax.set_ylabel(LABELS[value] + (f"\n{count} observations" if j == 0 else ""))
        handles, labels = axes[0, 1].get_legend_handles_labels()
        if len(flows):
            handles.append(Line2D([], [], color="gray", ls="--"))
            labels.append("exact flow")
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def few_and_many(counts: Sequence[int]) -> tuple[int, int]:
    """The smallest and the largest number of observations."""
    return min(counts), max(counts)


def smallest_start(runs: Any, count: int, value: str) -> Any:
    """Mean over seeds and rates at the smallest initial norm, by depth."""
    some = runs[(runs["observations"] == count) & (runs["norm"] == runs["norm"].min())]
    return some.groupby("depth")[value].mean()


def kept_rates(results: Results, runs: Any, count: int, depth: float) -> str:
    """At which rates runs at the smallest start did not diverge, where not at all of them."""
    some = runs[(runs["observations"] == count) & (runs["norm"] == runs["norm"].min())]
    rates = sorted(some[some["depth"] == depth]["rate"].unique())
    every = results.table["rate"].dropna().unique()
    return "" if len(rates) == len(every) else f" (rate {', '.join(f'{r:g}' for r in rates)} alone)"


def all_there(results: Results, by_depth: Any) -> bool:
    """Whether every depth of the grid has runs."""
    return set(results.grid.depths) <= set(by_depth.index)


def stable_rate(depth: int, measurements: int, largest: float) -> float:
    """The rate from which descent near the truth is not stable, for half a sum of squares.

    At balanced factors of the truth a motion along its first singular pair u v^T has, at depth N,
    a curvature of N s_1^(2 - 2/N) times sum_i (u^T A_i v)^2, which is about m, the number of
    Gaussian measurements; a fixed rate is stable only below 2 over the largest curvature.

    Args:
      depth: N.
      measurements: m, of unit variance.
      largest: s_1.
    """
    return 2 / (depth * measurements * largest ** (2 - 2 / depth))


def rate_findings(results: Results) -> list[Finding]:
    """Why no run with Gaussian measurements stays finite: rate and curvature at the truth."""
    table, grid = results.table, results.grid
    norms = table["truth_nuclear_norm"].dropna()
    if not len(norms) or not table["sensing"].all() or grid.protocol != "paper":
        return []
    least = norms.min() / grid.rank  # of the truth's largest singular value
    rates = {depth: stable_rate(depth, min(grid.observations), least) for depth in grid.depths}
    depth = max(rates, key=lambda one: rates[one])
    stable = rates[depth]
    return [
        Finding.also(
            "With measurements of unit variance and half the sum of squares the rates are above "
            "what descent near the truth is stable with",
            bool(min(grid.rates) > stable),
            f"smallest rate {min(grid.rates):.0e}; at depth {depth} not stable above {stable:.0e}",
        )
    ]


def depth_findings(results: Results) -> list[Finding]:
    """Depth helps where data are few, and is not needed where they are many."""
    findings = [arrivals(results)]
    runs, _ = tables(results)
    if runs.empty:
        return findings + rate_findings(results)
    few, many = few_and_many(runs["observations"].unique().tolist())
    errors = smallest_start(runs, few, "final_test_error")
    for depth in [d for d in errors.index if d > 2 and 2 in errors.index]:
        findings.append(
            Finding(
                f"With {few} observations depth {depth:.0f} is far more accurate than depth 2 "
                "(ten times)",
                bool(errors[depth] < errors[2] / 10),
                f"reconstruction errors at the smallest start: {errors[depth]:.2e} against "
                f"{errors[2]:.2e}",
            )
        )
    if many != few:
        all_errors = smallest_start(runs, many, "final_test_error")
        findings.append(
            Finding(
                f"With {many} observations all depths recover the matrix",
                bool(all_errors.max() < 1e-2) if all_there(results, all_errors) else None,
                "reconstruction errors at the smallest start: "
                + ", ".join(
                    f"depth {d:.0f}: {v:.1e}{kept_rates(results, runs, many, d)}"
                    for d, v in all_errors.items()
                ),
            )
        )
    wide = runs[(runs["observations"] == few) & (runs["norm"] == runs["norm"].min())]
    by_rate = wide.groupby(["depth", "rate"])["final_test_error"].mean().unstack("rate")
    if by_rate.shape[1] > 1:
        worst = float((by_rate.max(axis=1) / by_rate.min(axis=1)).max())
        findings.append(
            Finding(
                "Curves of different learning rates mostly overlap",
                bool(worst < 2),
                f"at {few} observations and the smallest start, errors at the rates differ by a "
                f"factor of at most {worst:.3g}",
            )
        )
    return findings


def norm_findings(results: Results) -> list[Finding]:
    """Rank is lowered at the price of nuclear norm; with many data all coincide."""
    runs, least = tables(results)
    if runs.empty:
        return []
    few, many = few_and_many(runs["observations"].unique().tolist())
    if few not in least or many not in least:
        return []
    findings = []
    ranks = smallest_start(runs, few, "final_effective_rank")
    norms = smallest_start(runs, few, "final_nuclear_norm")
    low = least[few]
    for depth in [d for d in ranks.index if d > 2]:
        findings.append(
            Finding(
                f"With {few} observations depth {depth:.0f} ends near the truth's effective rank",
                bool(abs(ranks[depth] / low["truth_effective_rank"] - 1) < 0.05),
                f"{ranks[depth]:.3f}; truth {low['truth_effective_rank']:.3f}, least nuclear norm "
                f"{low['final_effective_rank']:.2f}",
            )
        )
        findings.append(
            Finding(
                f"... at a nuclear norm above the least one (depth {depth:.0f})",
                bool(norms[depth] > 1.001 * low["final_nuclear_norm"]),
                f"{norms[depth]:.2f} against {low['final_nuclear_norm']:.2f} (duality gap "
                f"{low['optimality']:.0e}); truth {low['truth_nuclear_norm']:.2f}",
            )
        )
    if 2 in ranks.index and 3 in ranks.index:
        findings.append(
            Finding(
                "The preference for low effective rank is stronger in deeper factorisations",
                bool(ranks[2] > ranks[3] and (4 not in ranks.index or ranks[3] > 0.95 * ranks[4])),
                ", ".join(f"depth {d:.0f}: {v:.3f}" for d, v in ranks.items()),
            )
        )
    if many != few:
        row = least[many]
        gaps = [
            smallest_start(runs, many, f"final_{name}") / row[f"truth_{name}"] - 1
            for name in ("nuclear_norm", "effective_rank")
        ]
        worst = max(float(gap.abs().max()) for gap in gaps)
        findings.append(
            Finding(
                f"With {many} observations all depths and the least nuclear norm meet the truth",
                bool(worst < 0.02 and row["final_test_error"] < 1e-6)
                if all_there(results, gaps[0])
                else None,
                f"nuclear norms and effective ranks at the smallest start are within {worst:.2%} "
                f"of the truth's; error of the least nuclear norm {row['final_test_error']:.1e}",
            )
        )
    return findings
