"""Work and precision of the exact gradient flow of matrix completion, on one core.

Run as `python -m benchmarks.flow`, or `make bench-flow`, which also stores the numbers and draws
the picture.
"""

import functools
import json as json_format
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console

from benchmarks import flow_report, measure

SIZE, RANK, OBSERVATIONS, START_STD, STOP_LOSS = 100, 5, 2000, 1e-3, 1e-6
REFERENCES = (1e-10, 1e-11)
REFERENCE_STEPS = 10_000  # below some tolerance round-off rules the error estimate: steps collapse
LEARNING_RATE = 1e-3  # of the papers
REPEATED_UP_TO = 1.0  # seconds: runs shorter than this are timed three times
RAW_STEPS = 300
MOST_STEPS = 120_000  # of explicit solvers: at loose tolerances they may never reach the loss


@dataclass(frozen=True)
class Options:
    """Compare solvers of the exact gradient flow: gradients, time and error, on one core."""

    depths: tuple[int, ...] = (2, 3, 4)
    """Depths N, from 2 on."""
    seed: int = 0
    """Of the problem and the start."""
    json: Path | None = None
    """Also write the numbers to this file."""
    picture: Path | None = None
    """Also draw error against gradients to this file."""
    tsit5: bool = True
    """Compare with Tsit5 at depths 2 and 3 (minutes at depth 3)."""
    dopri8: bool = True
    """Compare with Dopri8 at depth 2."""
    descent: bool = True
    """Compare with gradient descent to the same loss at depths 2 and 3 (minutes at depth 3)."""
    quick: bool = False
    """Depth 2 and few contenders only."""
    cpu: int | None = None
    """The core to run on; the last one allowed by default."""


@measure.told
def main(options: Options, console: Console) -> int:
    """Measure, print, store, draw; returns the exit status."""
    about = measure.begin(
        ["diffrax"],
        options.cpu,
        files=[options.json, options.picture],
        right={"Depths must be at least 2.": min(options.depths) >= 2},
    )
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    console.print(f"{about['processor']}, one core, {about['date']}\n{versions}")
    began = time.perf_counter()
    results: list[dict[str, Any]] = []
    for depth in (2,) if options.quick else options.depths:
        results.append(_measure_depth(depth, options, console))
        flow_report.show(results[-1], console)
        content = {"benchmark": "flow", **about, "seed": options.seed, "depths": results}
        if options.json is not None:
            options.json.write_text(json_format.dumps(content, indent=1) + "\n")
        if options.picture is not None:
            flow_report.draw(results, options.picture)
    console.print(f"This took {time.perf_counter() - began:.0f} s.")
    return 0


def _measure_depth(depth: int, options: Options, console: Console) -> dict[str, Any]:
    bench = _Bench(depth, options.seed)
    console.print(f"depth {depth}: reference ...")
    reference, about_reference = _reference(bench, console)
    console.print("  " + flow_report.about_reference(about_reference))
    runs = _flow_runs(bench, options, reference, console)
    if options.descent and depth <= 3 and not options.quick:
        runs += _descent_runs(bench, reference, console)
    return {
        "depth": depth,
        "reference": about_reference,
        "raw_gradient_seconds": statistics.median(run["raw"] for run in runs),
        "runs": runs,
        **flow_report.judge(depth, runs),
    }


