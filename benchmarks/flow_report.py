"""The targets of `benchmarks.flow`, its tables and its picture.

`python -m benchmarks.flow_report NUMBERS.json PAGE.md PICTURE.png` writes the tables into a page,
between its two marks, and draws the picture, from stored numbers.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

OURS = ("auto", "RKC2")
# depth -> (kind of error, its size, gradients allowed)
TARGETS: dict[int, list[tuple[str, float, int]]] = {
    2: [("trajectory", 1e-4, 1_000)],
    3: [("trajectory", 1e-4, 5_900), ("final", 1e-6, 8_200), ("trajectory", 1e-6, 14_500)],
    4: [("trajectory", 1e-4, 6_700), ("final", 1e-6, 8_000), ("trajectory", 1e-6, 15_000)],
}
OVER_RAW = {3: 1.3, 4: 1.6}
TIMES_FASTER = 100
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LEGEND = (
    "Work: gradients + 2 x Hessian-vector products. Errors are relative, in the Frobenius norm of "
    "the product: the largest at any record, that at the end (loss 1e-6), and the largest of the "
    "top five singular values at any record. Time: processor seconds of a second call (median of "
    "three if short), one core. x raw: time over work x the time of one bare gradient."
)
_COLUMNS = (
    "solver",
    "rtol",
    "steps",
    "work",
    "trajectory",
    "final",
    "top 5\nvalues",
    "seconds",
    "x raw",
)


def judge(depth: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each target with what was measured; the speed-up over Tsit5 at the same or better error."""
    targets = []
    for kind, size, allowed in TARGETS.get(depth, []):
        good = [r for r in runs if r["solver"] in OURS and r.get(f"{kind}_error", math.inf) <= size]
        best = min(good, key=lambda r: r["cost"], default=None)
        targets.append(
            {
                "what": f"{'whole trajectory' if kind == 'trajectory' else 'end'} within {size:g}",
                "kind": kind,
                "error": size,
                "at_most": allowed,
                "measured": best and best["cost"],
                "by": best and f"{best['solver']}, rtol {best['rtol']:.0e}",
                "met": bool(best and best["cost"] <= allowed),
            }
        )
    if depth in OVER_RAW:
        slowest = max((r for r in runs if r["solver"] == "auto"), key=lambda r: r["over_raw"])
        targets.append(
            {
                "what": "time over work x raw gradient, worst run of auto",
                "at_most": OVER_RAW[depth],
                "measured": slowest["over_raw"],
                "by": f"auto, rtol {slowest['rtol']:.0e}",
                "met": slowest["over_raw"] <= OVER_RAW[depth],
            }
        )
    speedups = []
    for slow in (r for r in runs if r["solver"] == "Tsit5" and "trajectory_error" in r):
        better = [
            r
            for r in runs
            if r["solver"] == "auto"
            and r.get("trajectory_error", math.inf) <= slow["trajectory_error"]
        ]
        fast = min(better, key=lambda r: r["seconds"], default=None)
        speedups.append(
            {
                "tsit5_rtol": slow["rtol"],
                "tsit5_error": slow["trajectory_error"],
                "tsit5_seconds": slow["seconds"],
                "ours": fast and f"auto, rtol {fast['rtol']:.0e}",
                "our_error": fast and fast["trajectory_error"],
                "times_faster": fast and float(f"{slow['seconds'] / fast['seconds']:.4g}"),
            }
        )
    if depth == 3 and speedups:
        most = max(speedups, key=lambda s: s["times_faster"] or 0)
        targets.append(
            {
                "what": "times faster than Tsit5 at the same or a better error",
                "at_least": TIMES_FASTER,
                "measured": most["times_faster"],
                "by": most["ours"],
                "met": (most["times_faster"] or 0) >= TIMES_FASTER,
            }
        )
    return {"targets": targets, "speedups": speedups}


def one_line(run: dict[str, Any]) -> str:
    """A run in one line, for those who wait."""
    name, rtol, _, work, trajectory, final, _, seconds, over = _cells(run)
    return (
        f"{name} {rtol}: {work} gradients, {seconds} s, {over} x raw; "
        f"errors {trajectory} (trajectory), {final} (end)"
    )


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    return (
        run["solver"],
        f"{run['rtol']:.0e}" if "rtol" in run else f"rate {run['learning_rate']:.1e}",
        f"{run['steps']:,}" if "steps" in run else "",
        f"{run['cost']:,}",
        *(
            f"{run[name]:.1e}" if name in run else "-"
            for name in ("trajectory_error", "final_error", "singular_value_error")
        ),
        f"{run['seconds']:.3g}",
        f"{run['over_raw']:.2f}",
    )


def about_reference(reference: dict[str, Any]) -> str:
    """What the errors are measured against, and how good that is."""
    return (
        f"Reference: rtol {reference['rtol']:g}, landing on all records; it differs from rtol "
        f"{10 * reference['rtol']:g} by {reference['differs_from_ten_times_that_by']:.1e}, so that "
        f"its own error is about {reference['error']:.0e}."
    )


