"""A batch of descents side by side against the same batched matrix products, on any device.

Run as `python -m benchmarks.batch --device gpu`; on a CPU, where runs of a device go one after the
other, it shows the same ratio for the machine at hand (take a small --runs).
"""

import json as json_format
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from benchmarks import measure
from gradflow._util.device import set_up


@dataclass(frozen=True)
class Options:
    """Compare a batch of descents with its bare matrix products."""

    device: Literal["cpu", "gpu", "tpu"] = "gpu"
    """Where."""
    runs: int = 1024
    """Descents in the batch."""
    size: int = 100
    """d, of d x d matrices."""
    depth: int = 3
    """Number of factors."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision."""
    steps: int = 2000
    """Iterations in one repetition."""
    repetitions: int = 5
    """How often each is timed, in turn."""
    json: Path | None = None
    """Also write the numbers to this file."""


def main(options: Options) -> int:
    """Measure and print; returns the exit status."""
    console = Console()
    try:
        set_up(options.device)
    except RuntimeError as error:
        console.print(str(error), style="red")
        return 2
    import jax
    import jax.numpy as jnp
    import optax

    import gradflow as gf
    from benchmarks import contenders

    objective, start, rate = contenders.case(options.size, options.depth, options.dtype)
    scales = [1 + k / options.runs for k in range(options.runs)]
    starts = [tuple(jnp.asarray(s, f.dtype) * f for f in start) for s in scales]

    def descents(steps: int) -> Any:
        runs = gf.run_descents(
            objective, starts, optax.sgd, learning_rate=rate, max_steps=steps, record=[0],
            stop_loss=contenders.NEVER, observe=("loss",),
        )  # fmt: skip
        if any(run.stats["steps"] != steps for run in runs):
            raise RuntimeError("A run to be timed ended early.")
        return float(runs[0].stats["seconds"])

    count = 3 * (options.depth - 1)

    @partial(jax.jit, static_argnames="steps")
    def loop(x: Any, q: Any, steps: int) -> Any:
        def step(_: Any, x: Any) -> Any:
            for _ in range(count):
                x = x @ q  # each needs the one before
            return x

        return jax.lax.fori_loop(0, steps, step, x)

    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (options.size, options.size)))[0]
    many = jnp.broadcast_to(q.astype(options.dtype), (options.runs, *q.shape))

    def products(steps: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(loop(many, many, steps))
        return time.perf_counter() - began

    descents(options.steps), products(options.steps)
    times: dict[str, list[float]] = {"descents": [], "products": []}
    for _ in range(options.repetitions):
        times["descents"].append(descents(options.steps))
        times["products"].append(products(options.steps))
    flops = 2 * options.size**3 * count * options.runs * options.steps
    medians = {name: statistics.median(values) for name, values in times.items()}
    share = medians["products"] / medians["descents"]
    device = jax.devices()[0]
    console.print(
        f"{options.runs} runs of depth {options.depth} at {options.size} x {options.size}, "
        f"{options.dtype}, {len(jax.devices())} x {device.device_kind}: "
        f"{1e6 * medians['descents'] / options.steps:.1f} us a step of the batch; products alone "
        f"{1e6 * medians['products'] / options.steps:.1f} us "
        f"({flops / medians['products'] / 1e12:.2f} Tflop/s). The descents reach {share:.0%} of "
        "the products' rate."
    )
    if options.json is not None:
        content = {
            "benchmark": "batch",
            **measure.setting(["jax", "jaxlib", "optax", "numpy"], None),
            "device": f"{device.platform}: {device.device_kind}",
            "runs": options.runs,
            "size": options.size,
            "depth": options.depth,
            "dtype": options.dtype,
            "steps": options.steps,
            "seconds": times,
            "share_of_products": share,
        }
        options.json.write_text(json_format.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
