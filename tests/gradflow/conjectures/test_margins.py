"""Margins at limits that are written down, without a flow."""

from fractions import Fraction

import numpy as np
import pytest

import gradflow as gf
from gradflow.conjectures import (
    ProductCompletions,
    Reached,
    Regressions,
    SymmetricCompletions,
    determinant_sign_kept,
    least_l1_norm,
    least_nuclear_norm,
    least_trace,
    rank_at_most,
)
from gradflow.conjectures.margins import is_semidefinite

SMALLEST = SymmetricCompletions().build((((0, 0, 1), (0, 1, 1), (1, 2, 2)), ()))


def reached(trial, product, loss=0.0):
    return Reached(trial, np.asarray(product, float), loss, "written down", None)


def test_the_witness_of_a_trace_is_exact():
    v = np.array([1.0, 1.0, 2.0])
    margin = least_trace(reached(SMALLEST, np.outer(v, v)))
    assert margin.value == pytest.approx(-0.2, abs=1e-6)
    assert margin.error < 1e-6
    assert margin.witness == (
        "[[1, 1, 1], [1, 2, 2], [1, 2, 2]] is positive semidefinite, fits and has trace 5, not 6"
    )


def test_the_least_trace_has_no_margin_and_misfits_are_not_spoken_of():
    least = gf.baselines.minimum_trace(SMALLEST.objective.problem)
    assert abs(least_trace(reached(SMALLEST, least.product)).value) < 1e-6
    assert least_trace(reached(SMALLEST, least.product, loss=1e-3)) is None


def test_norms_of_vectors_and_matrices():
    trial = Regressions().build((((1, 2, 1),), ()))
    assert least_l1_norm(reached(trial, [0.0, 0.5])).value == 0
    worse = least_l1_norm(reached(trial, [1.0, 0.0]))
    assert worse.value == -1 and worse.witness.startswith("[0.0, 0.5] fits")
    square = ProductCompletions().build((((0, 1, 1), (1, 0, 1)), (((1, 0), (0, 1)),)))
    margin = least_nuclear_norm(reached(square, [[1.0, 1.0], [1.0, 1.0]]))
    assert abs(margin.value) < 1e-6
    assert least_nuclear_norm(reached(square, [[3.0, 1.0], [1.0, 1.0]])).value < -0.1


def test_other_problems_are_refused():
    trial = Regressions().build((((1, 2, 1),), ()))
    for margin in (least_trace, least_nuclear_norm):
        with pytest.raises(ValueError, match="not of a LeastSquares"):
            margin(reached(trial, [0.0, 0.5]))
    with pytest.raises(ValueError, match="not of a MatrixCompletion"):
        least_l1_norm(reached(SMALLEST, np.eye(3)))
    for margin in (determinant_sign_kept, rank_at_most(1)):
        with pytest.raises(ValueError, match="of a matrix"):
            margin(reached(trial, [0.0, 0.5]))


def test_signs_and_ranks():
    trial = ProductCompletions().build((((0, 1, 1),), (((1, 0), (0, 1)),)))
    assert determinant_sign_kept(reached(trial, np.eye(2))).value == pytest.approx(0.5)
    assert determinant_sign_kept(reached(trial, np.diag([1.0, -1.0]))).value == pytest.approx(-0.5)
    assert rank_at_most(1)(reached(trial, np.diag([2.0, 1.0]))).value == -0.5
    assert rank_at_most(2)(reached(trial, np.eye(2))).value == 0
    with pytest.raises(ValueError, match="rank"):
        rank_at_most(0)


def test_rational_matrices_are_told_semidefinite():
    rng = np.random.default_rng(0)
    for _ in range(50):
        u = rng.integers(-2, 3, (3, int(rng.integers(1, 4))))
        w = u @ u.T
        assert is_semidefinite([[Fraction(int(x)) for x in row] for row in w])
        w = w - (np.linalg.eigvalsh(w)[0] > 0.5) - np.eye(3, dtype=int) * (1 + w.max())
        assert not is_semidefinite([[Fraction(int(x)) for x in row] for row in w])
    assert not is_semidefinite([[Fraction(1), Fraction(1)], [Fraction(0), Fraction(1)]])
