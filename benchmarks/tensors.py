"""Speed of a step on a CP tensor on one core: gradflow, PyTorch, bare matrix products; of a batch.

Run as `python -m benchmarks.tensors`, or `make bench`, which brings PyTorch in its own environment.
The case is that of razin2020's Figures 2 and 6 at order 4: 8 x 8 x 8 x 8, 512 components, 2,000
entries, and its rule for the rate.
"""

import json as json_format
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

SIZE, ORDER, COMPONENTS, OBSERVED = 8, 4, 512, 2000
RATE, DECAY, EPS = 1e-2, 0.99, 1e-6
BATCH = 8
"""Descents in a batch; a step of it is one of each."""
STEPS = {"gradflow": 5_000, "batch": 500, "torch": 300, "products": 5_000}
CHECKED_STEPS = 50


@dataclass(frozen=True)
class Options:
    """Compare a step on a CP tensor with PyTorch and with its matrix products alone."""

    json: Path | None = None
    """Also write the numbers to this file."""
    torch: bool = True
    """Compare with PyTorch."""
    repetitions: int = 5
    """How often each contender is timed."""
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
        right={"repetitions must be at least 1.": options.repetitions >= 1},
    )
    with Progress(console=console, transient=True) as progress:
        results = [_measured(dtype, options, progress) for dtype in options.dtypes]
    console.print(f"{about['processor']}, one core, {about['date']}")
    console.print(table(results))
    if options.json is not None:
        content = {"benchmark": "tensors", **about, "repetitions": options.repetitions}
        text = json_format.dumps({**content, "results": results}, indent=1)
        options.json.write_text(text + "\n")
    return 0


def _measured(dtype: str, options: Options, progress: Progress) -> dict[str, Any]:
    from benchmarks.contenders import check_agreement  # imports JAX

    objective, start = case(dtype)
    runs = {"gradflow": gradflow_run(objective, start)}
    if options.torch:
        runs["torch"] = torch_run(objective, start)
    difference = check_agreement(runs, start, CHECKED_STEPS) if options.torch else None
    runs |= {"batch": batch_run(objective, start), "products": products_run(dtype)}
    found, share = measure.in_turn(
        {name: (run, STEPS[name]) for name, run in runs.items()},
        options.repetitions,
        progress,
        f"{SIZE}^{ORDER}, R = {COMPONENTS}, {dtype}",
    )
    together = [BATCH * each for each in found["products"]]
    ratios = {
        "gradflow_over_products": measure.ratio(found["gradflow"], found["products"]),
        "batch_over_products": measure.ratio(found["batch"], together),
    }
    if options.torch:
        ratios["torch_over_gradflow"] = measure.ratio(found["torch"], found["gradflow"])
    return {
        "dtype": dtype,
        "microseconds_per_step": {name: measure.summary(all_) for name, all_ in found.items()},
        "ratios": ratios,
        "difference_after_50_steps": None if difference is None else float(f"{difference:.2g}"),
        "core_share": round(share, 3),
    }


def case(dtype: str) -> tuple[Any, tuple[Any, ...]]:
    """Objective and start."""
    import jax

    import gradflow as gf

    shape = (SIZE,) * ORDER
    problem = gf.synthetic.tensor_completion(jax.random.key(0), shape, 1, OBSERVED)
    model = gf.CPTensor(shape, COMPONENTS)
    start = model.gaussian(jax.random.key(1), std=0.1)
    return gf.astype(gf.Objective(problem, model), dtype), gf.astype(start, dtype)


def rule(rate: Any) -> Any:
    """The rate adapts to the gradient's norm."""
    import gradflow as gf

    return gf.optimizers.group_rmsprop(rate, decay=DECAY, eps=EPS)


def gradflow_run(objective: Any, start: tuple[Any, ...]) -> Callable[[int], tuple[Any, ...]]:
    """`run_descent` as the experiments call it, recording the loss alone."""
    import gradflow as gf

    def run(steps: int) -> tuple[Any, ...]:
        trajectory = gf.run_descent(
            objective, start, rule, learning_rate=RATE, max_steps=steps, observe=["loss"],
            stop_loss=1e-30,
        )  # fmt: skip
        if trajectory.stats["steps"] != steps:
            raise RuntimeError(f"The run to be timed ended early: {trajectory!r}")
        return tuple(trajectory.final.values())

    return run


