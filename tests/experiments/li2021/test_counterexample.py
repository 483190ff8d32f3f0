"""li2021's counterexample at small size, through the engine."""

import numpy as np
import pytest

from experiments.li2021 import counterexample
from experiments.li2021._completion import exponent, limit_of, problem
from gradflow import sweeps
from tests.experiments.quick_runs import results_of


def test_the_limit_is_of_rank_one_and_1e_2_is_not_small(tmp_path):
    results = results_of("li2021.counterexample", tmp_path)
    told = {f.statement: f.holds for f in results.experiment.compare(results)}
    assert len(told) == 5 and all(told.values()), told
    np.testing.assert_allclose(counterexample.slopes(results)[:, 0], exponent(3.0), atol=2e-4)
    # Cut off where starts are not small, the same flows say so.
    early = sweeps.load("li2021.counterexample", scale="quick", out=tmp_path, alphas=(1.0, 1e-2))
    told = [f.holds for f in early.experiment.compare(early)]
    assert told == [False, True, True, True, None]


def test_the_limit_fits():
    for ratio in (1.5, 3.0):
        assert float(problem(ratio).problem.loss(limit_of(ratio))) == 0
    assert exponent(3.0) == pytest.approx(2 / (1 + np.sqrt(37)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alphas", (2.0,)),
        ("alphas", (1e-70,)),
        ("ratio", 1.0),
        ("stop", 0.0),
    ],
)
def test_grids_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        counterexample.check(counterexample.Grid(**{field: value}))


def test_float32_is_refused():
    cell = counterexample.Cell(3.0, 1e-2, "identity", 0, 1e-20)
    with pytest.raises(ValueError, match="float64"):
        counterexample.Counterexample().job(cell, "float32")
