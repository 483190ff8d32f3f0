"""What a device holds of a descent that is spread over a grid of devices: read off the programs.

Run as `python -m benchmarks.spreading`; it compiles for devices that a CPU pretends to have, and
computes nothing, so that sizes may be any.
"""

import math
import os
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

GRIDS = ((1, 1), (1, 2), (2, 2), (2, 4))


@dataclass(frozen=True)
class Options:
    """Compile a descent of a square matrix for grids of devices."""

    size: int = 8000
    """Rows and columns of every factor; a multiple of 4."""
    depth: int = 3
    """The number of factors."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision."""


def main(options: Options, console: Console) -> int:
    """Compile, print; returns the exit status."""
    if options.size < 4 or options.size % 4 or options.depth < 1:
        console.print("size must be a multiple of 4, and depth at least 1.", style="red")
        return 2
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    os.environ.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")
    title = f"{options.size} x {options.size}, depth {options.depth}, {options.dtype}: MB a device"
    shown = Table(title=title, box=box.SIMPLE_HEAD)
    for name in ("grid", "arguments", "temporary", "largest gathered"):
        shown.add_column(name, justify="right")
    for grid in GRIDS:
        found = program(options.size, options.depth, options.dtype, grid)
        sizes = (found["arguments"], found["temporary"], found["gathered"])
        shown.add_row(f"{grid[0]} x {grid[1]}", *(f"{size / 1e6:,.3g}" for size in sizes))
    console.print(shown)
    return 0


def program(size: int, depth: int, dtype: str, grid: tuple[int, int]) -> dict[str, int]:
    """Bytes a device, of a chunk of iterations: what it is given, needs besides, and gathers.

    Args:
      size: rows and columns of every factor.
      depth: the number of factors.
      dtype: the precision.
      grid: rows and columns of devices.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from gradflow.descent import loop

    mesh = jax.make_mesh(grid, ("rows", "columns"), devices=jax.devices()[: grid[0] * grid[1]])
    step = _step(size, depth, dtype, mesh)
    factor = jax.ShapeDtypeStruct((1, size, size), dtype)

    def placed(leaf: Any) -> Any:
        blocks = leaf.ndim >= 2 and leaf.shape[-2:] == (size, size)
        spec = [None] * (leaf.ndim - 2) + ["rows", "columns"] if blocks else []
        where = NamedSharding(step.objective.factorization.mesh, PartitionSpec(*spec))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    def is_array(leaf: Any) -> bool:
        return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)

    arrays, rest = eqx.partition(step, is_array)

    def begin(arrays: Any, parameters: Any) -> Any:
        return eqx.combine(arrays, rest).initialise(parameters)

    def through(arrays: Any, runs: Any, chunk: Any) -> Any:
        return loop._through(eqx.combine(arrays, rest), runs, chunk)

    runs = jax.eval_shape(begin, arrays, (factor,) * depth)
    given = jax.tree.map(placed, (arrays, runs, jnp.zeros((2, loop.STOPS), int)))
    compiled = jax.jit(through).lower(*given).compile()
    held: Any = compiled.memory_analysis()
    text = compiled.as_text() or ""
    found = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather(?:-start)?\(", text)
    width = jnp.dtype(dtype).itemsize
    sizes = [width * math.prod(map(int, dims.split(","))) for dims in found]
    return {
        "arguments": held.argument_size_in_bytes,
        "temporary": held.temp_size_in_bytes,
        "gathered": max(sizes, default=0),
    }


def _step(size: int, depth: int, dtype: str, mesh: Any) -> Any:
    """A step of gradient descent whose large arrays are shapes alone."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    import gradflow as gf
    from gradflow._util.spread import blocks_on
    from gradflow.descent.loop import BatchStep
    from gradflow.descent.rates import Rates
    from gradflow.descent.stopping import StopRule
    from gradflow.factorizations.spread_product import over

    problem = gf.MatrixCompletion((1, 1), [[0, 0]], [1.0])
    large = jax.ShapeDtypeStruct((size, size), dtype)
    problem = eqx.tree_at(lambda p: (p.mask, p.target), problem, (large, large))
    model = over(blocks_on(mesh), gf.MatrixProduct((size,) * (depth + 1)))
    objective = gf.Objective(problem, model)
    stop = StopRule(jnp.asarray(-jnp.inf, dtype), None, None)
    rates = Rates(jnp.asarray([0.01], dtype))
    return BatchStep(objective, False, optax.sgd, rates, (), stop, "map")


if __name__ == "__main__":
    chosen = tyro.cli(Options, prog="python -m benchmarks.spreading")
    sys.exit(main(chosen, Console(width=None if sys.stdout.isatty() else 100)))
