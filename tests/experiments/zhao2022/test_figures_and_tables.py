"""zhao2022's figures and tables at small size, through the engine."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import gradflow as gf
from experiments.zhao2022 import _completion as regularised
from experiments.zhao2022 import dynamics
from experiments.zhao2022._completion import Baseline, Cell, Task
from experiments.zhao2022.preconditioner import printed
from experiments.zhao2022.tables import TABLE_1, TABLE_3, TABLE_4, reproduces
from gradflow import factorizations
from tests.experiments.quick_runs import results_of

matplotlib.use("Agg")
SMALL = Task(12, 1, 110, 12.0)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    jax.config.update("jax_enable_x64", True)
    plt.close("all")


def findings_of(results):
    return {f.statement: f.holds for f in results.experiment.compare(results)}


def test_problems_are_scaled_to_mean_square_one():
    truth = regularised.problem(Task(), "float64").truth
    assert np.mean(np.square(truth)) == pytest.approx(1, rel=1e-12)
    raw = regularised.problem(dataclasses.replace(Task(), norm=0.0), "float64").truth
    np.testing.assert_allclose(truth, raw * 100 / np.linalg.norm(raw), rtol=1e-10)


def test_the_loss_is_the_sum_of_squares():
    objective = regularised.objective(SMALL, 1, "none", 0.0, "float64")
    w = np.random.default_rng(0).normal(size=(12, 12))
    posed = objective.problem
    wanted = np.sum(np.asarray(posed.mask) * (w - np.asarray(posed.target)) ** 2)
    assert objective.loss((jnp.asarray(w),)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("penalty", [p for p in regularised.PENALTIES if p != "none"])
def test_penalties_by_name(penalty):
    s = np.array([3.0, 1.0, 0.5])
    objective = regularised.objective(Task(3, 1, 5, 3.0), 1, penalty, 0.1, "float64")
    kind, *powers = penalty.replace("schatten ", "").replace(":", " ").split()
    numbers = [float(Fraction(p)) for p in ([kind, *powers] if "/" in kind else [])]

    def norm(p):
        return np.sum(s**p) ** (1 / p)

    if kind == "ratio":
        wanted = norm(1) / norm(2)
    elif kind == "nuclear":
        wanted = norm(1)
    else:
        wanted = norm(numbers[0]) / (norm(numbers[1]) if len(numbers) > 1 else 1.0)
    found = objective.penalty_at((jnp.diag(jnp.asarray(s)),))
    assert found == pytest.approx(0.1 * wanted, rel=1e-12)


def test_baselines_of_the_sample_figure():
    for method in ("nuclear norm", "OptSpace", "SoftImpute"):
        found = regularised.job(Baseline(SMALL, method), "float32").function()
        # SoftImpute shrinks by 1/50 of the spectral norm; the others recover.
        assert found["final_error"] < (0.05 if method == "SoftImpute" else 1e-8)
        assert found["final_unobserved_error"] >= found["final_error"] * 0.99


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"optimizer": "lbfgs"}, "lbfgs"),
        ({"penalty": "rank"}, "no penalty 'rank'"),
        ({"weight": 0.0}, "weight"),
        ({"depth": 0}, "depth"),
        ({"task": Task(10, 11, 5)}, "rank"),
        ({"task": Task(10, 1, 101)}, "observations"),
    ],
)
def test_cells_out_of_range_are_refused(changes, match):
    cell = Cell(SMALL, 1, "adam", "ratio", 0.1)
    with pytest.raises(ValueError, match=match):
        regularised.check(dataclasses.replace(cell, **changes))


@pytest.mark.slow  # 8,000 iterations
def test_depth_one_figure(tmp_path):
    results = results_of("zhao2022.fig3", tmp_path, rate=4e-3, steps=8000)
    told = findings_of(results)
    assert told["Adam with penalty recovers the rank at a low error"]
    assert told["gradient descent without penalty generalises poorly"]
    assert told["gradient descent with penalty generalises poorly"]


def test_depth_one_figure_can_fail(tmp_path):
    # Too few iterations for Adam.
    results = results_of("zhao2022.fig3", tmp_path, steps=300)
    assert not findings_of(results)["Adam with penalty recovers the rank at a low error"]


def test_depth_figure_shares_its_cells_with_nothing_else(tmp_path):
    results = results_of("zhao2022.fig1", tmp_path, depths=(2,), steps=2000)
    assert len(results) == 2 and set(results.table["optimizer"]) == {"gd", "adam"}
    assert results.table["iterations"].max() <= 2000


@pytest.mark.parametrize("lost", [0, 1])
def test_a_start_that_diverges_is_told_of(lost):
    told = {2: [0.3, 5.0, 0], 3: [0.5, 3.0, lost]}
    errors, ranks, gone = (pd.Series({d: one[k] for d, one in told.items()}) for k in range(3))
    (found,) = dynamics._of_depth("gd", "ratio", errors, ranks, gone, 5)
    assert not found.holds and ("(diverged: 1)" in found.evidence) == bool(lost)


def test_sample_figure(tmp_path):
    results = results_of("zhao2022.fig4", tmp_path, observations=(400,), steps=8000)
    assert len(results) == 5
    assert len(findings_of(results)) == 4


def test_tables(tmp_path):
    results = results_of("zhao2022.table1", tmp_path, steps=6000, depths=(1,))
    told = findings_of(results)
    # At quick size no printed number is compared.
    assert not any("depth 1, ratio: error" in statement for statement in told)
    assert len(told) == 2 and set(results.table["optimizer"]) == {"adam", "adagrad"}
    # Nothing is said of depth where one depth was run.
    assert [holds for text, holds in told.items() if "invariant to depth" in text] == [None]


def test_printed_tables_are_whole():
    assert [len(t) for t in (TABLE_1, TABLE_3, TABLE_4)] == [10, 12, 22]
    for table, width in ((TABLE_1, 6), (TABLE_3, 6), (TABLE_4, 3)):
        assert all(len(row) == width for row in table.values())
        assert {depth for _, depth in table} == {1, 3}
    assert TABLE_1["adam", 1][0] == (4e-7, 5) and TABLE_1["gd", 3][-1] == (1e-5, 5)


def test_what_reproduces_means():
    assert reproduces(0.8, 70, (0.81, 69.2, ""))
    assert not reproduces(0.8, 70, (0.81, 40.0, ""))
    assert not reproduces(4e-7, 5, (3e-8, 4.97, ""))
    assert not reproduces(0.8, 70, (np.nan, 70.0, ""))


def test_choices(tmp_path):
    results = results_of("zhao2022.choices", tmp_path, weights=(1e-1,), steps=8000)
    assert len(results) == 6
    told = findings_of(results)
    assert told["Without the penalty neither optimiser does"]


# The preconditioners


def test_adam_operator_is_the_plain_one_for_equal_scales():
    sizes = (3, 3, 3, 3)
    factors = gf.factorizations.random_balanced(jax.random.key(0), sizes, 0.8)
    w = gf.MatrixProduct(sizes).product(factors)
    g = jax.random.normal(jax.random.key(1), (3, 3))
    ones = tuple(jnp.ones_like(f) for f in factors)
    found = factorizations.adam_end_to_end(factors, ones, g)
    np.testing.assert_allclose(found, factorizations.end_to_end(w, g, 3), rtol=1e-10, atol=1e-12)
    assert np.abs(found - printed(w, ones, g)).max() > 1e-3  # the Kronecker order is another


def test_operators_as_matrices():
    sizes = (2, 3, 4)
    factors = gf.factorizations.gaussian_factors(jax.random.key(0), sizes, std=1.0)
    scales = tuple(jnp.exp(f) for f in factors)

    def operator(g):
        return factorizations.adam_end_to_end(factors, scales, g)

    matrix = factorizations.as_matrix(operator, (4, 2))
    g = np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_allclose(
        matrix @ g.ravel(order="F"), np.asarray(operator(jnp.asarray(g))).ravel(order="F"),
        rtol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_preconditioner_picture(tmp_path):
    results = results_of("zhao2022.preconditioner", tmp_path, depths=(1, 2), weights=(0.0,))
    told = findings_of(results)
    assert told["depth 2, lambda 0: the corrected P_WG on the momentum predicts Adam's steps"]
    assert not told[
        "depth 2, lambda 0: the printed P_WG predicts Adam's steps (median error below 10%)"
    ]
    for cell, data in results:
        if cell.depth == 1:
            np.testing.assert_allclose(data["spectrum_gd"], 1, rtol=1e-9)
