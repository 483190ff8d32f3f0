"""The claims of wang2024, and their mathematics against other computations."""

import jax.numpy as jnp
import mpmath
import numpy as np
from scipy.integrate import solve_ivp

from gradflow.claims.oracles.high_precision import product_velocity
from theory_checks.wang2024.free_flows import depth_one, unbalanced_end
from theory_checks.wang2024.regression import closed_form, equation6, exact_flow, spiked_rank


def test_the_least_squares_flow_agrees_with_an_integrator():
    x, y, start = np.array([[1, 2, 0], [0, 1, -1]]), np.array([1, 3]), np.array([1, -1, 2])
    found = solve_ivp(
        lambda _, b: 2 * x.T @ (y - x @ b), (0, 0.7), start.astype(float), rtol=1e-11, atol=1e-12
    ).y[:, -1]
    with mpmath.workdps(40):
        t = mpmath.mpf("0.7")
        exact = np.array([float(v) for v in exact_flow(x, y, start, t)])
        formula = np.array([float(v) for v in equation6(x, y, start, t)])
        zero = np.array([float(v) for v in equation6(x, y, None, t)])
        closed = np.array([float(v) for v in closed_form(x, y, t, 2)])
    assert np.allclose(exact, found, atol=1e-9)
    assert np.allclose(formula, exact, atol=1e-14)
    assert np.allclose(zero, closed, atol=1e-14)


def test_equation6_fails_by_hand_from_the_solution_itself():
    x, y, one = np.array([[1]]), np.array([1]), np.array([1])
    with mpmath.workdps(30):
        assert abs(exact_flow(x, y, one, mpmath.mpf(1))[0] - 1) < 1e-25
        formula = equation6(x, y, None, mpmath.mpf(1))[0]
        assert abs(formula - (1 - mpmath.exp(-2))) < 1e-25


def test_the_spiked_identitys_rank_agrees_with_the_library():
    from gradflow.linalg.spectrum import effective_rank_of

    s = np.ones(7)
    s[0] = 1001.0
    assert np.isclose(float(spiked_rank(1000, 7)), float(effective_rank_of(jnp.asarray(s))))


def test_the_depth_one_flow_by_hand():
    with mpmath.workdps(30):
        h, t = mpmath.mpf("1e-8"), mpmath.mpf(2)
        (w, loss), (later, _) = depth_one(t), depth_one(t + h)
        slope = (later - w) / h
        grad = mpmath.matrix([[0, w[0, 1] - 1], [w[1, 0] - 1, w[1, 1]]])
        assert max(abs(v) for v in slope + grad) < 1e-7
        assert abs(loss - sum(v**2 for v in grad) / 2) < 1e-25


def test_the_unbalanced_flow_in_long_arithmetic_agrees_with_an_integrator():
    target, seen = np.array([[0.0, 1], [1, 0]]), np.array([[0.0, 1], [1, 1]])
    end = unbalanced_end(1e-3)

    def fall(_, y):
        first, second = y.reshape(2, 2, 2)
        gap = seen * (second @ first - target)
        return -np.concatenate([(second.T @ gap).ravel(), (gap @ first.T).ravel()])

    start = np.concatenate([4 * np.eye(2).ravel(), np.eye(2).ravel() / 4])
    found = solve_ivp(fall, (0, float(end.time)), start, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    first, second = found.reshape(2, 2, 2)
    exact = np.array([[float(end.product[i, j]) for j in (0, 1)] for i in (0, 1)])
    assert np.allclose(second @ first, exact, atol=1e-9)
    assert float(end.det) < -0.8


def test_a_negative_value_moves_by_a_power_of_its_size():
    # 1x1, L = 3, W = -8, gradient 5; u v^T = 1, so that sigma = -8: the power is of |sigma|.
    sigma, gradient, depth = -8, 5, 3
    with mpmath.workdps(30):
        true = product_velocity(mpmath.matrix([[sigma]]), mpmath.matrix([[gradient]]), depth)[0]
        alpha, g = 2 * (1 - mpmath.mpf(1) / depth), -depth * gradient
        assert mpmath.almosteq(true, g * abs(sigma) ** alpha)
        assert not mpmath.almosteq(true, g * mpmath.mpc(sigma) ** alpha)
