"""pesme2023's jumps at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

import gradflow as gf
from experiments.pesme2023 import jumps
from experiments.pesme2023._flow import follow
from experiments.pesme2023._jumps import gaps
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of("pesme2023.jumps", tmp_path_factory.mktemp("pesme"), records=40)


def told(results):
    return [f.holds for f in results.experiment.compare(results)]


def test_flows_come_to_the_limit_and_an_entry_leaves(results):
    assert told(results) == [True] * 8
    off = list(gaps(results).values())
    # ln(1/alpha) times what is left of the times tends to a constant.
    np.testing.assert_allclose(off[1] / off[2], 2.0, rtol=0.02)


def test_other_flows_are_told_apart(results):
    cells = [data.copy(deep=True) for data in results.cells]
    for data in cells:
        data["at_saddles"][:] = 0.1
        data["same_support"][-1] = 0
        data["jump_taus"] = data["jump_taus"] * 1.2
        data["jump_errors"][:] = 0.2 * data["path_taus"].to_numpy() * 138
        data["leaves"] = 0.0
        data["excess_l1"] = 0.1
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    assert told(wrong) == [False] * 8


def test_the_dual_gives_the_flow_of_the_parameters():
    """From a start that is not small, where factors are followed as well."""
    posed, path = jumps.problem(jumps.LEAVING, 3, 5)
    seen = follow(posed, path, 1e-3, 20, rtol=1e-10)
    objective = gf.Objective(posed, gf.DiagonalNetwork(5, 2))
    run = gf.solve_flow(
        objective, objective.factorization.identity(1e-3**0.5), record=seen.times, rtol=1e-10,
        observe=["loss", "product"],
    )  # fmt: skip
    np.testing.assert_allclose(seen.beta, run["product"][1:], atol=1e-7)
    np.testing.assert_allclose(seen.loss, run["loss"][1:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alphas", (0.1,)), ("alphas", (1e-200,)), ("seeds", (-1,)), ("data", 1), ("size", 4),
     ("records", 3)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        jumps.check(dataclasses.replace(jumps.Grid(), **{field: value}))


def test_float32_is_refused():
    with pytest.raises(ValueError, match="float64"):
        jumps.Jumps().job(jumps.Cell(1e-12, 0, 4, 8, 40), "float32")
