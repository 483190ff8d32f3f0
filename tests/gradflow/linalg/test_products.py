"""Products of tiny matrices as sums: the same numbers, and no call of a library in the program."""

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
    assert "dot_general" in lowered(objective, starts)
    wanted = jax.vmap(objective.loss_and_gradient)(starts)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14), found, wanted
    )


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
