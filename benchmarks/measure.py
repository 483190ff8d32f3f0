"""Timing in turn, and what it was measured on."""

import datetime
import functools
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

ONE_CORE = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
}


class Refused(Exception):
    """Why a benchmark cannot begin; it is told in a line."""


def told(main: Callable[[Any, "Console"], int]) -> Callable[[Any, "Console"], int]:
    """A benchmark's main function that tells of a refusal and returns 2."""

    @functools.wraps(main)
    def run(options: Any, console: "Console") -> int:
        try:
            return main(options, console)
        except Refused as refusal:
            console.print(str(refusal), style="red")
            return 2

    return run


def begin(
    packages: Iterable[str],
    cpu: int | None,
    *,
    right: Mapping[str, bool],
    files: Iterable[Path | None] = (),
    torch: bool = False,
) -> dict[str, Any]:
    """See that a benchmark can be run, and take one core; before JAX is imported.

    Args:
      packages: whose versions count, beside jax, jaxlib, optax and numpy.
      cpu: the core; the last one allowed if None.
      right: what has to be so, in words -> whether it is.
      files: that are to be written.
      torch: whether PyTorch is to be compared with.

    Returns:
      The setting.

    Raises:
      Refused: if something is in the way.
    """
    if torch and importlib.util.find_spec("torch") is None:
        raise Refused(
            "PyTorch is not installed in this environment. Run `make bench`, which makes one with "
            "it, or leave the comparison out with --no-torch."
        )
    see(right, files)
    try:
        taken = take_one_core(cpu)
    except ValueError as error:
        raise Refused(str(error)) from error
    also = ["torch"] if torch else []
    return setting(["jax", "jaxlib", "optax", "numpy", *packages, *also], taken)


def see(right: Mapping[str, bool], files: Iterable[Path | None] = ()) -> None:
    """See that a benchmark can be run.

    Args:
      right: what has to be so, in words -> whether it is.
      files: that are to be written.

    Raises:
      Refused: if something is in the way.
    """
    for path in files:
        if path is not None and not path.parent.is_dir():
            raise Refused(f"The folder {path.parent} does not exist; create it.")
    for words, holds in right.items():
        if not holds:
            raise Refused(words)


def two_ways(
    ways: Mapping[str, Callable[[int], Any]], steps: int, units: int, repetitions: int,
    progress: Progress, told: str, dtype: str,
) -> dict[str, Any]:  # fmt: skip
    """Two ways to the same end in turn, after a comparison of where they lead.

    Args:
      ways: called with `units`; arrays in the end, alike to a rounding a step.
      steps: that a run does.
      units: what the time is divided by: steps of all runs.
      repetitions: how often each is timed.
      progress: see `in_turn`.
      told: what is measured, beside the bar.
      dtype: of the arrays.
    """
    import numpy as np

    (a, first), (b, second) = ways.items()
    close = steps * float(np.finfo(dtype).eps)
    for one, other in zip(first(units), second(units), strict=True):
        np.testing.assert_allclose(one, other, rtol=close, atol=close)
    found, _ = in_turn(
        {name: (way, units) for name, way in ways.items()}, repetitions, progress, told
    )
    return {
        "steps": steps,
        "microseconds_per_step": {name: summary(all_) for name, all_ in found.items()},
        f"{a}_over_{b}": ratio(found[a], found[b]),
    }


def store(path: Path | None, benchmark: str, **content: Any) -> None:
    """Write a benchmark's name and numbers to a file, if one was asked for."""
    if path is not None:
        path.write_text(json.dumps({"benchmark": benchmark, **content}, indent=1) + "\n")


def take_one_core(cpu: int | None) -> int:
    """Pin this process and limit its threads; before JAX is imported.

    Args:
      cpu: the core; the last one allowed if None.

    Returns:
      The core.

    Raises:
      ValueError: if there is no such core.
      RuntimeError: if JAX was imported before.
    """
    if "jax" in sys.modules:
        raise RuntimeError("JAX was imported before its threads were limited.")
    taken = pin(cpu)
    os.environ.update(ONE_CORE)
    return taken


def in_turn(
    contenders: Mapping[str, tuple[Callable[[int], Any], int]],
    repetitions: int,
    progress: Progress,
    title: str,
) -> tuple[dict[str, list[float]], float]:
    """Time contenders in turn (A B C, A B C, ...), after one untimed call of each that compiles.

    What counts is processor time: on one core it is wall time less what other programs took.

    Args:
      contenders: name -> (function of a number of steps, returning when they are done; the number).
      repetitions: how often each is timed.
      progress: where to show how far it is.
      title: what the progress line says.

    Returns:
      Microseconds a step, name -> one for each repetition; and processor time over wall time:
      1 if the core was ours alone.
    """
    task = progress.add_task(title, total=len(contenders) * (repetitions + 1))
    for run, steps in contenders.values():
        run(steps)
        progress.advance(task)
    found: dict[str, list[float]] = {name: [] for name in contenders}
    wall = processor = 0.0
    for _ in range(repetitions):
        for name, (run, steps) in contenders.items():
            busy, began = time.process_time(), time.perf_counter()
            run(steps)
            busy = time.process_time() - busy
            wall += time.perf_counter() - began
            processor += busy
            found[name].append(busy / steps * 1e6)
            progress.advance(task)
    progress.remove_task(task)
    return found, processor / wall


def summary(values: list[float]) -> dict[str, Any]:
    """Median, smallest, largest and all values, to four digits."""
    return {
        "median": _round(statistics.median(values)),
        "min": _round(min(values)),
        "max": _round(max(values)),
        "all": [_round(v) for v in values],
    }


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """The ratio of the medians; and the smallest and largest ratio within one turn."""
    turns = [a / b for a, b in zip(above, below, strict=True)]
    return {
        "of_medians": _round(statistics.median(above) / statistics.median(below)),
        "min": _round(min(turns)),
        "max": _round(max(turns)),
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def setting(packages: list[str], cpu: int | None) -> dict[str, Any]:
    """Date, processor and versions; no names of hosts, users or folders."""
    from gradflow._util.processes import processor_name  # imports JAX

    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "pinned_to_one_core": cpu is not None,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


def pin(cpu: int | None) -> int | None:
    """Keep this process on one core: the given one, or the last one allowed.

    Returns:
      The core's number, or None where the system cannot pin.

    Raises:
      ValueError: if this process may not use that core.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if cpu is None:
        cpu = allowed[-1]
    if cpu not in allowed:
        raise ValueError(f"cpu must be one of {allowed}, but it is {cpu}.")
    os.sched_setaffinity(0, {cpu})
    return cpu
