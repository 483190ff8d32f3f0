"""Batches of cells, as on an accelerator."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from gradflow import sweeps
from gradflow.sweeps import worker as workers
from gradflow.sweeps.experiment import items_of
from gradflow.sweeps.heartbeat import in_flight
from gradflow.sweeps.store import Store
from gradflow.sweeps.worker import Task
from tests.gradflow.sweeps.own import OWN, QUICK, RATES, names_of, own_experiment
from tests.gradflow.sweeps.test_store import contents

pytestmark = pytest.mark.usefixtures("keep_environment")


@pytest.fixture
def as_on_an_accelerator(tmp_path, monkeypatch):
    """A function that does cells as a worker with an accelerator would: together."""
    monkeypatch.setattr(workers, "set_up", lambda device: None)

    def do(**changes):
        experiment = own_experiment()
        grid = dataclasses.replace(experiment.grid("quick", "paper"), **changes)
        items = items_of(experiment, grid, "float64")
        names = tuple(experiment.name(item) for item in items)
        labels = tuple(f"seed {item.cell.seed}" for item in items)
        task = Task("own.sweep", str(OWN), pickle.dumps(items), names, labels, str(tmp_path), "gpu")
        return dict(zip(names, items, strict=True)), workers.do(task), Store(tmp_path)

    return do


def batch_size(data):
    return json.loads(data.attrs["provenance"])["batch_size"]


def assert_close(data, other):
    assert data.attrs["item"] == other.attrs["item"]
    assert data["iterations"] == other["iterations"]
    for name in ("loss", "singular_values", "final:W_1", "final:W_2"):
        # Rounding of a batch against one run, over some hundred iterations.
        np.testing.assert_allclose(data[name], other[name], rtol=1e-9, atol=1e-14)


def test_a_batch_gives_what_single_runs_give(as_on_an_accelerator, done):
    items, finished, store = as_on_an_accelerator()
    assert set(finished.failures.values()) == {None}
    single = Store(done[0] / "own.sweep")
    for name in items:
        assert batch_size(store.load(name)) == 4 and batch_size(single.load(name)) == 1
        assert_close(store.load(name), single.load(name))
    assert store.checkpoints() == set() and in_flight(store.folder) == []


def test_a_bad_cell_of_a_batch_costs_no_other(as_on_an_accelerator):
    items, finished, store = as_on_an_accelerator(seeds=(0, 1, 2), failing=(2,), steps=500)
    bad = {name for name, item in items.items() if item.cell.seed == 2}
    assert {name for name, text in finished.failures.items() if text} == bad
    assert all("seed 2 fails" in finished.failures[name] for name in bad)
    assert store.names() == set(items) - bad


def test_a_cell_without_a_start_costs_no_other_of_its_batch(as_on_an_accelerator, monkeypatch):
    kind = type(own_experiment())
    job = kind.job

    def bad(self, cell, precision):
        if cell.seed == 1:
            raise RuntimeError("no start")
        return job(self, cell, precision)

    monkeypatch.setattr(kind, "job", bad)
    _, finished, store = as_on_an_accelerator()
    assert sum(text is None for text in finished.failures.values()) == 2
    assert [batch_size(store.load(name)) for name in store.names()] == [2, 2]


def test_a_flow_beside_what_is_no_descent_is_refused_clearly(tmp_path, monkeypatch):
    monkeypatch.setattr(
        type(own_experiment()),
        "job",
        lambda self, cell, precision: sweeps.Computation(lambda: {"a": cell.rate}),
    )
    report = sweeps.run("own.sweep", out=tmp_path, jobs=1, with_flow=True, **QUICK)
    assert report.done == 4 and len(report.failures) == 4
    assert all("leave --with-flow away" in text for text in report.failures.values())
    cells = contents(tmp_path / "own.sweep").values()
    assert {array[3] for numbers, _ in cells for array in numbers.values()} == {
        np.float64(rate).tobytes() for rate in RATES
    }


@pytest.mark.slow
def test_four_devices_in_one_process_change_nothing(done, tmp_path):
    code = (
        "import jax, pathlib, sys; from gradflow import sweeps; assert len(jax.devices()) == 4; "
        "sweeps.run('own.sweep', scale='quick', module=pathlib.Path(sys.argv[1]), "
        "out=pathlib.Path(sys.argv[2]), jobs=1)"
    )
    flags = f"--xla_force_host_platform_device_count=4 {os.environ['XLA_FLAGS']}"
    subprocess.run(
        [sys.executable, "-c", code, OWN, tmp_path],
        env={**os.environ, "XLA_FLAGS": flags}, check=True, timeout=600,
    )  # fmt: skip
    single, store = Store(done[0] / "own.sweep"), Store(tmp_path / "own.sweep")
    assert store.names() == names_of()
    for name in store.names():
        assert_close(store.load(name), single.load(name))
