"""Layers of a product against automatic differentiation and what is known by hand."""

from fractions import Fraction
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

from gradflow.claims.oracles import layers


def drawn(sizes):
    rng = np.random.default_rng(len(sizes))
    return [rng.normal(size=(b, a)) for a, b in zip(sizes, sizes[1:], strict=False)]


def test_slopes_are_those_of_automatic_differentiation():
    for sizes in ((3, 2), (3, 2, 4), (2, 3, 3, 2)):
        ws, target = drawn(sizes), np.ones((sizes[-1], sizes[0]))

        def loss(ws, target=target):
            return jnp.sum((reduce(lambda below, w: w @ below, ws) - target) ** 2) / 2

        found = layers.slopes(ws, lambda w, target=target: w - target)
        for one, other in zip(found, jax.grad(loss)(ws), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_fractions_stay_fractions():
    half = np.array([[Fraction(1, 2)]])
    found = layers.slopes([half, half], lambda w: w - 1)
    assert [w[0, 0] for w in found] == [Fraction(-3, 8)] * 2
    assert layers.multiplied([half, 3 * half])[0, 0] == Fraction(3, 4)
    assert layers.imbalances([half, 2 * half])[0][0, 0] == Fraction(3, 4)


def test_a_flow_without_a_loss_decays():
    ws = drawn((2, 3, 2))
    for method in ("DOP853", "LSODA"):
        start, end = layers.followed(ws, lambda w: 0 * w, np.array([2.0]), 1e-10, 0.5, method)
        for w, first, last in zip(ws, start, end, strict=True):
            np.testing.assert_array_equal(first, w)
            np.testing.assert_allclose(last, w * np.exp(-1.0), rtol=1e-8)
