"""The claims of razin2020 beyond Theorem 1, and their mathematics against other computations."""

import itertools

import mpmath
import numpy as np
import pytest

from gradflow.claims import Settings
from gradflow.claims.oracles.search import largest_ratio, worst_points
from theory_checks.razin2020._effective_rank import entropy_rank
from theory_checks.razin2020.loss_bounds import FLOATS, PRECISE, Situation, draw
from theory_checks.razin2020.matrix_lemmas import entropy, magnitude, nearby_balanced
from theory_checks.razin2020.solution_set import solution, solution_values
from theory_checks.razin2020.theorem2 import POSITIONS, moved
from theory_checks.razin2020.unbalanced import unbalanced_sides


def test_theorem2s_printed_norm_bound_fails_by_hand():
    w, s = np.array([[0.01, 1.0], [1.0, 1010.0]]), 0.01
    assert np.linalg.det(w) > 0
    assert np.hypot(np.hypot(w[0, 1] - 1, w[1, 0] - 1), w[0, 0]) == s
    weights = np.array([[10, 1], [1, 0.1]])
    norm = np.max(weights * np.abs(w))
    a, b = 10.0, max(10.0 / 1, 8 * 10.0)
    assert norm < a / s - b
    assert norm > 0.1 / s - b


def test_the_printed_matrix_of_eq51_is_the_transpose_of_the_projection():
    w, z, z2 = np.array([[3.0, 1], [2, 1]]), 1.0, 2.0
    candidates = np.linspace(-3, 3, 601)
    assert np.isclose(np.linalg.det(w), 1)
    distance = min(np.linalg.norm(w - [[c, z], [z2, 0]]) for c in candidates)
    assert np.isclose(distance, 1.0)
    assert np.isclose(np.linalg.norm(w - [[3, z2], [z, 0]]), np.sqrt(3))


def test_situation_agrees_with_a_singular_value_decomposition_and_with_mpmath():
    x = draw(True)(np.random.default_rng(0), 40)
    at = Situation(x.T, FLOATS)
    for k in range(len(x)):
        w = np.array([[at.w11[k], at.w12[k]], [at.w21[k], at.w22[k]]])
        # The first value is known to round-off; the second only relative to the first.
        s = np.linalg.svd(w, compute_uv=False)
        assert np.isclose(at.first[k], s[0], rtol=1e-12)
        with mpmath.workdps(50):
            exact = Situation([mpmath.mpf(float(v)) for v in x[k]], PRECISE)
            assert np.isclose(float(exact.second), at.second[k], rtol=1e-9)
            assert np.sign(float(exact.det)) == np.sign(x[k, 4] * x[k, 5])


@pytest.mark.parametrize("position", POSITIONS)
def test_moving_an_entry_keeps_values_and_turns_the_determinant(position):
    w = np.random.default_rng(1).normal(size=(2, 2))
    found = moved(w, position)
    assert found[position] == w[0, 0]
    assert np.allclose(np.linalg.svd(found)[1], np.linalg.svd(w)[1])
    sign = 1 if position[0] == position[1] else -1
    assert np.isclose(np.linalg.det(found), sign * np.linalg.det(w))


def test_the_nearby_tuple_is_balanced_and_starts_with_the_first_factor():
    factors = list(np.random.default_rng(2).normal(size=(3, 5, 4, 4)))
    near = nearby_balanced(factors)
    assert np.max(magnitude(near)) < 1e-12
    assert np.array_equal(near[0], factors[0])


def test_lemma1_is_sharp_at_one_zero():
    zero, one = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    near = nearby_balanced([zero, one])
    assert magnitude([zero, one])[0] == 1 and np.all(near[1] == 0)


def test_entropies_agree_with_scipy():
    special = pytest.importorskip("scipy.special")
    p = np.linspace(0, 1, 33)
    assert np.allclose(entropy(p), special.entr(p) + special.entr(1 - p), atol=1e-15)
    assert np.isclose(entropy_rank(3.0, 1.0), np.exp(entropy(np.array(0.25))) - 1)


def test_values_of_the_solutions():
    x = np.array([-7.0, 0.0, 0.3, 12.0])
    assert np.allclose(np.linalg.svd(solution(x), compute_uv=False), solution_values(x))


def test_an_unbalanced_flow_loses_its_positive_determinant():
    found = unbalanced_sides(2, 3.0)
    det = np.linalg.det(found["product"])
    assert det[0] > 0 and det[-1] < -0.9
    assert found["loss"][-1] < 1e-12


def test_the_search_finds_a_known_maximum():
    def draw_box(rng, count):
        return rng.uniform(-2, 2, (count, 2))

    value, point, _ = largest_ratio(
        lambda x: np.exp(-((x[:, 0] - 1) ** 2) - x[:, 1] ** 2), draw_box, Settings()
    )
    assert np.isclose(value, 1, atol=1e-9) and np.allclose(point, [1, 0], atol=1e-3)
    worst, _ = worst_points(
        lambda x: np.sum(x**2, axis=1), draw_box, np.random.default_rng(0), samples=50, starts=2
    )
    assert np.allclose(worst, 0, atol=1e-4)


def test_sign_patterns_are_fair_for_a_matrix_by_hand():
    signs = np.array(list(itertools.product((1, -1), repeat=4))).reshape(-1, 2, 2)
    det = signs[:, 0, 0] * 6 * signs[:, 1, 1] - signs[:, 0, 1] * 5 * signs[:, 1, 0]
    assert np.sum(det > 0) == np.sum(det < 0) == 8
