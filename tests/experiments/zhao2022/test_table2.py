"""zhao2022's Table 2: choices by validation, refusals."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from experiments.zhao2022 import _ratings as zhao2022_ratings
from experiments.zhao2022 import table2 as zhao2022_table2
from experiments.zhao2022._ratings import Embedding, Matrix
from experiments.zhao2022.table2 import METHODS, Table2
from gradflow import sweeps


@pytest.fixture(scope="module", name="results")
def _results(tmp_path_factory):
    out = tmp_path_factory.mktemp("table2")
    report = sweeps.run("zhao2022.table2", scale="quick", out=out, jobs=1, show=False)
    assert not report.failures
    return sweeps.load("zhao2022.table2", scale="quick", out=out)


def test_quick_scale_fills_the_table_and_draws(results, tmp_path):
    assert results.missing == 0
    chosen = zhao2022_table2.choose(results)
    wanted = {(m, p, how) for m in ("depth 1", "embeddings") for p in (10, 20) for how in METHODS}
    assert set(chosen) == wanted
    assert all(len(one.errors) == 2 for one in chosen.values())
    results.experiment.plot(results).savefig(tmp_path / "table2.png")
    found = results.experiment.compare(results)
    assert len(found) == 24
    # Drawn ratings are not those of the paper: nothing is said to reproduce.
    assert all(one.printed is None for one in found)
    gains = [one for one in found if "beats" in one.statement]
    assert len(gains) == 8 and all(one.holds is not None for one in gains)


@pytest.mark.parametrize("named", ["", "stopped_"])
def test_configurations_are_chosen_by_validation(results, named):
    key = ("depth 1", 20, "Adam+penalty")

    def chosen():
        return zhao2022_table2.choose(results, stopped=bool(named))[key]

    runs = [
        (cell, data)
        for cell, data in results
        if isinstance(cell, Matrix)
        and cell.split.percent == 20
        and zhao2022_ratings.method_of(cell) == "Adam+penalty"
    ]
    on_first = {cell: data for cell, data in runs if cell.split.number == 1}
    errors = {cell: float(data[f"{named}validation_rmse"]) for cell, data in on_first.items()}
    before = chosen()
    assert isinstance(before.cell, Matrix) and before.tried == len(on_first) > 1
    assert before.cell == min(errors, key=lambda cell: errors[cell])
    assert before.errors[1] == on_first[before.cell][f"{named}test_rmse"]
    # Test errors turned round change no choice; validation errors do.
    for name, wanted in ((f"{named}test_rmse", min), (f"{named}validation_rmse", max)):
        for _, data in runs:
            data[name][...] = 10 - data[name]
        assert chosen().cell == wanted(errors, key=lambda cell: errors[cell])
    for name in ("test_rmse", "validation_rmse"):
        for _, data in runs:
            data[named + name][...] = 10 - data[named + name]


def test_a_configuration_that_is_not_kept_says_on_how_many_splits_it_was_run(results):
    key = ("depth 1", 20, "Adam+penalty")
    searched = [
        data for cell, data in results
        if isinstance(cell, Matrix) and cell.split.percent == 20 and cell.loss == "sum"
    ]  # fmt: skip
    assert len(searched) == 1
    before = searched[0]["validation_rmse"].copy()
    searched[0]["validation_rmse"][...] = 0.0
    assert "over 1 of 2 splits" in str(zhao2022_table2.choose(results)[key])
    searched[0]["validation_rmse"][...] = before


def test_a_penalty_that_does_harm_is_found_out(results):
    penalised = [data for cell, data in results if "penalty" in zhao2022_ratings.method_of(cell)]
    held = []
    for shift in (-100, 200, -100):
        for data in penalised:
            for name in ("test_rmse", "stopped_test_rmse"):
                data[name][...] = data[name] + shift
        found = results.experiment.compare(results)
        held.append({one.holds for one in found if "beats" in one.statement})
    assert held[:2] == [{True}, {False}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", "netflix"), ("folds", (0,)), ("draws", (0,)), ("held_out", 0.0),
        ("held_out", 1.0), ("bias", "none"), ("std", 0.0), ("epochs", 0),
    ],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    grid = dataclasses.replace(Table2().grid("quick", "paper"))
    object.__setattr__(grid, field, value)  # as where no annotation is checked
    with pytest.raises(ValueError, match=field):
        Table2().cells(grid)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Matrix, "optimizer", "adamax"), (Matrix, "rate", 0.0), (Matrix, "weight", -1.0),
        (Matrix, "steps", 30), (Matrix, "loss", "half"), (Embedding, "user_weight", np.inf),
        (Embedding, "dimension", 0),
    ],
)  # fmt: skip
def test_cells_out_of_range_are_refused(kind, field, value):
    cells = Table2().cells(Table2().grid("quick", "paper"))
    good = next(cell for cell in cells if isinstance(cell, kind))
    cell = dataclasses.replace(good)
    object.__setattr__(cell, field, value)  # as where no annotation is checked
    with pytest.raises(ValueError, match=field):
        zhao2022_ratings.check(cell)


def test_missing_ratings_are_named_before_any_work(monkeypatch):
    grid = Table2().grid("paper", "paper")
    monkeypatch.setattr(zhao2022_table2, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install --no-deps neighbors==0\.2\.1"):
        Table2().cells(grid)
    assert Table2().cells(dataclasses.replace(grid, data="drawn"))


@pytest.mark.skipif(
    importlib.util.find_spec("neighbors") is None,
    reason="the package `neighbors`, which carries MovieLens 100K, is not installed",
)
def test_paper_scale_is_of_the_real_ratings():
    cells = Table2().cells(Table2().grid("paper", "paper"))
    assert {cell.split.data for cell in cells} == {"movielens"}
    tests = {cell.split: len(zhao2022_ratings.rows_of(cell.split)[1]) for cell in cells}
    assert all(size == 1000 * split.percent for split, size in tests.items())
