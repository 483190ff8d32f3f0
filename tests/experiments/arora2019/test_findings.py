"""Findings of arora2019's figures from tables of runs, and the rate that one of them is about."""

import jax
import jax.numpy as jnp
import pandas as pd
import pytest
from jax.flatten_util import ravel_pytree

import gradflow as gf
from experiments.arora2019._figures import (
    depth_findings,
    kept_rates,
    norm_findings,
    stable_rate,
    tables,
)
from experiments.arora2019._recovery import Grid
from gradflow.sweeps import Results
from gradflow.sweeps.registry import find

GRID = Grid(rates=(1e-3,), observations=(240, 700), size=30, rank=2)
ALL = "With 700 observations all depths recover the matrix"
MEET = "With 700 observations all depths and the least nuclear norm meet the truth"


def told(outcomes, error=1e-4, grid=GRID, **columns):
    """Findings from a run of each depth and number of observations, with two baselines."""
    shared = {"truth_nuclear_norm": 60.0, "truth_effective_rank": 2.0, "sensing": False} | columns
    ends = {"final_test_error": error, "final_nuclear_norm": 60.0, "final_effective_rank": 2.0}
    rows = []
    for count in grid.observations:
        rows += [
            {"depth": depth, "observations": count, "rate": 1e-3, "norm": 1e-4, "method": "own",
             "outcome": outcome, **ends, "sensing": shared["sensing"]}
            for depth, outcome in outcomes.items()
        ]  # fmt: skip
        rows.append({"observations": count, "method": "own", "outcome": "", **shared, **ends,
                     "final_test_error": 1e-9, "optimality": 1e-9})  # fmt: skip
    results = Results(find("arora2019.fig2"), grid, [], [], 0)
    results.table = pd.DataFrame(rows)
    found = depth_findings(results) + norm_findings(results)
    return {finding.statement: finding.holds for finding in found}


def test_a_finding_about_all_depths_waits_for_all():
    there = dict.fromkeys((2, 3, 4), "REACHED_LOSS")
    whole = told(there)
    assert whole[ALL] is True and whole[MEET] is True
    assert told(there, error=0.1)[ALL] is False
    without = told(there | {4: "DIVERGED"})
    assert without[ALL] is None and without[MEET] is None


@pytest.mark.parametrize(("outcome", "said"), [("DIVERGED", " (rate 0.0003 alone)"), ("", "")])
def test_a_rate_at_which_runs_diverged_is_left_out_and_that_is_said(outcome, said):
    shared = {"depth": 4, "observations": 700, "norm": 1e-4, "method": "own"}
    rows = [{"rate": 1e-3, "outcome": outcome}, {"rate": 3e-4, "outcome": ""}]
    results = Results(find("arora2019.fig2"), GRID, [], [], 0)
    results.table = pd.DataFrame([shared | row for row in rows])
    runs, _ = tables(results)
    assert kept_rates(results, runs, 700, 4) == said


def test_rates_are_spoken_of_where_no_run_with_measurements_stays_finite():
    diverged = dict.fromkeys((2, 3, 4), "DIVERGED")
    (high,) = (holds for text, holds in told(diverged, sensing=True).items() if "rates" in text)
    assert high is True
    slow = Grid(rates=(1e-6,), observations=(240, 700), size=30, rank=2)
    (low,) = (holds for text, holds in told(diverged, grid=slow, sensing=True).items()
              if "rates" in text)  # fmt: skip
    assert low is False
    assert not any("rates" in text for text in told(diverged))
    finite = told(dict.fromkeys((2, 3, 4), "REACHED_LOSS"), sensing=True)
    assert not any("rates are above" in text for text in finite)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_rate_is_two_over_the_curvature(depth):
    # With m measurements of 16 unknowns the curvature is off by some 3 sqrt(16/m), here 0.2.
    m, largest, shape = 4000, 16.0, (4, 4)
    u, v = (jax.random.normal(jax.random.key(k), (4,)) for k in (1, 2))
    truth = largest * jnp.outer(u / jnp.linalg.norm(u), v / jnp.linalg.norm(v))
    a = gf.synthetic.gaussian_measurements(jax.random.key(3), m, shape, 1.0)
    problem = gf.problems.MatrixSensing(a, jnp.einsum("kij,ij->k", a, truth), loss="half_sum")
    model = gf.MatrixProduct.of(shape, depth)
    factors = model.balanced(truth)
    flat, back = ravel_pytree(factors)
    value = gf.Objective(problem, model).value
    curvature = jnp.linalg.eigvalsh(jax.hessian(lambda x: value(back(x)))(flat))[-1]
    assert stable_rate(depth, m, largest) * float(curvature) / 2 == pytest.approx(1, abs=0.2)
