"""What is measured on an accelerator, each as rows of numbers; see benchmarks/accelerator.py.

Run one as `python -m benchmarks.accelerator_pieces batch --device gpu --json batch.json`.
"""

import json as json_format
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from benchmarks import measure
from gradflow._util.device import set_up

Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """Measure one thing on an accelerator."""

    name: Annotated[str, tyro.conf.Positional]
    """What."""
    device: Literal["gpu", "tpu", "cpu"] = "gpu"
    """Where."""
    scale: Literal["whole", "small"] = "whole"
    """Or in miniature."""
    json: Path | None = None
    """Also write the rows to this file."""


def main(options: Options) -> int:
    """Measure, print, store; returns the exit status."""
    pieces: dict[str, Callable[[bool], Rows]] = {
        "device": device, "precision": precision, "recovery": recovery, "batch": batch,
        "tiny": tiny, "spectra": spectra, "tables": tables, "flows": flows,
        "flow-batches": flow_batches,
    }  # fmt: skip
    if options.name not in pieces:
        print(f"There is no piece {options.name!r}; there are {', '.join(pieces)}.")
        return 2
    try:
        set_up(options.device)
    except RuntimeError as error:
        print(error)
        return 2
    rows: list[dict[str, Any]] = []
    for row in pieces[options.name](options.scale == "small"):
        rows.append(row)
        print(row, flush=True)
        if options.json is not None:  # with each row, since a piece may be stopped
            options.json.write_text(json_format.dumps(rows))
    return 0


def seconds(calls: dict[str, Callable[[], Any]], repetitions: int = 5) -> dict[str, float]:
    """Median seconds of calls in turn, after one of each that compiles; calls wait for results."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in found.items()}


def device(small: bool) -> Rows:
    """What it is."""
    import jax

    del small
    first = jax.devices()[0]
    about = measure.setting(["jax", "jaxlib", "diffrax", "optax", "numpy"], None)
    memory = (first.memory_stats() or {}).get("bytes_limit")
    yield {"kind": first.device_kind, "devices": len(jax.devices()), "memory": memory, **about}


def precision(small: bool) -> Rows:
    """Errors of a float32 product and of polar factors, as gradflow has them and in TF32."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from gradflow.linalg import polar_by_iteration

    size, random = 20 if small else 100, np.random.default_rng(0)
    a, b = random.normal(size=(2, size, size))
    left, right = (np.linalg.qr(x)[0] for x in (a, b))
    for asked in ("highest", "tensorfloat32"):
        with jax.default_matmul_precision(asked):
            found = np.asarray(jnp.float32(a) @ jnp.float32(b))
            exact = np.float32(a).astype(float) @ np.float32(b).astype(float)
            error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
            yield {"what": "product", "precision": asked, "error": float(error)}
            for condition in (1e2, 1e4, 1e6):
                w = left @ np.diag(np.geomspace(1, 1 / condition, size)) @ right
                for rational in (0, 2):
                    polar = np.asarray(polar_by_iteration(jnp.float32(w), rational=rational))
                    error = np.linalg.norm(polar - left @ right, 2)
                    what = f"polar, {rational} rational"
                    yield {"what": what, "precision": asked, "condition": condition,
                           "error": float(error)}  # fmt: skip


def recovery(small: bool) -> Rows:
    """Adam with the ratio at depth 1, the first cell of zhao2022's Table 1: recovered or not."""
    from benchmarks import penalised_contenders as contenders

    size, steps = (12, 400) if small else (100, 20_000)
    for form in ("auto", "polynomial", "svd"):
        run = contenders.gradflow_run(size, form)
        run(10)
        ended = run(steps)
        count = int(ended.stats["steps"])
        yield {"form": form, "steps": count, "error": float(ended["test_error"][-1]),
               "effective rank": float(ended["effective_rank"][-1]),
               "us a step": 1e6 * float(ended.stats["seconds"]) / count}  # fmt: skip


def batch(small: bool) -> Rows:
    """Descents side by side against the same forward and backward products, and the host's part."""
    cases = [(1024, 3, "float32"), (1, 3, "float32"), (16, 3, "float32"), (128, 3, "float32"),
             (1024, 2, "float32"), (1024, 4, "float32"), (1024, 3, "float64"),
             (4096, 3, "float32")]  # fmt: skip
    if small:
        yield _batch(3, 6, 2, "float32", 40)
        return
    for runs, depth, dtype in cases:
        yield _batch(runs, 100, depth, dtype, 2000)


def _batch(runs: int, size: int, depth: int, dtype: str, steps: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import gradflow as gf
    from benchmarks import contenders

    objective, start, rate = contenders.case(size, depth, dtype)
    model = objective.factorization
    starts = [tuple((1 + k / runs) * np.asarray(f) for f in start) for k in range(runs)]
    told: list[float] = []

    def descents() -> None:
        found = gf.run_descents(
            objective, starts, optax.sgd, learning_rate=rate, max_steps=steps, record=[0],
            stop_loss=contenders.NEVER, observe=("loss",),
        )  # fmt: skip
        told.append(float(found[0].stats["seconds"]))

    @jax.jit
    def products(factors: Any) -> Any:
        """Orthogonal factors go through a step's products, and come out orthogonal."""

        def step(_: Any, factors: Any) -> Any:
            return model.pullback(factors, *reversed(model.forward(factors)))

        return jax.lax.fori_loop(0, steps, lambda k, f: jax.vmap(lambda x: step(k, x))(f), factors)

    q = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0].astype(dtype)
    many = tuple(jnp.broadcast_to(q, (runs, size, size)) for _ in range(depth))
    found = seconds(
        {"descents": descents, "products": lambda: jax.block_until_ready(products(many))}, 3
    )
    inner = statistics.median(told[1:])
    return {"runs": runs, "size": size, "depth": depth, "dtype": dtype,
            "us a step": 1e6 * inner / steps, "products, us": 1e6 * found["products"] / steps,
            "share of products": found["products"] / inner,
            "wall over device": found["descents"] / inner}  # fmt: skip