def batch_run(objective: Any, start: tuple[Any, ...]) -> Callable[[int], Any]:
    """`run_descents` on starts of falling scales, as the experiments' batches are."""
    import gradflow as gf

    starts = [tuple(0.97**k * f for f in start) for k in range(BATCH)]

    def run(steps: int) -> Any:
        runs = gf.run_descents(
            objective, starts, rule, learning_rate=[RATE] * BATCH, max_steps=steps,
            observe=["loss"], stop_loss=1e-30,
        )  # fmt: skip
        if any(one.stats["steps"] != steps for one in runs):
            raise RuntimeError(f"A run of the batch to be timed ended early: {runs!r}")
        return runs

    return run


def torch_run(objective: Any, start: tuple[Any, ...]) -> Callable[[int], tuple[Any, ...]]:
    """A minimal PyTorch loop: einsum, autograd, the same rule, no stop test, no records."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    mask = torch.tensor(np.asarray(objective.problem.mask))
    target = torch.tensor(np.asarray(objective.problem.target))

    def run(steps: int) -> tuple[Any, ...]:
        factors = [torch.tensor(np.asarray(f), requires_grad=True) for f in start]
        mean: Any = 0.0
        for k in range(1, steps + 1):
            w = torch.einsum("ar,br,cr,dr->abcd", *factors)
            loss = (mask * (w - target)).square().sum() / OBSERVED
            gradients = torch.autograd.grad(loss, factors)
            with torch.no_grad():
                mean = DECAY * mean + (1 - DECAY) * sum(g.square().sum() for g in gradients)
                step = RATE / ((mean / (1 - DECAY**k)).sqrt() + EPS)
                for factor, gradient in zip(factors, gradients, strict=True):
                    factor -= step * gradient
        return tuple(factor.detach().numpy() for factor in factors)

    return run


def products_run(dtype: str) -> Callable[[int], Any]:
    """A step's three products of Khatri-Rao factors alone, one after the other.

    Raises:
      RuntimeError: if the compiled loop does less arithmetic than that.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    half = SIZE ** (ORDER // 2)
    random = np.random.default_rng(0).standard_normal((half, COMPONENTS)) / np.sqrt(COMPONENTS)
    left, right = jnp.asarray(random, dtype), jnp.asarray(random[::-1].copy(), dtype)

    def step(_: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        w = pair[0] @ pair[1].T
        return w @ pair[1] / half, w.T @ pair[0] / half

    def loop(pair: tuple[Any, Any], steps: Any) -> tuple[Any, Any]:
        return jax.lax.fori_loop(0, steps, step, pair)

    compiled = jax.jit(loop).lower((left, right), 1).compile()
    cost: Any = compiled.cost_analysis()
    flops = cost["flops"]  # of the loop's body, counted once
    if flops < 3 * 2 * half**2 * COMPONENTS * 0.999:
        raise RuntimeError(f"XLA kept {flops} operations of {6 * half**2 * COMPONENTS}.")

    def run(steps: int) -> Any:
        return jax.block_until_ready(compiled((left, right), steps))

    return run


def table(results: list[dict[str, Any]]) -> Table:
    """The results as a table, one row a precision."""
    title = f"A step at {SIZE}^{ORDER}, R = {COMPONENTS}, {OBSERVED} entries: microseconds"
    shown = Table(title=title, box=box.SIMPLE_HEAD)
    for name in ("dtype", "gradflow", f"batch of {BATCH}", "PyTorch", "products",
                 "gradflow /\nproducts", "batch /\nits products",
                 "PyTorch /\ngradflow"):  # fmt: skip
        shown.add_column(name, justify="left" if name == "dtype" else "right")
    for row in results:
        times, ratios = row["microseconds_per_step"], row["ratios"]
        shown.add_row(
            row["dtype"],
            *(f"{times[n]['median']:.0f}" if n in times else "-"
              for n in ("gradflow", "batch", "torch", "products")),
            *(f"{ratios[n]['of_medians']:.2f}" if n in ratios else "-"
              for n in ("gradflow_over_products", "batch_over_products",
                        "torch_over_gradflow")),
        )  # fmt: skip
    return shown


if __name__ == "__main__":
    chosen = tyro.cli(Options, prog="python -m benchmarks.tensors")
    sys.exit(main(chosen, Console(width=None if sys.stdout.isatty() else 100)))
