"""Runs over several devices and processes, to be done by other processes than the session's."""

import sys

import jax
import numpy as np
import optax

import gradflow as gf
from benchmarks import spreading
from gradflow._util.spread import spread
from gradflow.descent import batch

SIZE = 16
RECORD = {"record": [7, 130], "observe": ["loss", "gradient_norm"]}


def task():
    """An objective of depth 3, and a start."""
    problem = gf.synthetic.matrix_completion(jax.random.key(0), (SIZE, SIZE), 2, 100, norm=4.0)
    objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, 3))
    return objective, objective.factorization.gaussian(jax.random.key(1), std=0.1)


def arrays_of(run):
    return {"times": run.times, **run.observables, **run.final}


def descend(mesh=None, **asked):
    objective, start = task()
    asked = {"learning_rate": 0.05, "max_steps": 300} | RECORD | asked
    return arrays_of(gf.run_descent(objective, start, optax.sgd, mesh=mesh, **asked))


def flow(mesh=None):
    objective, start = task()
    return arrays_of(
        gf.solve_flow(objective, start, record=[0.1, 1.0], rtol=1e-6, mesh=mesh,
                      coordinates="factors", observe=RECORD["observe"])
    )  # fmt: skip


def blocks(grid):
    """Of a start that is spread: the largest of its blocks, in bytes."""
    mesh = jax.make_mesh(grid, ("rows", "columns"), devices=jax.devices()[: grid[0] * grid[1]])
    start = spread(task()[1], mesh, ((SIZE, SIZE),))
    return max(shard.data.nbytes for factor in start for shard in factor.addressable_shards)


def program(grid):
    """Of a chunk of iterations: bytes a device holds and needs, and what it gathers of others."""
    return {"shard": blocks(grid), **spreading.program(SIZE, 3, "float64", grid)}


def store_all(path):
    """On eight devices: runs spread over a grid and not, and what the programs hold."""
    mesh = jax.make_mesh((2, 4), ("rows", "columns"))
    found = {"devices": {"count": jax.device_count()}}
    found |= {"descent": descend(mesh), "one descent": descend()}
    found |= {"flow": flow(mesh), "one flow": flow()}
    found |= {f"program {a}x{b}": program((a, b)) for a, b in [(1, 1), (1, 2), (2, 2), (2, 4)]}
    np.savez(
        path, **{f"{kind}/{k}": v for kind, arrays in found.items() for k, v in arrays.items()}
    )


def store_descent(path, address, process):
    """One of two processes, each of two devices, that do one descent together, and one alone."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, num_processes=2, process_id=process)
    assert (jax.device_count(), jax.local_device_count()) == (4, 2)
    mesh = jax.make_mesh((2, 2), ("rows", "columns"))
    batch._FIRST_BUDGET = 20  # several chunks, of lengths that each process would choose by itself
    together, alone = descend(mesh), descend()
    try:
        descend(mesh, learning_rate=0.05 * (1 + process))
    except ValueError as error:
        assert "Process 1 was given other data" in str(error)
    else:
        raise AssertionError("another rate in another process was not seen")
    np.savez(path, **{f"together/{k}": v for k, v in together.items()},
             **{f"alone/{k}": v for k, v in alone.items()})  # fmt: skip


if __name__ == "__main__":
    store_descent(sys.argv[1], sys.argv[2], int(sys.argv[3]))
