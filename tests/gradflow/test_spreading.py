"""Runs spread over devices and processes: results of one, memory by blocks, no factor whole."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow._util.spread import see_grid
from tests.gradflow import spread_runs
from tests.helpers import refuses

ROOT = Path(__file__).resolve().parents[2]


def environment(devices):
    kept = [f for f in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in f]
    flags = " ".join([*kept, f"--xla_force_host_platform_device_count={devices}"])
    return {**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"}


@pytest.fixture(scope="module", name="stored")
def _stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("spread") / "all.npz"
    code = f"from tests.gradflow.spread_runs import store_all; store_all({str(path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(8), check=True)
    with np.load(path) as file:
        assert file["devices/count"] == 8
        return dict(file)


def kind_of(stored, kind):
    return {k.partition("/")[2]: v for k, v in stored.items() if k.partition("/")[0] == kind}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["descent", "flow"])
def test_a_run_over_eight_devices_is_that_of_one(stored, kind):
    found, wanted = kind_of(stored, kind), kind_of(stored, f"one {kind}")
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.slow
def test_memory_a_device_falls_with_their_number_and_no_factor_is_whole(stored):
    names = [f"program {grid}" for grid in ("1x1", "1x2", "2x2", "2x4")]
    found = {key: np.array([stored[f"{name}/{key}"] for name in names])
             for key in ("arguments", "temporary", "shard")}  # fmt: skip
    whole, blocks = 8 * spread_runs.SIZE**2, np.array([1, 2, 4, 8])
    np.testing.assert_array_equal(found["shard"], whole // blocks)
    # Mask and target, three factors and their gradients; the rest are a few numbers.
    rest = found["arguments"] - 8 * whole // blocks
    assert len(set(rest)) == 1 and 0 < rest[0] < 600
    assert np.all(np.diff(found["temporary"][1:]) < 0)
    assert found["temporary"][-1] < found["temporary"][0]
    # A row or a column of blocks at a time: half of a matrix, and all of one on a single device.
    assert stored["program 2x4/gathered"] == whole // 2
    assert stored["program 1x1/gathered"] == whole


@pytest.mark.slow
def test_two_processes_do_one_descent(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = [tmp_path / f"{k}.npz" for k in range(2)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.gradflow.spread_runs", path, address, str(k)],
            cwd=ROOT, env=environment(2),
        )
        for k, path in enumerate(paths)
    ]  # fmt: skip
    try:
        assert [one.wait(300) for one in started] == [0, 0]
    finally:
        for one in started:
            one.kill()
    files = [dict(np.load(path)) for path in paths]
    for file in files:
        for name, wanted in kind_of(files[0], "alone").items():
            np.testing.assert_allclose(
                file[f"together/{name}"], wanted, rtol=1e-10, atol=1e-13, err_msg=name
            )


GRID = jax.make_mesh((1, 1), ("rows", "columns"))
OBJECTIVE, START = spread_runs.task()
RUN = {"learning_rate": 0.1, "max_steps": 1}


def descend(objective=OBJECTIVE, mesh=GRID, start=START):
    return gf.run_descent(objective, start, optax.sgd, mesh=mesh, **RUN)


def penalised():
    return gf.Objective(OBJECTIVE.problem, OBJECTIVE.factorization, gf.NuclearNorm(0.1))


def symmetric():
    return gf.Objective(OBJECTIVE.problem, gf.SymmetricProduct(16, 16))


REFUSED = {
    "no mesh": (lambda: descend(mesh=8), "8", "jax.make_mesh"),
    "axes": (lambda: descend(mesh=jax.make_mesh((1,), ("runs",))), "runs", "rows"),
    "penalty": (lambda: descend(penalised()), "NuclearNorm", "WeightDecay"),
    "model": (
        lambda: descend(symmetric(), GRID, START[:1]),
        "SymmetricProduct", "leave mesh away"),
    "observations": (
        lambda: descend(gf.Objective(OBJECTIVE.problem, OBJECTIVE.factorization,
                                     path="observations")),
        "thin factors", "path='dense'"),
    "batch": (
        lambda: gf.run_descents(OBJECTIVE, [START] * 2, optax.sgd, mesh=GRID, **RUN),
        "2", "leave mesh away"),
    "flows": (
        lambda: gf.solve_flows(OBJECTIVE, [START] * 2, horizon=1.0, mesh=GRID),
        "2", "gradflow.solve_flow"),
    "coordinates": (
        lambda: gf.solve_flow(OBJECTIVE, START, horizon=1.0, mesh=GRID, coordinates="product"),
        "'product'", "'factors'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused(case):
    refuses(*REFUSED[case])


def test_sizes_that_cannot_be_cut_are_refused():
    one = jax.devices()[0]
    grid = jax.sharding.Mesh(np.array([[one], [one]]), ("rows", "columns"))
    refuses(lambda: see_grid(grid, ((16, 16), (15, 16))), "(15, 16)", "multiples")


@pytest.mark.parametrize("depth", [1, 3])
def test_a_grid_of_one_device_gives_the_same(depth):
    model = gf.MatrixProduct.of(OBJECTIVE.problem.shape, depth)
    objective = gf.Objective(OBJECTIVE.problem, model, gf.WeightDecay(0.01))
    start = model.gaussian(jax.random.key(1), std=0.3)
    asked = {"observe": ["loss", "gradient_norm"], "learning_rate": 0.1, "max_steps": 5}
    found, wanted = (
        gf.run_descent(objective, start, optax.sgd, mesh=mesh, **asked) for mesh in (GRID, None)
    )
    assert found.config["mesh"] == {"rows": 1, "columns": 1} and "mesh" not in wanted.config
    for name in wanted.final:
        np.testing.assert_allclose(found.final[name], wanted.final[name], rtol=1e-13, atol=1e-15)
