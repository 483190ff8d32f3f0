"""The tables' batches on an accelerator: how many programs, and that they give the same numbers."""

import json
from collections import Counter

import numpy as np
import pytest

import gradflow as gf
from experiments.zhao2022 import _completion as regularised
from gradflow.penalties import AbstractSpectralPenalty
from gradflow.sweeps import runner
from gradflow.sweeps import worker as workers
from gradflow.sweeps.experiment import items_of
from gradflow.sweeps.registry import find
from gradflow.sweeps.store import Store

PROGRAMS = {
    ("zhao2022.table1", "float32"): (60, 6),
    ("zhao2022.table3", "float32"): (72, 6),
    ("zhao2022.table4", "float32"): (66, 2),
    ("zhao2022.table1", "float64"): (60, 4),
    ("zhao2022.fig1", "float32"): (8, 4),
    ("zhao2022.choices", "float32"): (6, 4),
}
"""Of all cells on a CPU, where each is done alone, and on an accelerator."""


@pytest.mark.parametrize(("id", "precision"), PROGRAMS)
def test_programs_of_a_table(id, precision, tmp_path):
    experiment = find(id)
    items = items_of(experiment, experiment.grid("paper", "paper"), precision)
    alone, together = (
        Counter(map(alike, items)) for alike in (experiment.shape_of, experiment.batch_of)
    )
    assert (len(alone), len(together)) == PROGRAMS[id, precision]
    asked = (experiment, items, Store(tmp_path), None)
    assert len(runner._tasks(*asked, "cpu", 1024)) == len(items)
    assert len(runner._tasks(*asked, "gpu", 1024)) == len(together)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_which_penalties_go_by_an_svd_is_known_by_name(precision):
    for name, weighted in regularised.PENALTIES.items():
        made = None if weighted is None else gf.astype(weighted(0.1), precision)
        by_svd = isinstance(made, AbstractSpectralPenalty) and made.by_svd
        assert regularised.by_svd(name, precision) == by_svd


def test_a_tables_batch_gives_what_a_cell_gives_alone(tmp_path, monkeypatch):
    """In float64, where the ratio goes by an SVD, too: two optimisers with two penalties."""
    changes = {"optimizers": ("adam", "gd"), "penalties": ("ratio", "schatten 1/2:2/3"),
               "depths": (1,), "size": 6, "rank": 1, "observations": 24, "norm": 6.0,
               "steps": 60}  # fmt: skip
    monkeypatch.setattr(workers, "set_up", lambda device: None)
    experiment = find("zhao2022.table1")
    grid = runner.grid_of(experiment, "paper", "paper", changes)
    items = items_of(experiment, grid, "float64")
    stores = [Store(tmp_path / name) for name in ("together", "alone")]
    for store, some in zip(stores, (items, items[-1:]), strict=True):
        (task,) = runner._tasks(experiment, some, store, None, "gpu", 1024)
        assert set(workers.do(task).failures.values()) == {None}
        assert store.names() == {experiment.name(item) for item in some}
    ours, theirs = (store.load(experiment.name(items[-1])) for store in stores)
    assert json.loads(ours.attrs["provenance"])["batch_size"] == 4
    assert ours["iterations"] == theirs["iterations"]
    assert ours.attrs["item"] == theirs.attrs["item"]
    for what in ("loss", "error", "singular_values", "final_effective_rank"):
        np.testing.assert_allclose(ours[what], theirs[what], rtol=1e-8, atol=1e-12)
