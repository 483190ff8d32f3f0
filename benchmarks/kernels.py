"""What an NVIDIA GPU would run in an iteration of a batch: compiled for one where there is none.

    make kernels

XLA's compiler for GPUs is a library that needs no GPU (benchmarks/requirements-kernels.txt, put
into a folder of its own, so that JAX does not look for one). Kernels and the bytes that they read
and write are counted in the compiled program of a block of iterations; nothing is run or timed.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import measure

RUNS = 100_000
CASES = (
    (2, 3, "sgd", "float32"), (2, 3, "sgd", "float64"), (2, 3, "adam", "float64"),
    (3, 3, "sgd", "float64"), (3, 3, "adam", "float64"), (2, 8, "sgd", "float64"),
)  # fmt: skip
"""Size d, depth N, optimiser, precision."""
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 150000000000
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H200"
"""
"""What the compiler asks of the device, after its data sheet."""
BYTES = {"f64": 8, "s64": 8, "f32": 4, "s32": 4, "u32": 4, "pred": 1}


@dataclass(frozen=True)
class Options:
    """Count the kernels of an iteration of 100,000 tiny descents, as arrays and as lanes."""

    plugin: Path = Path(".kernels")
    """The folder with the packages of benchmarks/requirements-kernels.txt."""
    json: Path | None = None
    """Also write the numbers to this file."""


@measure.told
def main(options: Options, console: Console) -> int:
    """Compile, count, print, store; returns the exit status."""
    library = options.plugin / "jax_plugins" / "xla_cuda12" / "xla_cuda_plugin.so"
    words = f"There is no {library}; `make kernels` installs and runs it."
    measure.see({words: library.is_file()}, [options.json])
    tools = (options.plugin / "nvidia" / "cuda_nvcc").resolve()
    os.environ.update(
        JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1", XLA_FLAGS=f"--xla_gpu_cuda_data_dir={tools}",
        PATH=f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    device = compile_only_device(library)
    about = measure.setting(["jax", "jaxlib", "optax", "numpy"], None)
    shown = Table(title=f"An iteration of {RUNS:,} descents, for an H200", box=box.SIMPLE_HEAD)
    for name in ("d", "N", "optimiser", "dtype", "kernels", "MB", "as lanes: kernels", "MB"):
        shown.add_column(name, justify="left" if name in ("optimiser", "dtype") else "right")
    results = []
    for case in CASES:
        row = dict(zip(("size", "depth", "optimizer", "dtype"), case, strict=True))
        for way in ("arrays", "lanes"):
            row[way] = counted(*case, way, device)
        told = [
            f"{row[way][what]:.3g}" for way in ("arrays", "lanes") for what in ("kernels", "MB")
        ]
        shown.add_row(*map(str, case), *told)
        results.append(row)
    console.print(shown)
    measure.store(
        options.json, "kernels", **about, runs=RUNS, target="NVIDIA H200", results=results
    )
    return 0


def compile_only_device(library: Path) -> Any:
    """A GPU to compile for, from XLA's plugin; JAX has no public way without one."""
    import jax
    from jax._src import xla_bridge
    from jax._src.lib import xla_client
    from jax.experimental import topologies

    api = xla_client.load_pjrt_plugin_dynamically("cuda", str(library))
    xla_client.initialize_pjrt_plugin("cuda")
    topology = xla_client.make_c_api_device_topology(
        api, "one", topology="1x1x1", target_config=H200
    )
    jax.devices()
    known = xla_bridge.canonicalize_platform

    def canonical(platform: str) -> str:
        return "cuda" if platform == "gpu" else known(platform)

    xla_bridge.canonicalize_platform = canonical
    return topologies.TopologyDescription(topology._make_compile_only_devices()).devices[0]


def counted(size: int, depth: int, optimizer: str, dtype: str, way: str, device: Any) -> dict:
    """Kernels of an iteration, and MB that they read and write; seconds are not measured."""
    import jax

    from gradflow.descent import side_by_side

    usual, backend = side_by_side.lanes, jax.default_backend
    unroll = side_by_side.UNROLL
    if way == "arrays":
        side_by_side.lanes = lambda *_: None
    jax.default_backend = lambda: "gpu"  # products and blocks are chosen by it
    try:
        step, runs, chunk = batch(size, depth, optimizer, dtype)
        if way == "lanes":
            found = usual(side_by_side._iteration, step, runs)
            if found is None:
                raise RuntimeError(f"An iteration at {size} x {size} is not written out.")
            unroll = side_by_side.tiny_blocks(found.operations)[1]
        placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=jax.sharding.SingleDeviceSharding(device)
            ),
            (runs, chunk),
        )
        traced = jax.jit(lambda r, c: side_by_side.through(step, r, c)).trace(*placed)
        text = traced.lower(lowering_platforms=("cuda",)).compile().as_text()
    finally:
        side_by_side.lanes, jax.default_backend = usual, backend
    sizes = list(kernels(text, side_by_side.BLOCK // unroll))
    return {
        "iterations written out": unroll,
        "kernels": len(sizes) / unroll,
        "MB": sum(sizes) / unroll / 1e6,
    }


def batch(size: int, depth: int, optimizer: str, dtype: str) -> tuple[Any, Any, Any]:
    """A batch's step, where it begins and a chunk."""
    import jax
    import jax.numpy as jnp
    import optax

    from benchmarks import contenders
    from gradflow.descent.loop import STOPS, BatchStep
    from gradflow.descent.rates import Rates
    from gradflow.descent.stopping import StopRule

    objective, start, rate = contenders.case(size, depth, dtype)
    never = StopRule(jnp.asarray(contenders.NEVER, dtype), None, None)
    rates = Rates(jnp.full(RUNS, rate, dtype))
    step = BatchStep(objective, False, getattr(optax, optimizer), rates, (), never, "vmap")
    starts = tuple(jnp.broadcast_to(f, (RUNS, *f.shape)) for f in start)
    runs = jax.eval_shape(step.initialise, starts)
    return step, runs, jax.ShapeDtypeStruct((2, STOPS), jnp.int64)


def kernels(text: str, trips: int) -> Iterator[int]:
    """Bytes that each kernel in the loop with so many rounds reads and writes.

    Pieces that handle nothing but a counter are left out.
    """
    bodies = re.findall(r'body=(%[\w.-]+).*"known_trip_count":\{"n":"(\d+)"', text)
    names = [name for name, rounds in bodies if int(rounds) == trips]
    if len(names) != 1:
        raise RuntimeError(f"There are {len(names)} loops of {trips} rounds, not one.")
    body = text.split(f"\n{names[0]} (", 1)[1].split("\n}", 1)[0]
    lines = re.findall(r"^\s+(?:ROOT )?(%[\w.-]+) = (.*?) ([\w-]+)\((.*?)\)", body, re.M)
    known = {name: size_of(kind) for name, kind, _, _ in lines}
    for _, kind, operation, given in lines:
        if operation in ("fusion", "copy", "custom-call", "dot", "reduce", "transpose"):
            moved = size_of(kind) + sum(known[name] for name in re.findall(r"%[\w.-]+", given))
            if moved > 64:
                yield moved


def size_of(kind: str) -> int:
    """Bytes of a type as XLA writes it."""
    found = 0
    for name, shape in re.findall(r"(f64|f32|s64|s32|u32|pred)\[([\d,]*)\]", kind):
        count = 1
        for length in filter(None, shape.split(",")):
            count *= int(length)
        found += count * BYTES[name]
    return found


if __name__ == "__main__":
    console = Console()
    sys.exit(main(tyro.cli(Options), console))
