"""A step of completion by observations, beside the dense one where both fit; and its memory.

Run as `python -m benchmarks.ratings`; `--large` adds 10^5 x 10^5 with 10^7 made-up observations.
A step is one of plain gradient descent on the product of thin factors, by `gradflow.run_descent`.
"""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import measure


class Case(NamedTuple):
    """A square matrix of so many rows, entries of it, and the product that is fitted to them."""

    rows: int
    observations: int
    hidden: int
    depth: int


CASES = (
    Case(2_000, 20_000, 5, 2),
    Case(2_000, 80_000, 5, 2),
    Case(2_000, 320_000, 5, 2),
    Case(2_000, 80_000, 5, 3),
    Case(2_000, 20_000, 40, 2),
)
LARGE = Case(100_000, 10_000_000, 5, 2)


@dataclass(frozen=True)
class Options:
    """Compare gradients by observations with those of the whole matrix."""

    json: Path | None = None
    """Also write the numbers to this file."""
    large: bool = False
    """Only 10^5 x 10^5 with 10^7 observations, by observations alone."""
    repetitions: int = 5
    """How often each contender is timed."""
    steps: int = 5
    """Steps in a timing."""
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
        files=[options.json],
        right={"repetitions must be at least 1.": options.repetitions >= 1,
               "steps must be at least 1.": options.steps >= 1},
    )  # fmt: skip
    cases = (LARGE,) if options.large else CASES
    with Progress(console=console, transient=True) as progress:
        results = [
            _measured(case, dtype, options, progress) for case in cases for dtype in options.dtypes
        ]
    console.print(f"{about['processor']}, one core, {about['date']}")
    console.print(table(results))
    if options.large:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        console.print(f"At most {peak:.2f} GiB were held, the making of the data included.")
        about |= {"peak_gib": round(peak, 2)}
    measure.store(
        options.json, "ratings", **about, repetitions=options.repetitions, results=results
    )
    return 0


def _measured(case: Case, dtype: str, options: Options, progress: Progress) -> dict[str, Any]:
    indices, values = observed(case, dtype)
    made = {"observations": objective_of(case, indices, values, sparse=True)}
    if case != LARGE:
        made["dense"] = objective_of(case, indices, values, sparse=False)
    runs = {name: run_of(objective, dtype) for name, objective in made.items()}
    found, share = measure.in_turn(
        {name: (run, options.steps) for name, run in runs.items()},
        options.repetitions,
        progress,
        f"{case.rows} x {case.rows}, {dtype}",
    )
    row: dict[str, Any] = case._asdict() | {
        "dtype": dtype,
        "microseconds_per_step": {name: measure.summary(all_) for name, all_ in found.items()},
        "megabytes": {name: memory_of(objective, dtype) for name, objective in made.items()},
        "core_share": round(share, 3),
    }
    if "dense" in found:
        row["dense_over_observations"] = measure.ratio(found["dense"], found["observations"])
    return row


def observed(case: Case, dtype: str) -> tuple[Any, Any]:
    """Entries of a matrix of rank 2, at random places."""
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, case.rows, 2))
    flat = np.unique(rng.integers(0, case.rows**2, case.observations))
    rows, columns = np.divmod(flat, case.rows)
    values = np.sum(left[rows] * right[columns], axis=1)
    return np.stack([rows, columns], axis=1), values.astype(dtype)


def objective_of(case: Case, indices: Any, values: Any, sparse: bool) -> Any:
    """The objective, with or without the matrix."""
    import gradflow as gf

    shape = (case.rows, case.rows)
    kind: Any = gf.problems.SparseCompletion if sparse else gf.MatrixCompletion
    problem = kind(shape, indices, values, loss="mean")
    model = gf.MatrixProduct.of(shape, case.depth, hidden=case.hidden)
    return gf.Objective(problem, model, path="observations" if sparse else "dense")


def start_of(objective: Any, dtype: str) -> tuple[Any, ...]:
    """A Gaussian start."""
    import jax

    factors = objective.factorization.gaussian(jax.random.key(1), std=0.3)
    return tuple(factor.astype(dtype) for factor in factors)


def run_of(objective: Any, dtype: str) -> Callable[[int], Any]:
    """Descents of a number of steps from one start."""
    import optax

    import gradflow as gf

    start = start_of(objective, dtype)

    def run(steps: int) -> Any:
        return gf.run_descent(
            objective, start, optax.sgd, learning_rate=1.0, max_steps=steps,
            record=[steps], observe=["loss"],
        )  # fmt: skip

    return run


def memory_of(objective: Any, dtype: str) -> float:
    """What a compiled gradient holds: its arguments, what it gives and what it needs meanwhile."""
    import equinox as eqx
    import jax

    arrays, rest = eqx.partition(objective, eqx.is_array)

    def gradient(arrays: Any, factors: Any) -> Any:
        return eqx.combine(arrays, rest).loss_and_gradient(factors)

    compiled = jax.jit(gradient).lower(arrays, start_of(objective, dtype)).compile()
    held: Any = compiled.memory_analysis()
    total = held.argument_size_in_bytes + held.output_size_in_bytes + held.temp_size_in_bytes
    return float(f"{total / 2**20:.4g}")


def table(results: list[dict[str, Any]]) -> Table:
    """The results as a table, one row a case and precision."""
    shown = Table(title="A step of descent: milliseconds, megabytes", box=box.SIMPLE_HEAD)
    for name in ("rows", "observations", "hidden", "depth", "dtype", "by observations", "dense",
                 "dense /\nobservations", "MB", "MB, dense"):  # fmt: skip
        shown.add_column(name, justify="left" if name == "dtype" else "right")
    for row in results:
        times, sizes = row["microseconds_per_step"], row["megabytes"]
        ratio = row.get("dense_over_observations")
        shown.add_row(
            *(f"{row[name]:,}" for name in ("rows", "observations", "hidden", "depth")),
            row["dtype"],
            *(f"{times[n]['median'] / 1e3:.1f}" if n in times else "-"
              for n in ("observations", "dense")),
            f"{ratio['of_medians']:.2f}" if ratio else "-",
            *(f"{sizes[n]:.4g}" if n in sizes else "-" for n in ("observations", "dense")),
        )  # fmt: skip
    return shown


if __name__ == "__main__":
    chosen = tyro.cli(Options, prog="python -m benchmarks.ratings")
    sys.exit(main(chosen, Console(width=None if sys.stdout.isatty() else 110)))