def show(result: dict[str, Any], console: Console) -> None:
    """A depth's runs, targets and speed-ups."""
    reference = result["reference"]
    shown = Table(
        title=f"Depth {result['depth']}: gradient flow of 100 x 100 completion to a loss of 1e-6",
        box=box.SIMPLE_HEAD,
    )
    for name in _COLUMNS:
        shown.add_column(name, justify="left" if name == "solver" else "right", no_wrap=True)
    before = None
    for run in result["runs"]:
        if before not in (None, run["solver"]):
            shown.add_section()
        shown.add_row(*_cells(run))
        before = run["solver"]
    console.print(shown)
    console.print(LEGEND)
    raw = 1e6 * result["raw_gradient_seconds"]
    console.print(f"{about_reference(reference)} One bare gradient: {raw:.0f} microseconds.")
    goals = Table(box=box.SIMPLE_HEAD)
    for name in ("target", "asked", "measured", "by", ""):
        goals.add_column(name, justify="right" if name in ("asked", "measured") else "left")
    for target in result["targets"]:
        asked = "<= {at_most:,}" if "at_most" in target else ">= {at_least:,}"
        measured = target["measured"]
        goals.add_row(
            target["what"],
            asked.format(**target),
            "none" if measured is None else f"{measured:,}",
            target["by"] or "-",
            "met" if target["met"] else "missed",
        )
    if result["targets"]:
        console.print(goals)
    for s in result["speedups"]:
        if s["ours"]:
            console.print(
                f"Tsit5 at rtol {s['tsit5_rtol']:.0e}: error {s['tsit5_error']:.1e} in "
                f"{s['tsit5_seconds']:.3g} s; {s['ours']}: {s['our_error']:.1e}, "
                f"{s['times_faster']:.3g} times faster."
            )


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Error against gradients, one panel a depth."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from gradflow.plotting.static import COLOURS, paper_style

    curves = [  # solver, error, marker, colour, line, label
        ("auto", "trajectory_error", "o", COLOURS[0], "-", "auto (RKC3): whole trajectory"),
        ("auto", "final_error", "s", COLOURS[5], "--", "auto (RKC3): end"),
        ("RKC2", "trajectory_error", "^", COLOURS[1], "-", "RKC2: whole trajectory"),
        ("Tsit5", "trajectory_error", "D", COLOURS[2], "-", "Tsit5: whole trajectory"),
        ("Dopri8", "trajectory_error", "v", COLOURS[3], "-", "Dopri8: whole trajectory"),
        ("gradient descent", "final_error", "*", COLOURS[6], "", "gradient descent: end"),
    ]
    with paper_style():
        figure, axes = plt.subplots(
            1,
            len(results),
            figsize=(max(7.2, 3.2 * len(results) + 0.4), 3.9),
            sharey=True,
            squeeze=False,
        )
        handles: dict[str, Any] = {}
        for ax, result in zip(axes[0], results, strict=True):
            for solver, error, marker, colour, line, label in curves:
                points = [
                    (r["cost"], r[error])
                    for r in result["runs"]
                    if r["solver"] == solver and error in r
                ]
                if points:
                    (handles[label],) = ax.loglog(
                        *zip(*points, strict=True), marker=marker, color=colour, ls=line, ms=5
                    )
            for kind, marker in (("trajectory", "X"), ("final", "P")):
                goals = [t for t in result["targets"] if t.get("kind") == kind]
                if goals:
                    (handles[f"target: {'end' if kind == 'final' else 'whole trajectory'}"],) = (
                        ax.loglog(
                            [t["at_most"] for t in goals], [t["error"] for t in goals],
                            marker=marker, mfc="none", mec="black", ls="", ms=6, mew=0.8,
                        )
                    )  # fmt: skip
            ax.set_title(f"depth {result['depth']}")
            ax.set_xlabel("work [gradients]")
            ax.grid(alpha=0.3, lw=0.5)
        axes[0, 0].set_ylabel("relative error of the product")
        figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=3)
        figure.tight_layout(rect=(0, 0.17, 1, 1))
        figure.savefig(path, dpi=150)
        plt.close(figure)


def markdown(content: dict[str, Any]) -> str:
    """Where it was measured, all runs and all targets, as two tables."""
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    lines = [
        f"Measured on one core of an {content['processor']}, {content['date']}, {versions}.",
        "",
    ]
    for result in content["depths"]:
        raw = 1e6 * result["raw_gradient_seconds"]
        lines.append(
            f"- Depth {result['depth']}: one bare gradient takes {raw:.0f} microseconds. "
            f"{about_reference(result['reference'])}"
        )
    lines += ["", LEGEND, ""]
    lines += [
        "| depth | solver | rtol | steps | work | trajectory | end | top 5 values | seconds "
        "| x raw |",
        "|--:|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in content["depths"]:
        for run in result["runs"]:
            lines.append(" | ".join([f"| {result['depth']}", *_cells(run)]) + " |")
    lines += ["", "| depth | target | asked | measured | by | |", "|--:|:--|--:|--:|:--|:--|"]
    for result in content["depths"]:
        for t in result["targets"]:
            asked = f"at most {t['at_most']:,}" if "at_most" in t else f"at least {t['at_least']:,}"
            measured = "none" if t["measured"] is None else f"{t['measured']:,}"
            cells = [t["what"], asked, measured, t["by"] or "-", "met" if t["met"] else "missed"]
            lines.append(" | ".join([f"| {result['depth']}", *cells]) + " |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Options:
    """Write stored numbers into a page, and draw them."""

    numbers: Annotated[Path, tyro.conf.Positional]
    """What `python -m benchmarks.flow --json` wrote."""
    page: Annotated[Path, tyro.conf.Positional]
    """With the table between two marks, to be renewed."""
    picture: Annotated[Path, tyro.conf.Positional]
    """To be drawn."""


def main(options: Options) -> int:
    """Renew page and picture; returns the exit status."""
    from gradflow._util.files import replace_between  # imports JAX, which a benchmark must do later

    stored = json.loads(options.numbers.read_text())
    replace_between(options.page, BEGIN, END, markdown(stored))
    draw(stored["depths"], options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
