"""fan2025's margins at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

from experiments.fan2025 import margins
from experiments.fan2025._margins import NORMS, RULES
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of("fan2025.margins", tmp_path_factory.mktemp("fan"))


@pytest.fixture(scope="module")
def steepest(tmp_path_factory):
    out = tmp_path_factory.mktemp("steepest")
    return results_of("fan2025.margins", out, rules=("sign", "normalised", "spectral"))


def told(results):
    return [f.holds for f in results.experiment.compare(results)]


def test_steepest_descents_come_to_the_largest_margins(steepest):
    assert told(steepest) == [True] * 3 + [None] * 4 + [True] * 2 + [None]
    for _, data in steepest:
        assert np.all(data["shares"] <= 1 + 1e-7)  # no margin is above the largest
    cells = [data.copy(deep=True) for data in steepest.cells]
    for (cell, _), data in zip(steepest, cells, strict=True):
        data["shares"][:] = 0.9  # and they do not rise
        for norm in NORMS:  # each rule is better in the norms of the others
            data[f"share_{norm}"] = 0.8 if norm == RULES[cell.rule][0] else 0.9
    wrong = sweeps.Results(steepest.experiment, steepest.grid, steepest.items, cells, 0)
    assert told(wrong) == [False] * 3 + [None] * 4 + [False] * 2 + [None]


def test_momentum_adam_and_what_is_used(results):
    # After 4000 steps Adam is on its way, and Newton and Schulz' iterations lead elsewhere.
    assert told(results) == [True] * 5 + [False] * 2 + [True] * 3
    cells = [data.copy(deep=True) for data in results.cells]
    for (cell, _), data in zip(results, cells, strict=True):
        data[f"share_{RULES[cell.rule][0]}"] = 0.95 if cell.rule == "gd" else 0.8
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    assert told(wrong) == [False] * 7 + [True, False, False]


def test_steps_have_the_length_of_their_norm(results):
    """After the first, W has the norm c; of plain descent the one of the gradient."""
    for cell, data in results:
        _, best = margins.problem(cell.seed, cell.classes, cell.size, cell.data)
        (norm, *_), w = RULES[cell.rule], np.asarray(data["product"])[1:2]
        first = float(margins.norms_of(w)[0, NORMS.index(norm)]) * best[norm]
        if cell.rule in ("sign", "normalised", "spectral", "adam"):
            assert first == pytest.approx(cell.growth, rel=1e-9)
        else:  # means of gradients begin at 0, which signs and exact polar factors do not see
            assert (first == pytest.approx(cell.growth, rel=1e-9)) == (
                cell.rule in ("signum", "muon")
            )


@pytest.mark.parametrize(
    ("field", "value"),
    [("rules", ("lion",)), ("seeds", (-1,)), ("classes", 1), ("size", 1), ("data", 3),
     ("steps", 10), ("growth", 2.0), ("growth", 0.0)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        margins.check(dataclasses.replace(margins.Grid(), **{field: value}))


def test_data_that_cannot_be_separated_are_refused():
    with pytest.raises(ValueError, match="fewer data"):
        margins.problem(0, 10, 2, 60)


def test_float32_is_refused():
    with pytest.raises(ValueError, match="float64"):
        margins.Margins().job(margins.Cell("sign", 0, 4, 8, 24, 1.0, 100), "float32")
