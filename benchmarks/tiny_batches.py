"""Batches of tiny descents on a CPU: side by side with one array a number, and one after the other.

Run as `python -m benchmarks.tiny_batches`; JAX has the settings that it has for everybody.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import measure

CASES = (
    (2, 2, "sgd", 1000), (2, 3, "sgd", 64), (2, 3, "sgd", 1000), (2, 3, "sgd", 10_000),
    (2, 3, "adam", 1000), (2, 10, "sgd", 1000), (3, 2, "sgd", 1000), (3, 3, "sgd", 64),
    (3, 3, "sgd", 1000), (3, 3, "adam", 1000),
)  # fmt: skip
"""Size d, depth N, optimiser, runs."""
WORK = 500_000
"""Iterations of all runs in one call."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare batches of tiny descents side by side to the same ones one after the other."""

    json: Path | None = None
    """Also write the numbers to this file."""
    cases: tuple[int, ...] = tuple(range(len(CASES)))
    """Numbers of the cases, from 0 on."""
    dtypes: tuple[Literal["float32", "float64"], ...] = ("float32", "float64")
    """Precisions."""
    repetitions: int = 5
    """How often each is timed."""


@measure.told
def main(options: Options, console: Console) -> int:
    """Measure, print, store; returns the exit status."""
    known = options.repetitions >= 1 and set(options.cases) <= set(range(len(CASES)))
    words = f"Repetitions must be at least 1, cases below {len(CASES)}."
    measure.see({words: known}, [options.json])
    os.environ.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")
    about = measure.setting(["jax", "jaxlib", "optax", "numpy"], None)
    shown = Table(title="Nanoseconds a step of one run", box=box.SIMPLE_HEAD)
    for name in ("d", "N", "optimiser", "runs", "dtype", "one by one", "side by side", "ratio"):
        shown.add_column(name, justify="left" if name in ("optimiser", "dtype") else "right")
    results = []
    with Progress(console=console, transient=True) as progress:
        for case in options.cases:
            for dtype in options.dtypes:
                row = measured(*CASES[case], dtype, options.repetitions, progress)
                times = (1e3 * row["microseconds_per_step"][name]["median"]
                         for name in ("one_by_one", "side_by_side"))  # fmt: skip
                ratio = f"{row['one_by_one_over_side_by_side']['of_medians']:.1f}"
                told = [str(row[name]) for name in ("size", "depth", "optimizer", "runs", "dtype")]
                shown.add_row(*told, *(f"{ns:,.1f}" for ns in times), ratio)
                results.append(row)
    console.print(shown)
    console.print("Processor time, medians; the ratio is one of medians.")
    measure.store(
        options.json, "tiny_batches", **about, repetitions=options.repetitions, results=results
    )
    return 0


def measured(
    size: int, depth: int, optimizer: str, runs: int, dtype: str, repetitions: int,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Both ways in turn, after a comparison of where they lead."""
    ways = {name: batch(size, depth, optimizer, runs, dtype, mode)
            for name, mode in (("one_by_one", "map"), ("side_by_side", "vmap"))}  # fmt: skip
    told = f"{runs} of {size}x{size}, depth {depth}, {optimizer}, {dtype}"
    found = measure.two_ways(ways, WORK // runs, WORK, repetitions, progress, told, dtype)
    case = {"size": size, "depth": depth, "optimizer": optimizer, "runs": runs, "dtype": dtype}
    return case | found


def batch(
    size: int, depth: int, optimizer: str, runs: int, dtype: str, mode: Literal["map", "vmap"]
) -> Callable[[int], Any]:
    """A compiled loop of all runs, without records: `WORK` iterations, and where they end."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from benchmarks import contenders
    from gradflow.descent.loop import BatchStep, next_chunk
    from gradflow.descent.rates import Rates
    from gradflow.descent.stopping import StopRule

    objective, start, rate = contenders.case(size, depth, dtype)
    scales = 1 + jnp.arange(runs, dtype=dtype) / runs
    starts = tuple(scales[:, None, None] * factor for factor in start)
    never = StopRule(jnp.asarray(contenders.NEVER, dtype), None, None)
    rates = Rates(jnp.full(runs, rate, dtype))
    step = BatchStep(objective, False, getattr(optax, optimizer), rates, (), never, mode)
    begun = step.initialise(starts)
    steps = WORK // runs
    chunk = next_chunk(np.array([0, steps]), 1, 0, steps)[0]
    return lambda _: jax.block_until_ready(step.advance(begun, chunk)[0].parameters)


if __name__ == "__main__":
    console = Console()
    sys.exit(main(tyro.cli(Options), console))
