"""Products of small matrices as sums: the same numbers, and no call of a library in the program."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.linalg import products


@pytest.fixture
def as_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(products.jax, "default_backend", lambda: "gpu")


def lowered(objective, starts):
    return jax.jit(jax.vmap(objective.loss_and_gradient)).lower(starts).as_text()


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (3, 2, 4), (1, 1, 1), (4, 5, 4)])
def test_sums_give_the_products(sizes, as_on_an_accelerator, monkeypatch):
    rng = np.random.default_rng(0)
    model = gf.MatrixProduct(sizes)
    target = jnp.asarray(rng.normal(size=model.shape))
    objective = gf.Objective(
        gf.problems.LossFunction(model.shape, lambda w: jnp.sum((w - target) ** 2)), model
    )
    starts = tuple(jnp.asarray(rng.normal(size=(6, *shape))) for shape in model.factor_shapes)
    found = jax.vmap(objective.loss_and_gradient)(starts)
    small = max(sizes) <= products.TINY
    assert ("dot_general" in lowered(objective, starts)) != small
    monkeypatch.undo()
    assert "dot_general" not in lowered(objective, starts)
    on_a_cpu = jax.vmap(objective.loss_and_gradient)(starts)
    monkeypatch.setattr(products, "SMALL", 0)
    assert "dot_general" in lowered(objective, starts)
    wanted = jax.vmap(objective.loss_and_gradient)(starts)
    for mine in (found, on_a_cpu):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14), mine, wanted
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cpu_calls_a_library_for_products_that_are_worth_it(dtype):
    def called(m, k, n):
        a, b = jnp.ones((m, k), dtype), jnp.ones((k, n), dtype)
        np.testing.assert_allclose(products.product(a, b), k, rtol=1e-6)
        return "dot_general" in jax.jit(products.product).lower(a, b).as_text()

    sizes = [(2, 2, 2), (13, 13, 13), (4, 100, 6), (1, 1, 2500)]
    assert not any(called(*size) for size in sizes)
    assert all(called(*size) for size in [(14, 14, 14), (4, 100, 7), (1, 1, 2501)])


def test_small_products_have_derivatives_and_batches():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 5))
    slope = jax.grad(lambda a: jnp.sum(products.product(a, b) ** 2))(a)
    np.testing.assert_allclose(slope, 2 * (a @ b) @ b.T, rtol=1e-13)
    many = jnp.stack([a, 2 * a])
    np.testing.assert_allclose(jax.vmap(products.product, (0, None))(many, b), many @ b, rtol=1e-13)


@pytest.mark.parametrize(("size", "dtype"), [(64, "float64"), (64, "float32"), (8, "float64")])
def test_transposes_stand_by_themselves_where_a_cpu_is_faster_so(size, dtype):
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(size, size + k)), dtype) for k in (1, 2))
    found = products.transposed_product(a, b)
    np.testing.assert_allclose(found, np.asarray(a).T @ np.asarray(b), rtol=1e-4, atol=1e-4)
    text = jax.jit(products.transposed_product).lower(a, b).as_text()
    assert ("optimization_barrier" in text) == (size == 64 and dtype == "float64")
    slope = jax.grad(lambda a: jnp.sum(products.transposed_product(a, b)))(a)
    np.testing.assert_allclose(slope, np.tile(np.sum(b, axis=1)[:, None], size + 1), rtol=1e-4)


def test_a_vector_is_multiplied_on_an_accelerator_too(as_on_an_accelerator):
    a, b = np.random.default_rng(0).normal(size=(4, 3)), np.arange(4.0)
    np.testing.assert_allclose(products.transposed_product(a, b), a.T @ b, rtol=1e-14)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_sizes_that_differ_are_refused_and_none_are_a_sum_of_nothing(device, monkeypatch):
    monkeypatch.setattr(products.jax, "default_backend", lambda: device)
    product = inspect.unwrap(products.product)  # without the tests' own check of shapes
    for left, right in (((2, 1), (4, 2)), ((2, 3), (1, 2)), ((2, 3), (4, 2))):
        with pytest.raises(TypeError, match="contracting"):  # of size 1 it had been repeated
            product(np.ones(left), np.ones(right))
    assert product(np.ones((2, 0)), np.ones((0, 3))).tolist() == [[0.0] * 3] * 2
