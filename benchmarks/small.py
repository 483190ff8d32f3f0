"""What a step of a descent on small matrices takes, with products as sums and by a library.

Run as `python -m benchmarks.small`; JAX has the settings that it has for everybody, since with the
flags of `benchmarks.descent` XLA writes small products itself.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import measure

STEPS = 20_000


@dataclass(frozen=True)
class Options:
    """Compare a descent's step with products as sums to one with a library's products."""

    json: Path | None = None
    """Also write the numbers to this file."""
    sizes: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10, 12, 13, 14)
    """Matrix sizes d."""
    depths: tuple[int, ...] = (2, 3)
    """Depths N, from 2 on."""
    dtypes: tuple[Literal["float32", "float64"], ...] = ("float32", "float64")
    """Precisions."""
    repetitions: int = 5
    """How often each is timed."""


@measure.told
def main(options: Options, console: Console) -> int:
    """Measure, print, store; returns the exit status."""
    least = min(*options.sizes, *options.depths) >= 2 and options.repetitions >= 1
    words = "Sizes and depths must be at least 2, repetitions at least 1."
    measure.see({words: least}, [options.json])
    os.environ.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")
    about = measure.setting(["jax", "jaxlib", "optax", "numpy"], None)
    shown = Table(title="Nanoseconds a step of plain descent", box=box.SIMPLE_HEAD)
    for name in ("d", "N", "dtype", "by a library", "as sums", "ratio"):
        shown.add_column(name, justify="left" if name == "dtype" else "right")
    results = []
    with Progress(console=console, transient=True) as progress:
        for size in options.sizes:
            for dtype in options.dtypes:
                for depth in options.depths:
                    row = measured(size, depth, dtype, options.repetitions, progress)
                    times = (1e3 * row["microseconds_per_step"][name]["median"]
                             for name in ("library", "sums"))  # fmt: skip
                    ratio = f"{row['library_over_sums']['of_medians']:.1f}"
                    shown.add_row(
                        str(size), str(depth), dtype, *(f"{ns:,.0f}" for ns in times), ratio
                    )
                    results.append(row)
    console.print(shown)
    console.print("Processor time, medians; the ratio is one of medians.")
    measure.store(options.json, "small", **about, repetitions=options.repetitions, results=results)
    return 0


def measured(
    size: int, depth: int, dtype: str, repetitions: int, progress: Progress
) -> dict[str, Any]:
    """Both ways in turn, after a comparison of where they lead."""
    from benchmarks import contenders
    from gradflow.linalg import products

    case = contenders.case(size, depth, dtype)
    ways = {"library": descent(*case, most=0), "sums": descent(*case, most=products.SMALL)}
    told = f"{size}x{size}, depth {depth}, {dtype}"
    found = measure.two_ways(ways, STEPS, STEPS, repetitions, progress, told, dtype)
    return {"size": size, "depth": depth, "dtype": dtype, **found}


def descent(objective: Any, start: Any, rate: float, most: int) -> Callable[[int], Any]:
    """`gradflow.descend`, where products of at most so many multiplications are sums."""
    import jax
    import optax

    from gradflow.descent import descend
    from gradflow.linalg import products

    def ended(start: Any) -> Any:
        return descend(objective, start, optax.sgd(rate), STEPS).factors

    usual, products.SMALL = products.SMALL, most  # read while the program is traced
    try:
        compiled = jax.jit(ended).lower(start).compile()
    finally:
        products.SMALL = usual
    return lambda steps: jax.block_until_ready(compiled(start))


if __name__ == "__main__":
    console = Console()
    sys.exit(main(tyro.cli(Options), console))
