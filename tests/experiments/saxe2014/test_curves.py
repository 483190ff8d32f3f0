"""saxe2014's experiment at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

from experiments.saxe2014 import curves
from gradflow import sweeps
from tests.experiments.quick_runs import results_of

SMALL = {"strengths": (3.0, 1.5), "outputs": 3, "hidden": 3, "seeds": (1,), "records": 40}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of("saxe2014.curves", tmp_path_factory.mktemp("saxe"), **SMALL)


def findings_of(results):
    return {f.statement: f.holds for f in results.experiment.compare(results)}


def test_modes_rise_one_after_the_other(results):
    told = findings_of(results)
    assert len(told) == 7 and all(told.values()), told
    for cell, data in results.where(kind="decoupled"):
        s, a0 = np.array(cell.strengths), curves.mean_strength(cell.std, cell.hidden)
        np.testing.assert_allclose(data["half_times"], np.log(s / a0 - 1) / (2 * s), rtol=1e-9)


def test_strengths_that_rise_in_another_order_are_told_apart(results):
    cells = [data.copy(deep=True) for data in results.cells]
    for data in cells:
        data["half_times"][:] = data["half_times"].to_numpy()[::-1]
        if "formula_error" in data:
            data["formula_error"] = 1e-3
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    told = [finding.holds for finding in results.experiment.compare(wrong)]
    assert told[:4] == [False] * 4


def test_without_flows_from_random_starts_nothing_is_said_of_them(results):
    told = [f.holds for f in results.experiment.compare(results.where(kind="decoupled"))]
    assert told == [True, None, True, None, None, None, None]
    assert results.experiment.compare(results.where(kind="none")) == []


def test_the_tree_has_orthonormal_modes():
    u, v = curves.frames(8, 12)
    np.testing.assert_allclose(u.T @ u, np.eye(8), atol=1e-14)
    np.testing.assert_allclose(v.T @ v, np.eye(8), atol=1e-14)
    assert np.array_equal(np.sign(v[:, 1]), [1] * 4 + [-1] * 4)
    assert np.array_equal(np.sign(v[:, 3]), [0] * 4 + [1] * 2 + [-1] * 2)


def test_half_rises_of_logistic_curves_are_exact():
    times = np.linspace(0, 10, 31)
    a = 2 / (1 + np.exp(-1.7 * (times - 4.321)))
    found = curves.half_rise(times, np.stack([a, 0.4 * a], axis=1), np.array([2.0, 2.0]))
    np.testing.assert_allclose(found, [4.321, np.nan], rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("strengths", (1.0, 2.0)), ("strengths", (3.0, 2.0, 1.0)), ("strengths", (1.0, -1.0)),
     ("outputs", 3), ("hidden", 2), ("records", 3), ("rate", 1.0), ("rate", np.nan),
     ("stds", (0.0,)), ("stds", (0.5,))],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    grid = dataclasses.replace(curves.Grid(), **{field: value})
    with pytest.raises(ValueError, match=field):
        curves.check(grid)
