"""The claims themselves; those that need the real ratings are slow."""

import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow.claims import Settings, check, select
from gradflow.claims.oracles.singular_values import large_cases, small_cases
from gradflow.claims.registry import load_papers
from tests.theory_checks.verdicts import VERDICTS

load_papers()


@pytest.mark.slow
def test_theorem3_along_a_depth_3_flow_at_100x100():
    (case,) = large_cases(Settings(), "half_sum", lambda n: 1 - 1 / n, 1.0, (3,))
    assert np.max(case.violation) < 1e-6
    assert np.max(case.floors) < 1e-6
    assert case.hypotheses["the loss never rises"]
    (broken,) = large_cases(Settings(), "half_sum", lambda n: 1.1 - 1 / n, 1.0, (3,))
    assert np.max(broken.violation) > 1e-2


def test_unbalancedness_drifts_by_less_than_1e_8_at_100x100():
    problem = gf.synthetic.matrix_completion(jax.random.key(0), (100, 100), 5, 2000)
    model = gf.MatrixProduct.of((100, 100), 3)
    start = model.random_balanced(jax.random.key(1), 1e-3)
    flow = gf.solve_flow(
        gf.Objective(problem, model), start, stop_loss=100.0, rtol=1e-10, observe=("loss",)
    )
    assert flow.outcome is gf.Outcome.REACHED_LOSS
    final = tuple(flow.final[f"W_{j}"] for j in (1, 2, 3))
    assert float(gf.factorizations.relative_unbalancedness(final)) < 1e-8
    assert np.all(np.diff(flow["loss"]) <= 0)


def test_a_signed_singular_value_crosses_zero_at_depth_1_only():
    cases = list(small_cases(Settings(), "half_sum", lambda n: 1 - 1 / n, 1.0))
    assert "sign changes: 1" in cases[0].notes
    assert all("sign changes: 0" in case.notes for case in cases[1:])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_theorem3_holds_on_the_real_ratings_too(seed):
    pytest.importorskip("neighbors", reason="the ratings come inside this package")
    (made,) = select(["arora2019.thm3"])
    entry = check(made, Settings(seed=seed))
    assert entry.verdict == "holds" and entry.control_verdict == "fails"


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [Settings(seed=1), Settings(seed=2), Settings(full=True)], ids=str
)
@pytest.mark.parametrize("id", VERDICTS)
def test_neither_another_seed_nor_more_cases_change_a_verdict(id, settings):
    (made,) = (one for one in select([id]) if one.id == id)
    entry = check(made, settings)
    assert entry.error is None, entry.error
    assert (entry.verdict, entry.control_verdict) == (VERDICTS[id], "fails")
