"""Adam's model: the field by its formula; misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import factorizations, synthetic
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.state import State
from tests.gradflow.dynamics.adam import in_factors, numpy_gradients, objective, spread, start
from tests.helpers import refuses


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("smoothing", [None, 0.0, 0.2])
def test_the_field_is_the_formula(depth, smoothing, penalty):
    model = objective(depth, gf.NuclearNorm(penalty) if penalty else None)
    factors = start(model)
    variance = spread(factors)
    held = in_factors(model, factors, variance, smoothing)
    for found, g, s2 in zip(
        held.velocity(factors), numpy_gradients(factors, penalty), variance, strict=True
    ):
        np.testing.assert_allclose(
            found, -g / np.sqrt(g**2 + s2 + (smoothing or 0.0) ** 2), rtol=1e-11
        )


@pytest.mark.parametrize("given", [None, 0, 0.0, [0.0, 0.0], (0, np.zeros((4, 3)))], ids=repr)
def test_full_batches_give_smoothed_signs(given):
    model = objective(2)
    factors = start(model)
    held = in_factors(model, factors, given, smoothing=1e-9)
    for found, g in zip(held.velocity(factors), numpy_gradients(factors), strict=True):
        np.testing.assert_allclose(found, -np.sign(g), atol=1e-12)
        assert np.abs(g).min() > 1e-3  # so that 1 - |velocity| is below (1e-9 / 1e-3)^2


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_one_number_serves_all_factors_whatever_its_size(scale):
    model = objective(2)
    factors = start(model)
    held = in_factors(model, factors, variance=np.float64(scale))
    assert [v.shape for v in held.dynamics.variance] == [f.shape for f in factors]
    assert held.dynamics.smoothing == 0
    for found, g in zip(held.velocity(factors), numpy_gradients(factors), strict=True):
        np.testing.assert_allclose(found, -g / np.hypot(g, scale**0.5), rtol=1e-11)


@pytest.mark.parametrize("smoothing", [1e-300, 1e-3])
def test_where_the_gradient_is_zero_nothing_moves(smoothing):
    model = objective(2)
    zeros = tuple(jnp.zeros_like(f) for f in start(model))
    held = in_factors(model, zeros, smoothing=smoothing)
    for found in held.velocity(zeros):
        np.testing.assert_array_equal(found, 0.0)
    assert held.squared_gradient_norm(zeros) == 0


def test_no_entry_moves_faster_than_one():
    model = objective(3)
    factors = start(model, std=3.0)
    for variance, smoothing in [(None, 1e-6), (0.5, None), (spread(factors), 0.1)]:
        held = in_factors(model, factors, variance, smoothing)
        assert all(np.abs(v).max() <= 1 for v in held.velocity(factors))


@pytest.mark.parametrize("penalty", [None, gf.NuclearFrobeniusRatio(0.3)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_value_falls_at_the_rate_that_is_given(depth, penalty):
    model = objective(depth, penalty)
    factors = start(model)
    held = in_factors(model, factors, spread(factors), 0.1)
    value, falling = jax.jvp(held.value, (factors,), (held.velocity(factors),))
    pairs = zip(model.gradient(factors), held.velocity(factors), strict=True)
    assert falling < 0
    np.testing.assert_allclose(falling, sum(np.sum(g * v) for g, v in pairs), rtol=1e-11)
    np.testing.assert_allclose(value, model.value(factors), rtol=1e-15)


def test_the_chart_shows_what_the_factors_show():
    model = gf.Objective(synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)), gf.NuclearNorm(0.3))
    factors = start(model)
    held, wanted = in_factors(model, factors, smoothing=0.1), FactorCoordinates(model)
    assert held.factors(factors) is factors
    assert held.problem is model.problem
    for name in ("product", "loss", "penalty", "value", "singular_values", "slogdet", "smooth"):
        np.testing.assert_array_equal(
            getattr(held, name)(factors), getattr(wanted, name)(factors), err_msg=name
        )
    assert not held.smooth(tuple(0 * f for f in factors))


def test_balancedness_is_not_conserved():
    model = objective(2)
    factors = factorizations.balanced_factors(
        np.random.default_rng(0).normal(size=(4, 3)), (3, 3, 4)
    )

    def difference(y):
        return y[1].T @ y[1] - y[0] @ y[0].T

    def drift(held):
        return np.abs(jax.jvp(difference, (factors,), (held.velocity(factors),))[1]).max()

    assert drift(FactorCoordinates(model)) < 1e-13
    assert drift(in_factors(model, factors, smoothing=1e-3)) > 0.1


def test_the_share_counts_gradients_up_to_epsilon():
    model = objective(2)
    factors = start(model)
    gradients = np.concatenate([np.ravel(g) for g in numpy_gradients(factors)])
    for smoothing in (1e-6, np.median(np.abs(gradients)) * (1 + 1e-9), 1e3):
        held = in_factors(model, factors, smoothing=float(smoothing))
        np.testing.assert_allclose(
            gf.dynamics.smoothed_share(State(held, factors)),
            np.mean(np.abs(gradients) <= smoothing),
        )


TWO = objective(2)


FACTORS = start(TWO)


SHAPES = [f.shape for f in FACTORS]


TENSOR = gf.Objective(gf.TensorCompletion((2, 2, 2), [[0, 1, 0]], [3.0]), gf.CPTensor((2, 2, 2), 1))


SENSING = gf.Objective(gf.MatrixSensing(np.eye(2)[None], [3.0]), gf.MatrixProduct((2, 2)))


REFUSED = {
    "no variance, no smoothing": (
        lambda: in_factors(TWO, FACTORS), "-sign(gradient)", "smoothing is 0; give"),
    "smoothing zero": (
        lambda: in_factors(TWO, FACTORS, 0.0, 0.0), "W_1", "smoothing is 0; give one above 0"),
    "one variance zero": (
        lambda: in_factors(TWO, FACTORS, [1.0, np.eye(*SHAPES[1])]), "W_2", "jumps where"),
    "smoothing negative": (
        lambda: in_factors(TWO, FACTORS, 1.0, -0.1), "smoothing", "-0.1"),
    "smoothing infinite": (
        lambda: in_factors(TWO, FACTORS, 1.0, np.inf), "smoothing", "inf"),
    "variance negative": (
        lambda: in_factors(TWO, FACTORS, [1.0, -2.0]), "variance[1] must be 0 or more", "-2.0"),
    "variance no number": (
        lambda: in_factors(TWO, FACTORS, [np.nan, 1.0]), "variance[0]", "nan"),
    "too few variances": (
        lambda: in_factors(TWO, FACTORS, [1.0]), "1 variances but 2 factors", "one for each"),
    "shape of a variance": (
        lambda: in_factors(TWO, FACTORS, [1.0, np.ones((2, 2))]),
        "variance[1] has shape (2, 2) but W_2 has shape (4, 3)", "or a number"),
    "shape of a factor": (
        lambda: in_factors(TWO, FACTORS[::-1], 1.0), "factors have shapes", "factors[0] is W_1"),
    "precision": (
        lambda: in_factors(TWO, gf.astype(FACTORS, jnp.float32), 1.0),
        "factors is float32", "gradflow.astype"),
    "batch zero": (lambda: gf.dynamics.sampled_variance(TWO, FACTORS, 0), "batch", "0"),
    "batch too large": (
        lambda: gf.dynamics.sampled_variance(TWO, FACTORS, 9), "observed entries, 8", "9"),
    "tensor": (
        lambda: gf.dynamics.sampled_variance(TENSOR, FACTORS, 1), "TensorCompletion and CPTensor",
            "arrays"),
    "sensing": (
        lambda: gf.dynamics.sampled_variance(SENSING, FACTORS, 1), "MatrixSensing", "as arrays"),
    "share": (
        lambda: gf.dynamics.smoothed_share(State(FactorCoordinates(TWO), FACTORS)),
        "have a smoothing", "gradflow.AdamFlow"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
