"""What ranks that are learned one after the other show: their picture and the findings."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.sweeps import Finding, Results

COLOURS = gf.plotting.COLOURS
MARKS = ("o", "^", "s", "D")
DASHES = ("-", "--", "-.", ":")
NEAR = 0.05
"""A flow that is so near to a best fit, relative to its norm, passes it."""
FALLEN = 10.0
"""By what factor the least error is to fall over the scales of the grid."""
ENDED = 1e-6
"""A flow that is so near to a best fit in the end has ended there."""


def picture(results: Results) -> Figure:
    """Distances from best fits over time, at the smallest alpha; the least of them over alpha."""
    with gf.plotting.paper_style():
        figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.8), layout="constrained")
        alphas, seeds = results.values("alpha"), results.values("seed")
        if alphas and seeds:
            first = results.where(seed=seeds[0], alpha=min(alphas))
            widths = sorted(results.values("columns"), reverse=True)[:2]
            for ax, columns in zip(axes, widths, strict=False):
                _along(ax, first.where(columns=columns))
            axes[0].legend(fontsize=6, loc="lower left")
            _over(axes[2], results)
        axes[0].set(ylabel=r"distance from the best fit")
    return figure


def _along(ax: Axes, results: Results) -> None:
    """Distance from each best fit over time."""
    for cell, data in results:
        off = np.asarray(data["off"])
        for s in range(off.shape[1]):
            label = "truth" if s == off.shape[1] - 1 else f"rank {s + 1}"
            ax.semilogy(
                np.asarray(data["step"]), off[:, s], DASHES[s % 4], color=COLOURS[s], label=label
            )
        power = round(float(np.log10(cell.alpha)))
        columns = "" if cell.columns == 1 else "s"
        ax.set(
            xlabel="time", xlim=(0, 10 * np.log(1 / cell.alpha)), ylim=(1e-6, 20),
            title=rf"{cell.columns} column{columns}, $\alpha = 10^{{{power}}}$",
        )  # fmt: skip


def _over(ax: Axes, results: Results) -> None:
    """The least distance from each best fit over alpha, of U with all columns."""
    rows = _full(results)
    for s in range(3):
        for seed in rows.values("seed"):
            line = sorted(
                (cell.alpha, float(data["nearest"][s])) for cell, data in rows.where(seed=seed)
            )
            alphas, least = zip(*line, strict=True)
            ax.loglog(
                alphas, least, DASHES[s], marker=MARKS[s], ms=3.5, mfc="none", color=COLOURS[s]
            )
    ax.set(xlabel=r"scale of the start $\alpha$", ylabel="the least of it", title="along the way")
    ax.invert_xaxis()


def _full(results: Results) -> Results:
    """Those of U with the most columns."""
    most = max(results.values("columns"), default=0)
    return results.where(columns=most)


def findings(results: Results) -> list[Finding]:
    """The order, the nearness, the ends with few columns; then powers."""
    if not len(results):
        return []
    return [*_passes(results), _ends(results), _error(results), _late(results)]


def nearness(results: Results) -> dict[float, np.ndarray]:
    """The largest over problems of the least distance from each best fit, by alpha, falling."""
    found: dict[float, np.ndarray] = {}
    for cell, data in _full(results):
        now = np.asarray(data["nearest"])
        found[cell.alpha] = np.maximum(now, found.get(cell.alpha, 0.0))
    return dict(sorted(found.items(), reverse=True))


def _passes(results: Results) -> list[Finding]:
    near, least = nearness(results), min(results.values("alpha"))
    times = [np.asarray(data["when"]) for _, data in _full(results).where(alpha=least)]
    statements = (
        "From small starts a flow passes the best fits of rank 1, 2, ... in this order",
        "It passes them the nearer, the smaller the start is",
    )
    if len(near) < 2 or not times:
        return [Finding(statement, None) for statement in statements]
    ordered = all(bool(np.all(np.diff(t) > 0)) for t in times)
    told = ", ".join(f"{v:.1e} (rank {s})" for s, v in enumerate(near[least], start=1))
    rows = np.array([*near.values()])
    first = max(near)
    from_ = ", ".join(f"{v:.1e}" for v in near[first])
    return [
        Finding(
            statements[0], ordered and bool(np.all(near[least] < NEAR)),
            f"alpha = {least:g}, {len(times)} problems: within {told} of their norms (counts as "
            f"passed below {NEAR:g}), {'always' if ordered else 'not always'} in order",
        ),
        Finding(
            statements[1], bool(np.all(np.diff(rows, axis=0) < 0)),
            f"of ranks 1, 2, ... over {len(rows)} scales, to fall throughout: from {from_} "
            f"(alpha = {first:g})",
        ),
    ]  # fmt: skip


def _ends(results: Results) -> Finding:
    statement = "With fewer columns than the truth's rank a flow ends in the best fit of its rank"
    least, worst, count = min(results.values("alpha")), 0.0, 0
    for cell, data in results.where(alpha=least):
        if cell.columns < 3:
            worst, count = max(worst, float(data["end"][cell.columns - 1])), count + 1
    return Finding(
        statement, bool(worst < ENDED) if count else None,
        f"alpha = {least:g}, {count} problems: within {worst:.1e} of its norm (counts as there "
        f"below {ENDED:g})",
    )  # fmt: skip


def errors(results: Results) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Alphas, falling, and the least errors along the way, a problem each."""
    rows = _full(results)
    for seed in rows.values("seed"):
        line = sorted(
            ((cell.alpha, float(data["nearest"][-1])) for cell, data in rows.where(seed=seed)),
            reverse=True,
        )
        yield np.array([a for a, _ in line]), np.array([e for _, e in line])


def _error(results: Results) -> Finding:
    statement = (
        "The least error along the way falls with the start (li2018, stoger2021: like a power or "
        "faster)"
    )
    lines = [line for line in errors(results) if len(line[0]) > 1]
    if not lines:
        return Finding(statement, None)
    falls = all(bool(np.all(np.diff(e) < 0)) and e[-1] < e[0] / FALLEN for _, e in lines)
    steps = np.concatenate([np.diff(np.log(e)) / np.diff(np.log(a)) for a, e in lines])
    return Finding(
        statement, falls,
        f"{len(lines)} problems: from {max(e[0] for _, e in lines):.1e} to "
        f"{max(e[-1] for _, e in lines):.1e} at most, to fall throughout and by a factor of "
        f"{FALLEN:g}; powers between neighbours {steps.min():.2f} to {steps.max():.2f}",
    )  # fmt: skip


def _late(results: Results) -> Finding:
    statement = "A flow that goes on to fit ends no further from the truth than twice the least"
    ratios = [float(data["end"][-1] / data["nearest"][-1]) for _, data in _full(results)]
    return Finding.also(
        statement, bool(max(ratios) <= 2) if ratios else None,
        f"{len(ratios)} flows: error in the end over the least, {min(ratios):.3g} to "
        f"{max(ratios):.3g}",
    )  # fmt: skip
