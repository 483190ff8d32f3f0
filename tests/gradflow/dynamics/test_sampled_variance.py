"""Minibatch variances by counting all batches."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.gradflow.dynamics.adam import gradients, numpy_gradients, objective, start


def counted(model, factors, batch):
    """Variance over all batches, each gradient by differentiating the batch's own loss."""
    n = model.problem.observations
    picked = [np.isin(range(n), some) for some in itertools.combinations(range(n), batch)]
    rows = np.zeros((10, n))  # as many as there are batches of 2, so that all compile once
    rows[: len(picked)] = picked
    draws = gradients(model, factors, n / batch * rows)
    return [np.var(part[: len(picked)], axis=0) for part in draws]


@pytest.mark.parametrize("batch", [1, 2, 4, 5])
@pytest.mark.parametrize("loss", ["half_sum", "sum", "mean"])
@pytest.mark.parametrize("sizes", [(2, 3), (2, 2, 3), (2, 3, 1, 3), (2, 4, 3, 2, 3)])
def test_the_variance_is_what_counting_all_batches_gives(sizes, loss, batch):
    rng = np.random.default_rng(len(sizes))
    where = [[0, 0], [0, 1], [1, 1], [2, 0], [2, 1]]
    problem = gf.MatrixCompletion((3, 2), where, rng.normal(size=5), loss=loss)
    model = gf.Objective(problem, gf.MatrixProduct(sizes))
    factors = tuple(jnp.asarray(rng.normal(size=s)) for s in model.factorization.factor_shapes)
    found = gf.sampled_variance(model, factors, batch)
    for a, b in zip(found, counted(model, factors, batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    if batch == 5:
        assert all(not np.any(v) for v in found)


def test_a_penalty_adds_no_variance():
    factors = start(objective(2))
    for a, b in zip(
        gf.sampled_variance(objective(2), factors, 3),
        gf.sampled_variance(objective(2, gf.NuclearNorm(1.0)), factors, 3),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_one_observation_has_no_variance():
    model = gf.Objective(gf.MatrixCompletion((2, 2), [[0, 0]], [1.0]), gf.MatrixProduct((2, 2)))
    np.testing.assert_array_equal(gf.sampled_variance(model, (jnp.zeros((2, 2)),), 1)[0], 0.0)


def test_equal_contributions_have_a_variance_that_is_not_below_zero():
    """Every entry pulls at the one factor alike: the true variance in W_1 is 0, up to rounding."""
    problem = gf.MatrixCompletion((7, 1), [[i, 0] for i in range(7)], np.full(7, 0.1))
    model = gf.Objective(problem, gf.MatrixProduct((1, 1, 7)))
    factors = (jnp.full((1, 1), 0.3), jnp.full((7, 1), 0.7))
    found = gf.sampled_variance(model, factors, 3)
    assert all(jnp.all(v >= 0) for v in found)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-16)


def test_a_sampled_variance_makes_a_field():
    model = objective(2)
    factors = start(model)
    variance = gf.sampled_variance(model, factors, 2)
    chart = gf.adam_chart(model, factors, variance)
    for found, g, s2 in zip(
        chart.velocity(factors), numpy_gradients(factors), variance, strict=True
    ):
        np.testing.assert_allclose(found, -g / np.sqrt(g**2 + np.asarray(s2)), rtol=1e-11)