def tiny(small: bool) -> Rows:
    """100,000 descents at 2 x 2 and depth 3: the device's time a step and the host's in all."""
    import numpy as np
    import optax

    import gradflow as gf
    from benchmarks import contenders

    count, steps = (50, 40) if small else (100_000, 2000)
    for dtype in ("float32", "float64"):
        objective, start, rate = contenders.case(2, 3, dtype)
        starts = [tuple((1 + k / count) * np.asarray(f) for f in start) for k in range(count)]
        for _ in range(2):
            began = time.perf_counter()
            found = gf.run_descents(
                objective, starts, optax.sgd, learning_rate=rate, max_steps=steps, record=[0],
                observe=("loss",),
            )  # fmt: skip
            wall = time.perf_counter() - began
        inner = float(found[0].stats["seconds"])
        yield {"runs": count, "dtype": dtype, "us a step": 1e6 * inner / steps,
               "host, seconds": wall - inner}  # fmt: skip


def spectra(small: bool) -> Rows:
    """Singular values and vectors of a batch by SVDs, one after the other, and as gradflow does."""
    import jax
    import jax.numpy as jnp

    from gradflow.linalg.thin_svd import thin_svd, values

    size, counts = (6, (2,)) if small else (100, (1, 20, 33, 128))
    ways = {
        "SVD, values": lambda w: jnp.linalg.svd(w, compute_uv=False),
        "values": values,
        "SVD": lambda w: jnp.linalg.svd(w, full_matrices=False),
        "values and vectors": thin_svd,
    }
    for dtype in ("float32", "float64"):
        for count in counts:
            w = jax.random.normal(jax.random.key(0), (count, size, size), dtype)
            calls = {name: jax.jit(jax.vmap(way)) for name, way in ways.items()}
            waited = {k: lambda f=f, w=w: jax.block_until_ready(f(w)) for k, f in calls.items()}
            for name, value in seconds(waited).items():
                yield {"dtype": dtype, "matrices": count, "by": name, "ms": 1e3 * value}


def tables(small: bool) -> Rows:
    """Batches of zhao2022's tables: a step of all their runs, and what 500,000 steps would take."""
    from collections import defaultdict

    import gradflow as gf
    from gradflow.sweeps.experiment import items_of
    from gradflow.sweeps.registry import find

    steps = 20 if small else 1000
    for name in ("zhao2022.table4",) if small else [f"zhao2022.table{k}" for k in (1, 3, 4)]:
        experiment = find(name)
        grid = experiment.grid("quick" if small else "paper", "paper")
        groups: dict[Any, list[Any]] = defaultdict(list)
        for item in items_of(experiment, grid, "float32"):
            groups[experiment.batch_of(item)].append(item)
        for items in groups.values():
            jobs: list[Any] = [experiment.job(item.cell, "float32") for item in items]
            told = []
            for _ in range(2):
                runs = gf.run_descents(
                    [job.objective for job in jobs], [job.start for job in jobs],
                    [job.optimizer for job in jobs], learning_rate=[job.rate for job in jobs],
                    max_steps=steps, record=[0], observe=("loss",),
                )  # fmt: skip
                told.append(float(runs[0].stats["seconds"]))
            cell = items[0].cell
            each = told[1] / steps
            yield {"table": name, "depth": cell.depth, "first penalty": cell.penalty,
                   "runs": len(jobs), "first call, s": told[0], "us a step": 1e6 * each,
                   "hours": 500_000 * each / 3600}  # fmt: skip


def flows(small: bool) -> Rows:
    """One exact flow in float64: first call and a warm one."""
    import gradflow as gf
    from benchmarks import contenders

    for size in (6,) if small else (100, 500, 1000):
        objective, start, _ = contenders.case(size, 3, "float64")
        steps = 60 if size == 1000 else 100_000
        row: dict[str, Any] = {"size": size, "depth": 3}
        for call in ("first call, s", "warm, s"):
            began = time.perf_counter()
            flow = gf.solve_flow(
                objective, start, stop_loss=1e-6, max_steps=steps, observe=("loss",)
            )
            row[call] = time.perf_counter() - began
        yield row | {"steps": flow.stats["steps"], "outcome": flow.outcome.name}


def flow_batches(small: bool) -> Rows:
    """Flows side by side: 1,024 at 30 x 30, then 100,000 at 2 x 2 (a tenth of it first)."""
    import numpy as np

    import gradflow as gf
    from benchmarks import contenders

    cases = [(3, 4), (5, 2)] if small else [(1024, 30), (10_000, 2), (100_000, 2)]
    for count, size in cases:
        objective, start, _ = contenders.case(size, 3, "float64")
        starts = [tuple((1 + k / count) * np.asarray(f) for f in start) for k in range(count)]
        row: dict[str, Any] = {"flows": count, "size": size}
        for call in ("first call, s", "warm, s"):
            began = time.perf_counter()
            gf.solve_flows(objective, starts, stop_loss=1e-2, observe=("loss",))
            row[call] = time.perf_counter() - began
        yield row


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
