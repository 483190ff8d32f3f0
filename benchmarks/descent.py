"""Speed of gradient descent on one core: gradflow, PyTorch, a bare loop, bare matrix products.

Run as `python -m benchmarks.descent`, or `make bench`, which brings PyTorch in its own environment.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import measure

CHECKED_STEPS = 50


@dataclass(frozen=True)
class Options:
    """Compare the speed of gradient descent with a minimal PyTorch loop, on one core."""

    json: Path | None = None
    """Also write the numbers to this file."""
    torch: bool = True
    """Compare with PyTorch."""
    repetitions: int = 5
    """How often each contender is timed."""
    sizes: tuple[int, ...] = (2, 100)
    """Matrix sizes d; 2 is the norm blow-up problem."""
    depths: tuple[int, ...] = (2, 3, 4)
    """Depths N, from 2 on."""
    dtypes: tuple[Literal["float32", "float64"], ...] = ("float32", "float64")
    """Precisions."""
    cpu: int | None = None
    """The core to run on; the last one allowed by default."""


@measure.told
def main(options: Options, console: Console) -> int:
    """Measure, print, store; returns the exit status."""
    about = measure.begin(
        [],
        options.cpu,
        torch=options.torch,
        files=[options.json],
        right={"Sizes and depths must be at least 2.": min(*options.sizes, *options.depths, 2) >= 2,
               "repetitions must be at least 1.": options.repetitions >= 1},
    )  # fmt: skip
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    console.print(f"{about['processor']}, one core, {about['date']}\n{versions}")
    began = time.perf_counter()
    results = []
    with Progress(console=console, transient=True) as progress:
        for size in options.sizes:
            for dtype in options.dtypes:
                for depth in options.depths:
                    results.append(_measure_case(size, depth, dtype, options, progress))
    console.print(table(results))
    console.print(
        "d x d matrices, N factors. Medians and ratios of medians; ± is half the range of the "
        "ratios within one turn. Overhead: what recording and stopping add to the bare loop."
    )
    shares = [row["core_share"] for row in results]
    console.print(f"This took {time.perf_counter() - began:.0f} s; {_on_the_core(min(shares))}")
    measure.store(
        options.json, "descent", **about, repetitions=options.repetitions, results=results
    )
    return 0


def _on_the_core(share: float) -> str:
    if share > 0.95:
        return "the core was free for it."
    return f"other programs held the core for up to {1 - share:.0%} of a case's time (not counted)."


def _steps(size: int) -> dict[str, int]:
    """Steps in one repetition: enough that compiling and dispatch do not count."""
    if size <= 10:
        return {"gradflow": 2_000_000, "torch": 2_000, "bare": 2_000_000, "products": 2_000_000}
    return {"gradflow": 10_000, "torch": 1_000, "bare": 10_000, "products": 4_000}


def _measure_case(
    size: int, depth: int, dtype: str, options: Options, progress: Progress
) -> dict[str, Any]:
    from benchmarks import contenders  # imports JAX, so not before the threads are limited

    objective, start, rate = contenders.case(size, depth, dtype)
    runs = {"gradflow": contenders.gradflow_run(objective, start, rate)}
    if options.torch:
        runs["torch"] = contenders.torch_run(objective, start, rate)
    runs["bare"] = contenders.bare_run(objective, start, rate)
    difference = contenders.check_agreement(runs, start, CHECKED_STEPS)

    runs["products"] = contenders.products_run(size, depth, dtype)
    steps = {name: number for name, number in _steps(size).items() if name in runs}
    found, share = measure.in_turn(
        {name: (run, steps[name]) for name, run in runs.items()},
        options.repetitions,
        progress,
        f"{size}x{size}, depth {depth}, {dtype}",
    )
    ratios = {
        "gradflow_over_products": measure.ratio(found["gradflow"], found["products"]),
        "gradflow_over_bare": measure.ratio(found["gradflow"], found["bare"]),
    }
    if options.torch:
        ratios["torch_over_gradflow"] = measure.ratio(found["torch"], found["gradflow"])
    return {
        "size": size,
        "depth": depth,
        "dtype": dtype,
        "steps_per_repetition": steps,
        "microseconds_per_step": {name: measure.summary(all_) for name, all_ in found.items()},
        "ratios": ratios,
        "difference_after_50_steps": float(f"{difference:.2g}"),
        "core_share": round(share, 3),
    }


def table(results: list[dict[str, Any]]) -> Table:
    """The results as a table, one row a case."""
    shown = Table(title="Gradient descent on one core: microseconds a step", box=box.SIMPLE_HEAD)
    names = ("d", "N", "dtype", "gradflow", "PyTorch", "bare\nloop", "matrix\nproducts",
             "PyTorch /\ngradflow", "gradflow /\nproducts", "overhead")  # fmt: skip
    for name in names:
        shown.add_column(name, justify="left" if name == "dtype" else "right", no_wrap=True)
    for before, row in zip([None, *results], results, strict=False):
        if before and (before["size"], before["dtype"]) != (row["size"], row["dtype"]):
            shown.add_section()
        times, ratios = row["microseconds_per_step"], row["ratios"]
        shown.add_row(
            *(str(row[name]) for name in ("size", "depth", "dtype")),
            *(
                _number(times[name]["median"]) if name in times else "-"
                for name in ("gradflow", "torch", "bare", "products")
            ),
            _with_spread(ratios.get("torch_over_gradflow")),
            _with_spread(ratios["gradflow_over_products"]),
            _as_overhead(ratios["gradflow_over_bare"]),
        )
    return shown


def _with_spread(ratio: dict[str, float] | None) -> str:
    """The ratio, and half the range of the ratios within one turn, in percent."""
    if ratio is None:
        return "-"
    spread = (ratio["max"] - ratio["min"]) / 2 / ratio["of_medians"]
    return f"{_number(ratio['of_medians'])} ±{spread:.0%}"


def _as_overhead(ratio: dict[str, float]) -> str:
    spread = (ratio["max"] - ratio["min"]) / 2
    return f"{ratio['of_medians'] - 1:+.1%} ±{spread:.0%}"


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


if __name__ == "__main__":
    chosen = tyro.cli(Options, prog="python -m benchmarks.descent")
    sys.exit(main(chosen, Console(width=None if sys.stdout.isatty() else 100)))
