"""A step of Adam with the ratio penalty at depth 1, on one core: gradflow, its SVD form, PyTorch.

Run as `python -m benchmarks.penalised` where PyTorch is installed (`make bench` makes such an
environment). It also says how far the forms' trajectories are apart.
"""

import json as json_format
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from benchmarks import measure

FORMS = ("auto", "rational", "polynomial", "svd")
WEIGHT, RATE = 0.05, 1e-3


@dataclass(frozen=True)
class Options:
    """Time Adam with the ratio penalty, and compare trajectories."""

    json: Path | None = None
    """Also write the numbers to this file."""
    forms: tuple[Literal["auto", "rational", "polynomial", "svd"], ...] = FORMS
    """Forms of the polar factor, "auto" and "svd" among them."""
    torch: bool = True
    """Compare with PyTorch."""
    repetitions: int = 5
    """How often each contender is timed."""
    size: int = 100
    """d of the d x d matrix."""
    steps: int = 20_000
    """Iterations of the compared trajectories, which are timed whole as well; the paper has
    500,000 (about half an hour)."""
    cpu: int | None = None
    """The core to run on; the last one allowed by default."""


@measure.told
def main(options: Options, console: Console) -> int:
    """Measure, print, store; returns the exit status."""
    forms = f"--forms must have auto and svd among them, not only {options.forms}."
    about = measure.begin(
        [],
        options.cpu,
        torch=options.torch,
        files=[options.json],
        right={forms: {"auto", "svd"} <= set(options.forms)},
    )
    from benchmarks import penalised_contenders as contenders  # imports JAX

    runs: dict[str, Any] = {
        form: (contenders.gradflow_run(options.size, form), 2000) for form in options.forms
    }
    if options.torch:
        runs["torch"] = (contenders.torch_run(options.size), 300)
    with Progress(console=console, transient=True) as progress:
        found, share = measure.in_turn(runs, options.repetitions, progress, "a step")
    with console.status(f"trajectories of {options.steps:,} iterations"):
        apart = contenders.trajectories(
            options.size, options.steps, (*options.forms, *(["torch"] if options.torch else []))
        )
    ratios = {
        f"{name}_over_auto": measure.ratio(found[name], found["auto"])
        for name in found
        if name != "auto"
    }
    for name, times in found.items():
        told = measure.summary(times)
        against = ratios.get(f"{name}_over_auto", {"of_medians": 1.0})["of_medians"]
        console.print(f"{name:11} {told['median']:7.0f} us a step, {against:.2f} times auto")
    console.print(f"processor time over wall time: {share:.2f}")
    for line in contenders.told(apart):
        console.print(line, soft_wrap=True)
    if options.json is not None:
        content = {
            "benchmark": "penalised", **about, "size": options.size, "weight": WEIGHT, "rate": RATE,
            "microseconds_per_step": {k: measure.summary(v) for k, v in found.items()},
            "ratios": ratios, "core_share": round(share, 3), "trajectories": apart,
        }  # fmt: skip
        options.json.write_text(json_format.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    chosen = tyro.cli(Options, prog="python -m benchmarks.penalised")
    sys.exit(main(chosen, Console(width=None if sys.stdout.isatty() else 100)))