class _Bench:
    """One problem, at one depth, and the ways to run and time it."""

    def __init__(self, depth: int, seed: int) -> None:
        import jax

        import gradflow as gf
        from benchmarks import contenders

        keys = jax.random.split(jax.random.key(seed))
        problem = gf.synthetic.matrix_completion(keys[0], (SIZE, SIZE), RANK, OBSERVATIONS)
        model = gf.MatrixProduct.of(problem.shape, depth)
        self.depth = depth
        self.objective = gf.Objective(problem, model)
        self.start = model.random_balanced(keys[1], START_STD)
        # This rate moves nothing, yet is not optimised away.
        self._bare = contenders.bare_run(self.objective, self.start, 1e-12)
        self._bare(RAW_STEPS)

    def flow(self, rtol: float, solver: Any = "auto", **kwargs: Any) -> Any:
        """The flow down to the stopping loss, a `Trajectory`."""
        import gradflow as gf

        return gf.solve_flow(
            self.objective, self.start, stop_loss=STOP_LOSS, observe=["product"], rtol=rtol,
            solver=solver, **kwargs,
        )  # fmt: skip

    def descend(self, rate: float, stop_loss: float) -> Any:
        """Gradient descent down to a loss, a `Trajectory`."""
        import optax

        import gradflow as gf

        return gf.run_descent(
            self.objective, self.start, optax.sgd, learning_rate=rate, max_steps=10_000_000,
            stop_loss=stop_loss, observe=["product"], record=[0],
        )  # fmt: skip

    def timed(self, run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """The result; medians of processor, wall and one raw gradient's processor seconds."""
        found: dict[str, list[float]] = {"seconds": [], "wall_seconds": [], "raw": []}
        while len(found["wall_seconds"]) < 3:
            found["raw"].append(self._raw_seconds())
            result: list[Any] = []
            busy, wall = _seconds(lambda result=result, run=run: result.append(run()))
            found["seconds"].append(busy)
            found["wall_seconds"].append(wall)
            found["raw"].append(self._raw_seconds())
            if wall > REPEATED_UP_TO:
                break
        return result[0], {name: statistics.median(all_) for name, all_ in found.items()}

    def _raw_seconds(self) -> float:
        return _seconds(lambda: self._bare(RAW_STEPS))[0] / RAW_STEPS


def _reference(bench: _Bench, console: Console) -> tuple["_Products", dict[str, Any]]:
    """The finest flow that gets there, and what to store of it."""
    reached = [_Products(bench.flow(REFERENCES[0], interpolate=False))]
    for rtol in REFERENCES[1:]:
        finer = bench.flow(rtol, interpolate=False, max_steps=REFERENCE_STEPS)
        if finer.outcome.name != "REACHED_LOSS":
            console.print(f"  rtol {rtol:g}: not there after {REFERENCE_STEPS:,} steps")
            break
        reached.append(_Products(finer))
    coarser, reference = reached[-2:]
    difference = reference.errors(coarser)["trajectory_error"]
    return reference, {
        "rtol": REFERENCES[len(reached) - 1],
        "differs_from_ten_times_that_by": difference,
        "error": float(f"{difference / 9:.2g}"),  # errors are about proportional to rtol
        "end_time": float(reference.times[-1]),
        "records": len(reference.times),
        "spectral_radius": float(f"{reference.stats['spectral_radius']:.4g}"),
        "cost": reference.stats["gradients"] + 2 * reference.stats["hessian_products"],
    }


def _flow_runs(
    bench: _Bench, options: Options, reference: "_Products", console: Console
) -> list[dict[str, Any]]:
    """Cost, time and error of each solver at each of its tolerances."""
    runs: list[dict[str, Any]] = []
    for name, solver, tolerances in _solvers(bench.depth, options):
        bench.flow(1e-3, solver, max_steps=3)  # compiles
        enough = MOST_STEPS if name in ("Tsit5", "Dopri8") else 10_000_000
        for rtol in tolerances:
            trajectory, seconds = bench.timed(
                functools.partial(bench.flow, rtol, solver, max_steps=enough)
            )
            stats = trajectory.stats
            cost = stats["gradients"] + 2 * stats.get("hessian_products", 0)
            there = trajectory.outcome.name == "REACHED_LOSS"
            runs.append(
                {
                    "solver": name,
                    "rtol": rtol,
                    "outcome": trajectory.outcome.name,
                    "cost": cost,
                    **{k: stats[k] for k in _COUNTS if k in stats},
                    **_times(cost, seconds),
                    **(reference.errors(_Products(trajectory)) if there else {}),
                }
            )
            console.print("  " + flow_report.one_line(runs[-1]))
    return runs


def _descent_runs(bench: _Bench, reference: "_Products", console: Console) -> list[dict[str, Any]]:
    """Iterations, time and final error of gradient descent at each rate."""
    runs: list[dict[str, Any]] = []
    for rate in _rates(reference.stats["spectral_radius"]):
        bench.descend(rate, 1e9)  # compiles
        trajectory, seconds = bench.timed(functools.partial(bench.descend, rate, STOP_LOSS))
        cost = trajectory.stats["steps"]
        runs.append(
            {
                "solver": "gradient descent",
                "learning_rate": float(f"{rate:.4g}"),
                "outcome": trajectory.outcome.name,
                "cost": cost,
                **_times(cost, seconds),
                "final_error": _distance(
                    np.asarray(trajectory["product"][-1]), reference.products[-1]
                ),
            }
        )
        console.print("  " + flow_report.one_line(runs[-1]))
    return runs


_COUNTS = ("steps", "rejected", "gradients", "hessian_products", "end_time")


def _solvers(depth: int, options: Options) -> list[Any]:
    """Name, solver and relative tolerances of each contender."""
    import diffrax

    import gradflow as gf
    from gradflow.ode.chebyshev import RKC2

    decades = [10.0**-k for k in range(3, 8)]
    if options.quick:
        return [
            ("auto", "auto", decades[1::2]),
            ("RKC2", gf.ode.StiffnessSwitch(stabilized=RKC2()), [1e-4]),
        ]
    fine = sorted([*decades, *(3 * t for t in decades[1:])], reverse=True)
    if depth > 3:
        fine += [3e-8, 1e-8]  # the rises of deeper products amplify more
    rows = [
        ("auto", "auto", fine),
        ("RKC2", gf.ode.StiffnessSwitch(stabilized=RKC2()), decades[:-1]),
    ]
    if options.tsit5 and depth <= 3:
        rows.append(("Tsit5", diffrax.Tsit5(), [1e-5, 1e-6, 1e-7] if depth == 2 else [1e-5]))
    if options.dopri8 and depth == 2:
        rows.append(("Dopri8", diffrax.Dopri8(), [1e-5, 1e-7]))
    return rows


def _times(cost: int, seconds: dict[str, float]) -> dict[str, float]:
    """What to store of the times, to four digits; with the time over that of bare gradients."""
    over_raw = seconds["seconds"] / (cost * seconds["raw"])
    return {k: float(f"{v:.4g}") for k, v in {**seconds, "over_raw": over_raw}.items()}


def _rates(radius: float) -> list[float]:
    """The papers' learning rate or, if smaller, one near stability; also that, if far above."""
    stable = 1.8 / radius
    return [min(stable, LEARNING_RATE), *([stable] if stable > 2 * LEARNING_RATE else [])]


class _Products:
    """A trajectory's times and products, to compare with another's."""

    def __init__(self, trajectory: Any) -> None:
        if trajectory.outcome.name != "REACHED_LOSS":
            raise RuntimeError(f"The flow did not reach the loss: {trajectory!r}")
        self.times = np.asarray(trajectory.times)
        self.products = np.asarray(trajectory["product"])
        self.stats = trajectory.stats
        self._top: np.ndarray | None = None

    def top(self) -> np.ndarray:
        """The five largest singular values at each record."""
        if self._top is None:
            self._top = np.linalg.svd(self.products, compute_uv=False)[:, :RANK]
        return self._top

    def errors(self, other: "_Products") -> dict[str, float]:
        """Relative errors of another trajectory, if this one is right: its end against the end."""
        count = min(len(self.times), len(other.times)) - 1
        if not np.array_equal(self.times[:count], other.times[:count]):
            raise RuntimeError("The trajectories were not recorded at the same times.")
        kept = [*range(count), -1]
        mine, theirs = self.products[kept], other.products[kept]
        sizes = np.linalg.norm(mine, axis=(1, 2))
        errors = np.linalg.norm(theirs - mine, axis=(1, 2)) / sizes
        values = np.abs(other.top()[kept] / self.top()[kept] - 1)
        return {
            "trajectory_error": float(f"{errors.max():.4g}"),
            "final_error": float(f"{errors[-1]:.4g}"),
            "singular_value_error": float(f"{values.max():.4g}"),
        }


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(f"{np.linalg.norm(a - b) / np.linalg.norm(b):.4g}")


def _seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Processor and wall seconds of a call."""
    busy, began = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - busy, time.perf_counter() - began


if __name__ == "__main__":
    chosen = tyro.cli(Options, prog="python -m benchmarks.flow")
    sys.exit(main(chosen, Console(width=None if sys.stdout.isatty() else 110)))
