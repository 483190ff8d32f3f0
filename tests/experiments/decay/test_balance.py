"""Imbalances under weight decay at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

import gradflow as gf
from experiments.decay import balance
from experiments.decay._balance import powers
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of("decay.balance", tmp_path_factory.mktemp("decay"))


def told(results):
    return [f.holds for f in results.experiment.compare(results)]


def test_the_law_and_who_obeys_it(results):
    assert told(results) == [True] * 5
    table = results.table
    assert powers(table[table["rule"] == "gd"]).shape == (2,)
    flow = next(data for cell, data in results if cell.rule == "flow" and cell.decay == 0.1)
    np.testing.assert_allclose(flow["share"][-1], np.exp(-4), rtol=1e-6)


def test_others_are_told_apart(results):
    cells = [data.copy(deep=True) for data in results.cells]
    for (cell, _), data in zip(results, cells, strict=True):
        data["off"] = {"flow": 1e-3, "gd": 0.01, "adamw": 0.05}[cell.rule]
        data["step_off"] = 1e-6
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    assert told(wrong) == [False] * 5


def test_imbalances_and_kicks_are_those_of_one_step_by_hand():
    cell = balance.Cell("gd", 3, 0.1, 0.02, 0, 20.0, 25)
    posed, ws = balance.objective(0, 3, 0.1), balance.start(cell)
    slopes = balance.objective(0, 3, 0.0).gradient(ws)
    after = [w - 0.02 * (g + 0.1 * w) for w, g in zip(ws, slopes, strict=True)]
    wanted = 0.998**2 * balance.imbalances(ws) + 0.02**2 * balance.imbalances(slopes)
    np.testing.assert_allclose(balance.imbalances(after), wanted, atol=1e-14)
    run = gf.run_descent(
        posed, ws, gf.optimizers.gd, learning_rate=0.02, max_steps=1,
        observe={"imbalance": balance.imbalance, "kick": balance.kick},
    )  # fmt: skip
    np.testing.assert_allclose(run["imbalance"][1], wanted, atol=1e-14)
    np.testing.assert_allclose(run["kick"][0], balance.imbalances(slopes), atol=1e-13)
    swapped = balance.imbalances(slopes[::-1])  # the factors' order counts
    assert np.max(np.abs(swapped - balance.imbalances(slopes))) > 0.1


def test_a_descent_that_diverges_is_refused(tmp_path):
    fields = {"depths": (3,), "decays": (0.0,), "rates": (0.2,), "seeds": (1,)}
    report = sweeps.run("decay.balance", scale="quick", out=tmp_path, jobs=1, show=False, **fields)
    assert [("diverged" in text) for text in report.failures.values()] == [True]


@pytest.mark.parametrize(
    ("field", "value"),
    [("depths", (1,)), ("depths", (4,)), ("decays", (-0.1,)), ("rates", (0.5,)),
     ("rates", (0.0,)), ("seeds", (-1,)), ("horizon", 0.5), ("records", 2)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        balance.check(dataclasses.replace(balance.Grid(), **{field: value}))


def test_float32_is_refused():
    with pytest.raises(ValueError, match="float64"):
        balance.Balance().job(balance.Cell("gd", 2, 0.1, 0.01, 0, 20.0, 25), "float32")
