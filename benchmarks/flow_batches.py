"""What a batch of flows costs beside its compiled loop, and beside the same flows one by one.

Run as `python -m benchmarks.flow_batches`; `--flows 100000` takes some minutes. On a CPU what
counts is processor time, elsewhere wall time: there the host waits for the loop. "Host" is all but
the loop: preparing the flows, and making trajectories of what came of them.
"""

import json as json_format
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import measure
from gradflow._util.device import set_up

CASES = ("2x2 depth 2", "2x2 depth 3", "2x2 balanced", "30x30 depth 3")
SINGLE = 20
"""Flows that are also solved one by one."""


@dataclass(frozen=True)
class Options:
    """Time batches of flows from random starts."""

    device: Literal["cpu", "gpu", "tpu"] = "cpu"
    """Where."""
    flows: int = 1000
    """2x2 flows in a batch."""
    large: int = 64
    """30x30 flows in a batch."""
    cases: tuple[str, ...] = CASES
    """Which."""
    repetitions: int = 3
    """How often each is timed, in turn with the flows one by one; 1 counts compilation, too."""
    json: Path | None = None
    """Also write the numbers to this file."""


def main(options: Options, console: Console) -> int:
    """Measure and print; returns the exit status."""
    unknown = [name for name in options.cases if name not in CASES]
    if unknown or min(options.flows, options.large) < SINGLE or options.repetitions < 1:
        wrong = f"there is no case {unknown[0]!r}; " if unknown else ""
        console.print(f"{wrong}cases are {', '.join(CASES)}, of {SINGLE} flows or more.")
        return 2
    try:
        set_up(options.device)
    except RuntimeError as error:
        console.print(str(error), style="red")
        return 2
    rows = [timed(name, options) for name in options.cases]
    shown = Table(title="Milliseconds a flow, medians", box=box.SIMPLE_HEAD)
    for column in ("case", "flows", "coordinates", "host", "loop", "one by one", "ratio"):
        shown.add_column(column, justify="left" if column in ("case", "coordinates") else "right")
    for row in rows:
        numbers = (row[name]["median"] for name in ("host", "loop", "one_by_one"))
        ratio = row["one_by_one_over_batch"]["of_medians"]
        shown.add_row(
            row["case"], f"{row['flows']:,}", row["coordinates"],
            *(f"{number:.3g}" for number in numbers), f"{ratio:.3g}",
        )  # fmt: skip
    console.print(shown)
    if options.json is not None:
        content = {
            "benchmark": "flow_batches",
            **measure.setting(["jax", "jaxlib", "diffrax", "equinox", "numpy"], None),
            "unit": "milliseconds a flow",
            "rows": rows,
        }
        options.json.write_text(json_format.dumps(content, indent=1) + "\n")
    return 0


def timed(name: str, options: Options) -> dict[str, Any]:
    """One case: the host's work, the loop's, and some of its flows one by one."""
    import gradflow as gf

    count = options.large if name.startswith("30x30") else options.flows
    objective, starts, asked = case(name, count)
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    loop = Stopwatch(clock)
    for start in starts[:2]:
        gf.solve_flow(objective, start, **asked)
    found: dict[str, list[float]] = {"host": [], "loop": [], "one_by_one": []}
    kinds: set[str] = set()
    with loop:
        if options.repetitions > 1:
            gf.solve_flows(objective, starts, **asked)
        for _ in range(options.repetitions):
            loop.spent, began = 0.0, clock()
            flows = gf.solve_flows(objective, starts, **asked)
            both = clock() - began
            kinds = {flow.stats["coordinates"] for flow in flows}
            found["host"].append(1e3 * (both - loop.spent) / count)
            found["loop"].append(1e3 * loop.spent / count)
            began = clock()
            for start in starts[:SINGLE]:
                gf.solve_flow(objective, start, **asked)
            found["one_by_one"].append(1e3 * (clock() - began) / SINGLE)
    batch = [a + b for a, b in zip(found["host"], found["loop"], strict=True)]
    return {
        "case": name,
        "flows": count,
        "coordinates": ", ".join(sorted(kinds)),
        **{key: measure.summary(values) for key, values in found.items()},
        "host_over_batch": statistics.median(found["host"]) / statistics.median(batch),
        "one_by_one_over_batch": measure.ratio(found["one_by_one"], batch),
    }


class Stopwatch:
    """Time spent in the compiled loop of batches, while it is entered."""

    def __init__(self, clock: Callable[[], float]):
        self.clock, self.spent = clock, 0.0

    def __enter__(self) -> "Stopwatch":
        import jax

        from gradflow.flow import drive

        self.loop = drive._integrate_all

        def run(*arguments: Any) -> Any:
            began = self.clock()
            result = jax.block_until_ready(self.loop(*arguments))
            self.spent += self.clock() - began
            return result

        drive._integrate_all = run  # type: ignore[assignment]
        return self

    def __exit__(self, *_: Any) -> None:
        from gradflow.flow import drive

        drive._integrate_all = self.loop


def case(name: str, count: int) -> tuple[Any, list[Any], dict[str, Any]]:
    """The objective, random starts, and what is asked."""
    import numpy as np

    import gradflow as gf

    rng = np.random.default_rng(0)
    if name == "30x30 depth 3":
        shape, depth = (30, 30), 3
        truth = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 30)) / 30**0.5
        seen = np.argwhere(rng.random(shape) < 0.4)
        problem = gf.MatrixCompletion(shape, seen, truth[tuple(seen.T)], truth=truth)
        scale, asked = 0.05, {"horizon": 1.0, "rtol": 1e-4}
    else:
        problem, shape, depth = gf.synthetic.norm_blowup(), (2, 2), 3 if "3" in name else 2
        scale, asked = 0.3, {"horizon": 5.0}
    objective = gf.Objective(problem, gf.MatrixProduct.of(shape, depth))
    asked |= {"observe": ("loss",), "record": [0.1 * asked["horizon"], asked["horizon"]]}
    if "balanced" in name:
        matrices = rng.standard_normal((count, 2, 2))
        return objective, [scale * w for w in matrices], asked
    shapes = objective.factorization.factor_shapes
    starts = [tuple(scale * rng.standard_normal(s) for s in shapes) for _ in range(count)]
    return objective, starts, asked


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options), Console()))
