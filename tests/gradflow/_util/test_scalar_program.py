"""Programs of small arrays written out in scalars: the same numbers, and nothing but arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradflow._util import scalar_program
from gradflow._util.scalar_program import evaluate, operations, scalars_of

A, B, V = (np.random.default_rng(0).normal(size=shape) for shape in ((2, 3), (3, 2), (2,)))


def written(function, *arrays):
    """Its results by scalars, as arrays."""
    program = jax.make_jaxpr(function)(*arrays)
    assert operations(program.jaxpr) is not None
    found = evaluate(program, [scalars_of(jnp.asarray(array)) for array in arrays])
    shapes = [v.aval.shape for v in program.jaxpr.outvars]
    assert [part.shape for part in found] == shapes
    return [np.array([float(x) for x in part.flat]).reshape(part.shape) for part in found]


FUNCTIONS = {
    "product": (lambda a, b: a @ b, A, B),
    "product with a vector": (lambda a, v: v @ a, A, V),
    "batch of products": (lambda a, b: jnp.einsum("ij,jk,lj->lik", a, b, a), A, B),
    "outer product": (lambda v: jnp.outer(v, v), V),
    "transposes and slices": (lambda a: (a.T[1:, ::-1], a[:, None] * a[None], a[1, ::2]), A),
    "sums": (lambda a: (jnp.sum(a), jnp.sum(a, axis=0), jnp.prod(a, axis=1)), A),
    "extremes": (lambda a: (jnp.max(a, axis=0), jnp.min(a), jnp.abs(a).max(1)), A),
    "truths": (lambda a: (jnp.any(a > 0, axis=0), jnp.all(a > 0), jnp.where(a > 0, a, 2.0)), A),
    "concatenated": (lambda a, b: jnp.concatenate([a, b.T], axis=1), A, B),
    "stacked": (lambda v: jnp.stack([v, 2 * v], axis=1), V),
    "arithmetic": (lambda a: jnp.exp(-a) / (1 + a**2) ** 0.5 + jnp.tanh(a) ** 3, A),
    "a constant": (lambda a: a + np.arange(6.0).reshape(2, 3), A),
    "diagonal": (lambda a, b: jnp.trace(a @ b) + jnp.arange(2.0), A, B),
    "custom derivatives": (jax.grad(lambda a: jnp.sum(jax.nn.softplus(a) ** 2)), A),
    "recomputed": (jax.checkpoint(lambda a: jnp.sin(a) @ a.T), A),
    "branches": (lambda a: jax.lax.switch((a[0, 0] > 0) + 1, [jnp.sin, jnp.cos, jnp.exp], a), A),
    "products of truths": (lambda a: (a > 0) @ (a > 0).T, A),
    "whole numbers": (lambda a: jnp.sum((a > 0).astype(int) * 3) % 2, A),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalars_give_what_arrays_give(name):
    function, *arrays = FUNCTIONS[name]
    wanted = jax.tree.leaves(function(*map(jnp.asarray, arrays)))
    for ours, theirs in zip(written(function, *arrays), wanted, strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs, float), rtol=1e-14)


def test_a_batch_of_scalars_has_no_products_and_no_sums_over_axes():
    def loss(a, b):
        return jnp.sum((a @ b - 1) ** 2)

    program = jax.make_jaxpr(jax.value_and_grad(loss))(A, B)

    def by_numbers(numbers):
        given = [np.empty(A.shape, object), np.empty(B.shape, object)]
        left = iter(numbers)
        for part in given:
            for place in np.ndindex(part.shape):
                part[place] = next(left)
        return [x for part in evaluate(program, given) for x in part.flat]

    numbers = [jnp.full(5, x) for x in (*A.flat, *B.flat)]
    text = jax.jit(jax.vmap(by_numbers)).lower(numbers).as_text()
    batch = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    control = batch.lower(jnp.ones((5, 2, 3)), jnp.ones((5, 3, 2))).as_text()
    for word in ("dot_general", "reduce", "tensor<5x2"):
        assert word not in text
        assert word in control


@pytest.mark.parametrize(
    "function",
    [
        jnp.linalg.svd,
        lambda a: jax.lax.fori_loop(0, 3, lambda _, x: 2 * x, a),
        lambda a: jax.random.normal(jax.random.key(0), (2,)) * a[0, 0],
        lambda a: a[:0],
        lambda a: jax.lax.cond(a[0, 0] > 0, lambda: a, lambda: jnp.linalg.inv(a[:, :2]) @ a),
    ],
)
def test_what_is_more_than_arithmetic_is_not_written_out(function):
    assert operations(jax.make_jaxpr(function)(A).jaxpr) is None


@pytest.mark.parametrize("side", [30, 40])
def test_large_constants_are_not_taken_apart(side):
    """However little of them is used: each of their scalars would be cut out by itself."""
    large = jnp.ones((side, side))
    program = jax.make_jaxpr(lambda a: a + jax.lax.slice(large, (0, 0), A.shape))(A)
    assert operations(program.jaxpr) == (A.size if side == 30 else None)


def test_operations_are_counted():
    assert operations(jax.make_jaxpr(lambda a, b: a @ b)(A, B).jaxpr) == 2 * 2 * 3 * 2
    assert operations(jax.make_jaxpr(lambda a: jnp.sum(a.T))(A).jaxpr) == 6
    assert operations(jax.make_jaxpr(lambda a: jnp.sin(a) + 1)(A).jaxpr) == 12


def test_every_entrywise_operation_has_the_name_of_one_of_jax():
    names = {name for name in scalar_program._ENTRYWISE if hasattr(jax.lax, f"{name}_p")}
    assert scalar_program._ENTRYWISE - names <= {"add_any", "copy"}
