"""woodworth2020's path at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

from experiments.woodworth2020 import path
from experiments.woodworth2020._path import powers
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of(
        "woodworth2020.path", tmp_path_factory.mktemp("woodworth"), scales=(10.0, 1e-2)
    )


def told(results):
    return [f.holds for f in results.experiment.compare(results)]


def changed(results, change):
    cells = [data.copy(deep=True) for data in results.cells]
    for item, data in zip(results.items, cells, strict=True):
        change(item.cell, data)
    return sweeps.Results(results.experiment, results.grid, results.items, cells, 0)


def test_from_least_l2_to_least_l1_norm(results):
    assert told(results) == [True] * 7
    cell = path.Cell("potential", 2, 1e-2, 0, 10, 20, 1, 1e-16)
    posed, truth = path.problem(10, 20, 1, 0)
    start = path.start(cell)
    np.testing.assert_allclose(np.asarray(start[0]), 0.1)
    assert float(posed.loss(truth)) == 0 and np.linalg.norm(truth) == pytest.approx(1)


def test_other_ends_and_other_powers_are_told_apart(results):
    def wrong(cell, data):
        if cell.kind == "flow":
            data["off"] = 1e-5
        else:
            data["excess_l1"] = 0.1 * cell.scale**0.1 * cell.depth
            data["excess_l2"] = 0.1
            data["risk"] = 1.0

    assert told(changed(results, wrong)) == [False] * 7


def test_powers_are_those_of_the_smallest_scales(results):
    def exact(cell, data):
        if cell.kind == "potential":
            data["excess_l1"] = cell.scale ** (cell.depth / 4)

    table = changed(results, exact).table
    found = powers(table[table["kind"] == "potential"])
    np.testing.assert_allclose([found[2][0], found[3][0]], [0.5, 0.75], rtol=1e-9)


def test_without_cells_nothing_is_said(results):
    assert told(results.where(kind="flow")) == [True, True, *[None] * 5]
    assert results.experiment.compare(results.where(kind="none")) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("depths", (1,)), ("scales", (1e-12,)), ("scales", (1e3,)), ("predicted", (0.0,)),
     ("sparsity", 0), ("data", 3), ("size", 20), ("stop", 1.0)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        path.check(dataclasses.replace(path.Grid(), **{field: value}))


def test_float32_is_refused():
    cell = path.Cell("potential", 2, 1e-2, 0, 10, 20, 1, 1e-16)
    with pytest.raises(ValueError, match="float64"):
        path.Path().job(cell, "float32")
