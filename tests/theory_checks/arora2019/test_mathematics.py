"""The claims of Arora et al. 2019, and the mathematics that they rest on."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from theory_checks.arora2019._linear_programmes import minimal_trace
from theory_checks.arora2019.alignment import (
    matrix_f,
    matrix_g,
    matrix_h,
    product_velocity,
    stationary_gradients,
    vector_velocity,
)
from theory_checks.arora2019.lemma2 import Formula
from theory_checks.arora2019.lemma4 import closed_form, integral_of, integrate
from theory_checks.arora2019.nuclear_norm import ends_of_flows
from theory_checks.arora2019.two_values import asymptote


def random_matrix(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (2, 4)])
def test_vector_velocity_against_differences_of_two_decompositions(shape):
    w, dw = random_matrix(0, shape), random_matrix(1, shape)
    u, v, du, dv = vector_velocity(w, dw)
    step = 1e-5
    for frame, slope, side in ((u, du, 0), (v, dv, 1)):
        ends = []
        for sign in (1, -1):
            left, _, right = np.linalg.svd(w + sign * step * dw, full_matrices=False)
            end = (left, right.T)[side]
            ends.append(end * np.sign(np.sum(end * frame, axis=0)))
        assert np.allclose((ends[0] - ends[1]) / (2 * step), slope, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (2, 4), (1, 3)])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_corrected_lemma_2_against_eigenvector_perturbation(shape, depth):
    w, g = random_matrix(2, shape), random_matrix(3, shape)
    u, v, du, dv = vector_velocity(w, product_velocity(w, g, depth))
    s = np.linalg.svd(w, compute_uv=False)
    for side, slope in (("left", du), ("right", dv)):
        formula = Formula(side, transposed=False, signed=True, turn=1.0)
        assert np.allclose(formula.velocity(u, s, v, g, depth), slope, atol=1e-10)
    flip = np.array([-1.0, *[1.0] * (len(s) - 1)])
    formula = Formula("left", transposed=False, signed=True, turn=1.0)
    assert np.allclose(formula.velocity(u * flip, s * flip, v, g, depth), du * flip, atol=1e-10)


def test_printed_equation_9_is_right_only_where_u_is_symmetric():
    w, g = random_matrix(4, (2, 3)), random_matrix(5, (2, 3))
    u, v, _, dv = vector_velocity(w, product_velocity(w, g, 2))
    s = np.linalg.svd(w, compute_uv=False)
    printed = Formula("right", transposed=True, signed=False, turn=1.0)
    for reflects in (True, False):  # a reflection of the plane is a symmetric matrix
        flip = np.array([1.0, np.sign(np.linalg.det(u)) * (-1.0 if reflects else 1.0)])
        right = printed.velocity(u * flip, s, v * flip, g, 2)
        assert np.allclose(right, dv * flip, atol=1e-3) == reflects
    assert printed.velocity(v, s, u, g.T, 2) is None  # the shapes do not fit for d > d'


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_negative_value_alone_breaks_equations_8_and_9(side):
    # W = (-1/2, -3/4) or its row, N = 1, gradient (1/2, 1/2): dW/dt is minus that, so with
    # p = (2, 3) / sqrt(13) and sigma = -sqrt(13) / 4 its direction moves by (6, -4) / 13^(3/2).
    p, g = np.array([[2.0], [3.0]]) / np.sqrt(13), np.full((2, 1), 0.5)
    one, s, true = np.ones((1, 1)), np.array([-np.sqrt(13) / 4]), np.array([[6.0], [-4.0]])
    at = (p, s, one, g, 1) if side == "left" else (one, s, p, g.T, 1)
    for transposed, signed in ((True, False), (False, False), (False, True)):
        found = Formula(side, transposed, signed, turn=1.0).velocity(*at)
        assert np.allclose(found, true / 13**1.5 * (1 if signed else -1), atol=1e-15)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_f_is_h_times_g_with_the_terms_of_equation_39_exchanged(depth):
    s = np.array([-1.5, 0.7, 0.2])
    f = matrix_h(s) * matrix_g(s, depth)
    assert np.allclose(f, matrix_f(s, depth, corrected=True))
    assert np.allclose(f, -f.T)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (2, 4)])
def test_gradients_that_keep_the_vectors_are_those_with_the_same_vectors(shape):
    w = random_matrix(6, shape)
    basis, _ = stationary_gradients(w, 3, both=True)
    assert len(basis) == min(shape)
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    for r in range(min(shape)):
        wanted = np.outer(u[:, r], vt[r]).ravel()
        inside = basis.reshape(len(basis), -1)
        assert np.allclose(inside.T @ (inside @ wanted), wanted, atol=1e-10)


def test_minimal_trace_against_a_numerical_solver():
    rng = np.random.default_rng(7)
    for _ in range(10):
        a = rng.integers(-2, 4, size=(2, 5))
        y = a @ rng.integers(1, 5, size=5)
        found = minimal_trace(a.tolist(), y.tolist(), [1] * 5)
        numerical = linprog(np.ones(5), A_eq=a, b_eq=y)
        assert np.isclose(float(found.value), numerical.fun)
        assert sum(n * int(t) for n, t in zip(found.dual, y, strict=True)) == found.value
        assert all(
            sum(n * int(t) for n, t in zip(found.dual, a[:, k], strict=True)) <= 1 for k in range(5)
        )


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_ends_of_flows_against_the_diagonal_flow(depth):
    a, y, e = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), np.array([2.0, 1.0]), 0.25
    path = ends_of_flows(a.astype(int).tolist(), [2, 1], depth, e)
    alpha = np.exp(-1 / (2 * e)) if depth == 2 else e ** (1 / (depth - 2))

    def field(t, w):
        return -depth * (w**2) ** (1 - 1 / depth) * ((a @ w - y) @ a)

    run = solve_ivp(field, (0, 200), np.full(3, alpha**depth), "LSODA", rtol=1e-11, atol=1e-13)
    assert np.allclose([float(x) for x in path.ends[-1]], run.y[:, -1], atol=1e-8)


def test_lemma_4_needs_alpha_at_least_one_half():
    g = np.array([-1.0, -1.0, -1.0, -1.0, -1.0, -1.0])
    times = np.array([1.0, 5.0])
    kept = integrate(1.0, 0.5, g, times, 1e-10)
    assert np.all(kept > 0) and np.isclose(kept[0], closed_form(1.0, 0.5, integral_of(g, 1.0)))
    lost = integrate(1.0, 0.2, g, np.array([4.0]), 1e-6)
    assert lost[0] < 0


def test_the_asymptote_is_infinite_from_the_printed_counterexample_on():
    half = mpmath.mpf(1) / 2
    assert asymptote(9, 1, half, 4) == mpmath.inf
    assert mpmath.almosteq(asymptote(1, 1, half, 4), 4)
    first = mpmath.mpf(46656) / 15625
    limits = [asymptote(first, 1, half, n) for n in (3, 4)]
    wanted = [Fraction(46656, 343), Fraction(46656, 289)]
    assert [round(float(x), 8) for x in limits] == [round(float(x), 8) for x in wanted]
