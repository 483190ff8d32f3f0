"""razin2021's experiments at small size, through the engine."""

import jax
import numpy as np
import pytest

from experiments.razin2021 import components, norm_blowup
from gradflow.sweeps.registry import find
from tests.experiments.quick_runs import results_of


def findings_of(results):
    return {f.statement: f.holds for f in results.experiment.compare(results)}


def test_components_enter_one_after_the_other(tmp_path):
    told = findings_of(results_of("razin2021.components", tmp_path))
    assert len(told) == 4 and all(told.values()), told


def test_from_a_large_start_they_do_not(tmp_path):
    told = findings_of(results_of("razin2021.components", tmp_path, stds=(0.2,)))
    assert told["From the smallest start components enter one after the other"] is False
    assert told["From the smallest start as many components enter as the truth has terms"] is False


def test_the_whole_grid_is_that_of_the_paper():
    experiment = find("razin2021.components")
    cells = experiment.cells(experiment.grid("paper", "paper"))
    assert {cell.std for cell in cells} == {5e-3, 1e-2, 5e-2}
    assert {(cell.task.shape, cell.task.rank, cell.task.observations, cell.components)
            for cell in cells} == {((10,) * 4, 5, 2000, 1000)}  # fmt: skip


@pytest.mark.slow
def test_norms_blow_up_where_few_entries_are_seen(tmp_path):
    results = results_of("razin2021.norm_blowup", tmp_path)
    told = findings_of(results)
    assert len(told) == 6 and all(told.values()), told
    for cell, data in results:
        if cell.exact:  # recorded where asked
            first = norm_blowup.first_loss(cell.task)
            levels = 10 ** (-np.arange(1, data["at_loss"].size + 1) / norm_blowup.EACH)
            np.testing.assert_allclose(data["at_loss"] / first, levels, rtol=1e-6)
            assert np.all(np.diff(data["at_time"]) > 0)


def test_no_blow_up_is_told_apart(tmp_path):
    asked = {"observations": (20,), "stds": (1e-2,), "decades": 1, "steps": 300, "order": 3}
    results = results_of("razin2021.norm_blowup", tmp_path, **asked)
    jax.config.update("jax_enable_x64", False)  # a picture draws no data anew, in other numbers
    ax = results.experiment.plot(results).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 10 ** (-np.arange(1, 5) / 4), rtol=1e-6)
    told = findings_of(results)
    assert told["With 20 entries observed norms blow up from some start"] is False
    assert told["What blows up is not observed"] is None


@pytest.mark.parametrize(
    ("module", "field", "value"),
    [(components, "rank", 10), (components, "observations", 0), (components, "stds", (0.0,)),
     (components, "size", 1), (norm_blowup, "observations", (300,)),
     (norm_blowup, "stds", (np.inf,)), (norm_blowup, "decades", 0), (norm_blowup, "order", 1)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(module, field, value):
    with pytest.raises(ValueError, match=field):
        module.check(module.Grid(**{field: value}))
