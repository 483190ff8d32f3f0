"""domine2025's map at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

from experiments.domine2025 import map
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of("domine2025.map", tmp_path_factory.mktemp("domine"))


def told(results):
    return [f.holds for f in results.experiment.compare(results)]


def test_square_networks_are_lazy_and_narrow_ones_are_not(results):
    assert told(results) == [True] * 6


def test_other_movements_are_told_apart(results):
    cells = [data.copy(deep=True) for data in results.cells]
    for item, data in zip(results.items, cells, strict=True):
        data["off"] = 1e-6
        data["moved"] = 0.5 if item.cell.shape == "square" else 1e-3
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    assert told(wrong) == [False] * 6


@pytest.mark.parametrize("shape", ["square", "narrow"])
@pytest.mark.parametrize("balance", [-3.0, 0.0, 3.0])
def test_starts_are_balanced_and_share_their_product(shape, balance):
    w1, w2 = map.start(map.Cell(shape, balance, 0.1, 0, 1e-10))
    np.testing.assert_allclose(w2.T @ w2 - w1 @ w1.T, balance * np.eye(len(w1)), atol=1e-13)
    other = map.start(map.Cell(shape, 1.0, 0.1, 0, 1e-10))
    np.testing.assert_allclose(w2 @ w1, other[1] @ other[0], atol=1e-13)


@pytest.mark.parametrize(
    ("field", "value"),
    [("balances", (1e4,)), ("balances", (np.nan,)), ("scales", (0.0,)),
     ("seeds", (-1,)), ("stop", 1.0)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        map.check(dataclasses.replace(map.Grid(), **{field: value}))


def test_float32_is_refused():
    with pytest.raises(ValueError, match="float64"):
        map.Map().job(map.Cell("square", 0.0, 0.1, 0, 1e-10), "float32")
