"""The claims of li2021: their flows and phases against the library's, which they do not use."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.saddles import saddle_path
from theory_checks.li2021 import _columns, _greedy, _problems
from theory_checks.li2021.phase1 import flow


@pytest.fixture(scope="module")
def chain():
    return _greedy.chains(0, 1)[0]


def test_columns_of_any_size_flow_like_plain_factors():
    posed = _problems.completion(2.0)
    *_, last = _columns.pieces(posed, np.log(1e-4), 3.0)
    plain = flow(posed, 1e-2 * posed.start, 0.0, np.array([3.0]))[0]
    np.testing.assert_allclose(last.gram(last.length), plain, atol=1e-9)
    q, logs = last.columns(last.length)
    np.testing.assert_allclose((q * np.exp(2 * logs)) @ q.T, plain, atol=1e-9)


def test_phases_and_times_are_those_of_the_library(chain):
    """Its flow has twice the speed."""
    posed, nodes = chain
    objective = gf.Objective(
        gf.MatrixSensing(posed.measurements, posed.labels), gf.SymmetricProduct(*posed.start.shape)
    )
    path = saddle_path(objective, (jnp.asarray(posed.start),), max_jumps=2)
    for node, product in zip(nodes, path.products, strict=True):
        np.testing.assert_allclose(product, node.w, atol=1e-9)
    taus = np.cumsum([plateau for plateau, _ in _greedy.pairing(nodes, len(posed.start))])
    np.testing.assert_allclose(2 * path.taus, taus, rtol=1e-8)


def test_rates_at_a_phases_end_by_hand(chain):
    posed, nodes = chain
    h, node = 1e-6, nodes[1]
    slopes = []
    for k in range(node.u.size):
        moved = node.u.ravel() + h * np.eye(node.u.size)[k]
        u = moved.reshape(node.u.shape)
        slopes.append(-(posed.gradient(u @ u.T) @ u).ravel() / h)
    own = np.linalg.eigvals(np.array(slopes)).real
    assert np.isclose(-np.max(own[own < -1e-4]), node.decay, rtol=1e-4)
    assert np.linalg.norm(posed.gradient(node.w) @ node.u) < 1e-12


def test_the_gradients_are_those_of_the_losses():
    rng = np.random.default_rng(0)
    for kind in _problems.LOSSES:
        posed = _problems.drawn(rng, 3, 4, kind)
        w, step = rng.normal(size=(2, 3, 3))
        h = 1e-6
        slope = (posed.loss(w + h * step) - posed.loss(w - h * step)) / (2 * h)
        assert np.isclose(slope, np.sum(posed.gradient(w) * step), rtol=1e-6)
