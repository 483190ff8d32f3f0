"""jin2023's ranks at small size, through the engine."""

import dataclasses

import numpy as np
import pytest

import gradflow as gf
from experiments.jin2023 import ranks
from experiments.jin2023._ranks import errors, nearness
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_of("jin2023.ranks", tmp_path_factory.mktemp("jin"))


def told(results):
    return [f.holds for f in results.experiment.compare(results)]


def test_ranks_come_one_after_the_other(results):
    assert told(results) == [True] * 5
    assert [*nearness(results)] == [1e-1, 1e-3, 1e-5]
    ((_, least),) = errors(results)
    assert least[-1] < 1e-3


def test_other_flows_are_told_apart(results):
    cells = [data.copy(deep=True) for data in results.cells]
    for data in cells:
        data["nearest"][:] = 0.1  # of every rank, at any scale
        data["when"][:] = data["when"].to_numpy()[::-1].copy()
        data["end"][:] = 0.3
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    assert told(wrong) == [False] * 5


def test_out_of_order_is_told_apart(results):
    cells = [data.copy(deep=True) for data in results.cells]
    for data in cells:
        data["when"][:] = data["when"].to_numpy()[::-1].copy()
    wrong = sweeps.Results(results.experiment, results.grid, results.items, cells, 0)
    assert told(wrong) == [False] + [True] * 4


def test_best_fits_are_least():
    """No matrix of the rank near them fits better; the first are not the truth's own parts."""
    problem, fits = ranks.sensing(0, 16, 110)
    rng = np.random.default_rng(0)
    for s, fit in enumerate(fits, start=1):
        values, vectors = np.linalg.eigh(fit)
        assert np.sum(values > 1e-8) == s and values[0] > -1e-12
        least, u = float(problem.loss(fit)), vectors[:, -s:] * np.sqrt(values[-s:])
        for _ in range(100):
            near = u + 1e-3 * rng.normal(size=u.shape)
            assert float(problem.loss(near @ near.T)) > least
    assert np.linalg.norm(fits[0] - np.linalg.eigh(fits[-1])[1][:, -1:] ** 2) > 0.1
    with pytest.raises(ValueError, match="No best fit of rank 2"):
        a = np.asarray(problem.measurements) * 1e6  # no gradient is that small any more
        ranks.best_fit(a, 1e6 * np.asarray(problem.labels), u[:, 1:])


def test_ends_do_not_hang_on_rounding():
    """Rounding of the start decides nothing that is stored, though units fall far below others."""
    cell = ranks.Cell(1e-8, 16, 0, 16, 110, 100)
    job, stored = ranks.Ranks().job(cell, "float64"), []
    (u,) = job.start
    rng = np.random.default_rng(0)
    for off in (0.0, 1e-14):
        moved = u + off * np.max(np.abs(u)) * rng.normal(size=u.shape)
        run = gf.solve_flow(job.objective, (moved,), **job.options)
        assert run.stats["coordinates"] == "logcolumns" and not run.warnings
        stored.append(ranks.Ranks().finish(cell, run))
    np.testing.assert_array_equal(stored[1]["when"], stored[0]["when"])
    for name in ("nearest", "end"):  # distances of matrices that are known to rtol
        np.testing.assert_allclose(stored[1][name], stored[0][name], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alphas", (2.0,)), ("alphas", (1e-12,)), ("columns", (0,)), ("columns", (17,)),
     ("seeds", (-1,)), ("size", 3), ("measurements", 40), ("records", 10)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ranks.check(dataclasses.replace(ranks.Grid(), **{field: value}))


def test_float32_is_refused():
    with pytest.raises(ValueError, match="float64"):
        ranks.Ranks().job(ranks.Cell(1e-2, 2, 0, 16, 110, 100), "float32")
