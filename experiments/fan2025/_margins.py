"""What margins in three norms show: their picture and the findings."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.baselines.margin import MarginNorm
from gradflow.sweeps import Finding, Results

Table = Any
"""A pandas table, whose stubs do not know groups."""
COLOURS = gf.plotting.COLOURS
NORMS: tuple[MarginNorm, ...] = ("max", "frobenius", "spectral")
WORDS: dict[str, str] = {
    "max": "largest entry",
    "frobenius": "Frobenius norm",
    "spectral": "spectral norm",
}
RULES: dict[str, tuple[MarginNorm, str, str]] = {
    "gd": ("frobenius", "gradient descent", ":"),
    "normalised": ("frobenius", "normalised GD", "-"),
    "sign": ("max", "sign descent", "-"),
    "signum": ("max", "with momentum", "--"),
    "adam": ("max", "Adam, no epsilon", "-."),
    "spectral": ("spectral", "spectral descent", "-"),
    "muon": ("spectral", "with momentum", "--"),
    "newton-schulz": ("spectral", "Newton-Schulz", ":"),
}
"""Of each rule its norm, its name, its line."""
STEEPEST = ("sign", "normalised", "spectral")
MOMENTUM = ("signum", "muon")
NEAR = 0.02
"""A margin that is by less than this share below the largest one is there."""
LATE = 10.0
"""Over the last factor of so much in steps powers are measured."""
POWER = -0.4
"""Gaps that fall at least like this power of t fall about like t^(-1/2)."""


def picture(results: Results) -> Figure:
    """What is missing to the largest margin over iterations, a panel a norm."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.9), sharey=True, layout="constrained")
        for ax, norm in zip(axes, NORMS, strict=True):
            _panel(ax, results, norm)
            ax.set(xscale="log", yscale="log", xlabel="iteration", title=WORDS[norm])
            if ax.lines:
                ax.legend(fontsize=6, loc="lower left")
        axes[0].set(ylabel="1 - margin / largest margin", ylim=(None, 1.5))
    return figure


def _panel(ax: Axes, results: Results, norm: MarginNorm) -> None:
    """A line a rule and set of data; rules of other norms are pale."""
    for rule in [rule for rule in RULES if rule in results.values("rule")]:
        own, label, dashes = RULES[rule]
        for k, (_, data) in enumerate(results.where(rule=rule)):
            gap, here = 1 - np.asarray(data["shares"])[:, NORMS.index(norm)], own == norm
            ax.plot(
                np.asarray(data["step"]), np.where(gap < 1, gap, np.nan), ls=dashes,
                color=COLOURS[NORMS.index(own)], alpha=1.0 if here else 0.3,
                lw=1.2 if here else 0.8, label=label if here and k == 0 else None,
            )  # fmt: skip


def findings(results: Results) -> list[Finding]:
    """Largest margins of steepest descent, of momentum, of Adam; then what is ours."""
    table: Table = results.table
    if table.empty:
        return []
    return [
        *(
            _there(results, rule, f"{words} comes to the largest margin in the {WORDS[norm]}")
            for rule, words, norm in (
                ("sign", "Sign descent", "max"),
                ("normalised", "Normalised gradient descent", "frobenius"),
                ("spectral", "Spectral descent", "spectral"),
                ("signum", "Sign descent with momentum", "max"),
                ("muon", "Spectral descent with momentum (Muon)", "spectral"),
                ("adam", "Adam without epsilon", "max"),
            )
        ),
        _there(
            results, "newton-schulz",
            "Muon as used, by five of Newton and Schulz' iterations, does too", stated=False,
        ),
        _rate(results),
        _apart(table),
        _plain(table),
    ]  # fmt: skip


def _there(results: Results, rule: str, statement: str, stated: bool = True) -> Finding:
    """The last margin, in the rule's norm."""
    table: Table = results.table
    shares = table[table["rule"] == rule][f"share_{RULES[rule][0]}"]
    if shares.empty:
        return Finding(statement, None, stated=stated)
    late = powers(results, rule)
    falls = f"; the rest goes like t^{late.min():.2f} to t^{late.max():.2f}" if late.size else ""
    return Finding(
        statement, bool((shares > 1 - NEAR).all()),
        f"{shares.min():.4f} to {shares.max():.4f} of it (counts as there above {1 - NEAR:g})"
        f"{falls}", stated=stated,
    )  # fmt: skip


def powers(results: Results, rule: str) -> np.ndarray:
    """Of the iteration in the gap, over the last decade, one a set of data."""
    found = []
    for _, data in results.where(rule=rule):
        gap = 1 - np.asarray(data["shares"])[:, NORMS.index(RULES[rule][0])]
        step = np.asarray(data["step"], float)
        late = (step >= step[-1] / LATE) & (gap > 0)
        if late.sum() > 3:
            found.append(float(np.polyfit(np.log(step[late]), np.log(gap[late]), 1)[0]))
    return np.array(found)


def _rate(results: Results) -> Finding:
    statement = "What steepest descents miss of it falls about like t^(-1/2)"
    found = {rule: powers(results, rule) for rule in STEEPEST}
    if not all(v.size for v in found.values()):
        return Finding.also(statement, None)
    return Finding.also(
        statement, all(bool(np.all(v < POWER)) for v in found.values()),
        f"powers of t over the last decade, to be below {POWER:g}: "
        + ", ".join(f"{v.min():.2f} to {v.max():.2f} ({rule})" for rule, v in found.items()),
    )  # fmt: skip


def _apart(table: Table) -> Finding:
    statement = "In each norm its own steepest descent ends with the largest margin of the three"
    won, asked = 0, 0
    for _, rows in table[table["rule"].isin(STEEPEST)].groupby("seed"):
        if rows["rule"].nunique() < len(STEEPEST):
            continue
        for norm in NORMS:
            best = rows.sort_values(f"share_{norm}").iloc[-1]["rule"]
            won, asked = won + int(RULES[best][0] == norm), asked + 1
    others = [
        f"{table[table['rule'] == rule][f'share_{norm}'].median():.2f} ({rule}, {WORDS[norm]})"
        for rule in STEEPEST for norm in NORMS if RULES[rule][0] != norm
    ]  # fmt: skip
    return Finding.also(
        statement, won == asked if asked else None,
        f"{won} of {asked} times; what the others have, of the largest, in the median: "
        + ", ".join(others),
    )  # fmt: skip


def _plain(table: Table) -> Finding:
    statement = "Plain gradient descent at one rate misses more than normalised descent does"
    two = table[table["rule"].isin(["gd", "normalised"])]
    rows = two.pivot_table(index="seed", columns="rule", values="share_frobenius")
    if rows.shape[1] < 2:
        return Finding.also(statement, None)
    missed = 1 - rows
    return Finding.also(
        statement, bool((missed["gd"] > missed["normalised"]).all()),
        f"of the largest Frobenius margin: {missed['gd'].min():.3g} to {missed['gd'].max():.3g}, "
        f"normalised {missed['normalised'].min():.2g} to {missed['normalised'].max():.2g}",
    )  # fmt: skip
