"""razin2020's figures of tensor completion at small size, through the engine."""

import jax
import numpy as np
import pytest

import gradflow as gf
from experiments.razin2020 import _tensors as tensors
from experiments.razin2020._tensors import Cell, Grid, Linear, Task
from gradflow import sweeps
from gradflow.sweeps.registry import find
from tests.experiments.quick_runs import results_of

SMALL = {"observations_3": (50, 150, 511), "seeds": (0, 1)}


def findings_of(results):
    return {f.statement: f.holds for f in results.experiment.compare(results)}


def test_observations_are_nested_and_shared():
    few, many = (tensors.problem(Task(3, 8, 1, n), "float64") for n in (50, 200))
    np.testing.assert_array_equal(few.indices, many.indices[:50])
    np.testing.assert_array_equal(few.truth, many.truth)
    assert float(np.linalg.norm(few.truth)) == pytest.approx(1, rel=1e-12)
    assert few.convention == "mean"


def test_the_whole_grids_are_those_of_the_paper():
    for id, runs in (("razin2020.fig2", 190), ("razin2020.fig6", 170)):
        experiment = find(id)
        cells = experiment.cells(experiment.grid("paper", "code"))
        own = [cell for cell in cells if isinstance(cell, Cell)]
        assert len(own) == runs and len(cells) - runs == runs // 10
        assert {(cell.task.order, cell.components) for cell in own} == {(3, 64), (4, 512)}


def test_stops_are_those_of_the_paper_or_of_the_code():
    experiment = find("razin2020.fig2")
    made = {}
    for protocol in ("paper", "code"):
        cell = Cell(Task(3, 8, 1, 200), 16, 1e-2, 0, 1e-2, 5000, protocol)
        job = experiment.job(cell, "float64")
        run = gf.run_descent(
            job.objective, job.start, job.optimizer, learning_rate=job.rate, max_steps=job.steps,
            stop_loss=job.stop_loss, stop_looks=job.stop_looks, record=np.arange(5000),
            observe=["loss"],
        )  # fmt: skip
        made[protocol] = run
        assert run["loss"][-1] <= tensors.STOP_LOSS
    first, last = (made[p].stats["steps"] for p in ("paper", "code"))
    assert np.all(made["paper"]["loss"][:-1] > tensors.STOP_LOSS)
    assert last % 100 == 0 and 200 < last - first <= 300


def test_order_3_recovers_the_rank_and_ends_at_the_floor(tmp_path):
    results = results_of("razin2020.fig2", tmp_path, protocol="code", **SMALL)
    told = findings_of(results)
    assert len(told) == 6 and all(told.values()), told
    table = results.table[results.table["std"].notna()]
    assert (table["rank_lower"] == table["rank_upper"]).all()
    # At the paper's numbers of observations ours stand beside the printed ones.
    assert not any("example plot" in statement for statement in told)


def test_the_stop_as_printed_decides_the_error(tmp_path):
    told = findings_of(results_of("razin2020.fig2", tmp_path, seeds=(0,), observations_3=(511,)))
    (statement,) = (text for text in told if "stop as printed" in text)
    assert told[statement]


def test_it_can_fail(tmp_path):
    results = results_of("razin2020.fig6", tmp_path, seeds=(0,), steps=50)
    told = findings_of(results)
    assert told["Descent reaches its stopping loss"] is False
    assert (
        told["Order 3: the factorisation recovers far better than the linear completion"] is False
    )


def test_the_linear_completion_is_what_was_seen():
    cell = Linear(Task(3, 4, 1, 40))
    found = find("razin2020.fig2").job(cell, "float64").function()
    posed = tensors.problem(cell.task, "float64")
    missed = np.asarray(posed.truth)[np.asarray(posed.mask) == 0]
    assert found["final_distance"] == pytest.approx(np.linalg.norm(missed))
    assert found["rank_lower"] <= found["rank_upper"]


def test_the_floor_is_the_expected_norm_of_the_start():
    cell = Cell(Task(3, 8, 1, 10), 64, 1e-2, 0, 1e-2, 1, "code")
    model = gf.CPTensor(cell.task.shape, cell.components)
    norms = [
        float(np.linalg.norm(model.product(model.gaussian(jax.random.key(k), std=cell.std))))
        for k in range(20)
    ]
    assert np.sqrt(np.mean(np.square(norms))) == pytest.approx(tensors.floor(cell), rel=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rank", 0), ("observations_3", (0,)), ("observations_4", (5000,)), ("stds", (0.0,)),
     ("rate", np.inf), ("size", 1), ("components_3", 0), ("steps", 0)],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    good = {"rank": 1, "observations_3": (10,), "observations_4": ()}
    with pytest.raises(ValueError, match=field):
        tensors.check(Grid(**(good | {field: value})))


def test_flows_stand_beside(tmp_path):
    asked = {"seeds": (0,), "stds": (1e-2,), "observations_3": (300,), "protocol": "code"}
    sweeps.run(
        "razin2020.fig2", scale="quick", out=tmp_path, jobs=1, show=False, with_flow=True, **asked
    )
    results = sweeps.load("razin2020.fig2", scale="quick", out=tmp_path, **asked)
    (flow,) = (data for _, data in results.where(method="flow"))
    assert flow.attrs["outcome"] == "REACHED_LOSS" and float(flow["loss"][-1]) <= 1.01e-13
    results.experiment.plot(results)
