"""The claims of the vanishing start: diagonal networks in their dual against their parameters."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from theory_checks.limit import _diagonal


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_dual_tells_the_parameters_of_a_flow(depth):
    net = _diagonal.drawn(np.random.default_rng(depth), depth, (2, 3))
    log_alpha = np.log(1e-2)
    scale = 1e-2 ** (1 / depth)

    def fall(_, state):
        a, b = state[:3], state[3:]
        g = net.x.T @ (net.x @ (a**depth - b**depth) - net.y)
        return np.concatenate([-depth * a ** (depth - 1) * g, depth * b ** (depth - 1) * g])

    start = scale * np.concatenate([net.plus, net.minus])
    end = solve_ivp(fall, (0, 2.0), start, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    _, dual = _diagonal.flow(net, log_alpha, 2.0, np.array([1e-9]))
    found, _ = _diagonal.sides(net, log_alpha, dual(2.0))
    np.testing.assert_allclose(found, end[:3] ** depth - end[3:] ** depth, atol=1e-7)


def test_the_slopes_of_the_sides():
    h, eta = 1e-6, np.array([0.2, -0.1, 0.05])
    for depth in (2, 3, 5):
        net = _diagonal.drawn(np.random.default_rng(1), depth, (2, 3))
        (up, _), (down, _) = (_diagonal.sides(net, -6.0, eta + s * h) for s in (1, -1))
        slopes = _diagonal.sides(net, -6.0, eta)[1]
        np.testing.assert_allclose((up - down) / (2 * h), slopes, rtol=1e-5)


def test_saddles_are_least_losses_of_their_signs():
    for depth in (2, 4):
        net = _diagonal.drawn(np.random.default_rng(2), depth, (4, 6))
        nodes = _diagonal.path(net)
        assert np.all(np.diff([node.loss for node in nodes]) < 0) and nodes[-1].loss < 1e-20
        for node in nodes:
            np.testing.assert_allclose(node.drift[node.beta != 0], 0, atol=1e-9)
