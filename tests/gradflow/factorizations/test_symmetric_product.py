"""W = U U^T: differentiation, starts, SciPy, the symmetric two-layer product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.helpers import flow_by_scipy, orthonormal, refuses

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
MODEL = gf.SymmetricProduct(4, 3)
U = jnp.asarray(RNG.normal(size=(4, 3)))


def semidefinite(values, seed=1):
    q = orthonormal(np.random.default_rng(seed), 4, len(values))
    return q @ np.diag(values) @ q.T


def test_product_and_pullback():
    np.testing.assert_allclose(MODEL.product((U,)), np.asarray(U) @ np.asarray(U).T, rtol=1e-14)
    g = jnp.asarray(RNG.normal(size=(4, 4)))
    w, partial = MODEL.forward((U,))
    (wanted,) = jax.grad(lambda f: jnp.sum(g * MODEL.product(f)))((U,))
    np.testing.assert_allclose(MODEL.pullback((U,), partial, g)[0], wanted, atol=1e-13)
    assert MODEL.invariants((U,)) == () and MODEL.degree == 2
    np.testing.assert_allclose(MODEL.product((2 * U,)), 2**MODEL.degree * w)


TARGET = semidefinite([2.0, 1.0])
ENTRIES = [[0, 1], [1, 0], [0, 2], [2, 0], [3, 3], [1, 1]]
PROBLEM = gf.MatrixCompletion((4, 4), ENTRIES, TARGET[tuple(np.transpose(ENTRIES))])


def test_the_flow_agrees_with_scipy_and_keeps_the_product_semidefinite():
    start = MODEL.gaussian(KEY, std=0.3)
    observe = ["loss", "product", "unbalancedness"]
    flow = gf.solve_flow(
        gf.Objective(PROBLEM, MODEL), start, horizon=3.0, rtol=1e-10, observe=observe
    )
    mask, target = np.asarray(PROBLEM.mask), np.asarray(PROBLEM.target)

    def velocity(factors):
        (u,) = factors
        return (-2 * (mask * (u @ u.T - target)) @ u,)

    (wanted,) = flow_by_scipy(velocity, start, 3.0)
    np.testing.assert_allclose(flow.final["W_1"], wanted, atol=1e-8)
    assert np.linalg.eigvalsh(flow["product"]).min() > -1e-15
    assert not flow["unbalancedness"].any()
    assert "invariant_drift" not in flow.stats


def test_it_is_the_two_layer_product_from_transposed_factors_in_half_the_time():
    """W_2 = U, W_1 = U^T: each moves with G U where U alone moves with 2 G U."""
    start = MODEL.gaussian(KEY, std=0.3)
    two = gf.Objective(PROBLEM, gf.MatrixProduct((4, 3, 4)))
    slow = gf.solve_flow(two, (start[0].T, start[0]), horizon=2.0, rtol=1e-10)
    fast = gf.solve_flow(gf.Objective(PROBLEM, MODEL), start, horizon=1.0, rtol=1e-10)
    np.testing.assert_allclose(fast.final["W_1"], slow.final["W_2"], atol=1e-8)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("values", [[2.0, 1.0, 0.5], [1.0], [3.0, 3.0], [0.0]])
def test_balanced_gives_the_matrix_back(values, key):
    w = semidefinite(values)
    for rank in (3, 4, 6):
        (u,) = gf.SymmetricProduct(4, rank).balanced(w, key)
        assert u.shape == (4, rank)
        np.testing.assert_allclose(u @ u.T, w, atol=1e-14)


def test_an_array_as_the_start_of_a_flow_is_the_product():
    objective = gf.Objective(PROBLEM, MODEL)
    flow = gf.solve_flow(objective, TARGET, horizon=1.0, observe=["loss"])
    assert flow["loss"][0] < 1e-28


def test_starts():
    np.testing.assert_allclose(
        MODEL.product(MODEL.identity(0.25)), np.diag([0.25] * 3 + [0.0]), rtol=1e-15
    )
    assert MODEL.unbalancedness((U,)) == 0 == MODEL.relative_unbalancedness((U,))
    assert MODEL.nearest_balanced((U,))[0] is U
    np.testing.assert_array_equal(
        MODEL.random_balanced(KEY, 0.1)[0], MODEL.gaussian(KEY, product_std=0.1)[0]
    )

    def corner(key):
        w = MODEL.product(MODEL.gaussian(key, product_std=0.2))
        return jnp.stack([w[0, 1] ** 2, w[0, 0]])

    off, on = np.asarray(jax.vmap(corner)(jax.random.split(KEY, 20_000))).T
    for samples, wanted in ((off, 0.04), (on, 0.2 * 3**0.5)):
        error = samples.std() / len(samples) ** 0.5
        assert error < 0.1 * wanted and abs(samples.mean() - wanted) < 4 * error


REFUSED = {
    "shape": (lambda: MODEL.balanced(np.eye(3)), "(3, 3)", "(4, 4)"),
    "not symmetric": (
        lambda: MODEL.balanced(np.eye(4) + np.eye(4, k=1)), "w[0, 1] is 1.0 but w[1, 0] is 0.0",
        "U itself as (U,)"),
    "negative": (lambda: MODEL.balanced(semidefinite([1.0, -0.5])), "-0.5", "MatrixProduct"),
    "rank": (lambda: MODEL.balanced(np.eye(4)), "rank 4", "larger rank"),
    "size": (lambda: gf.SymmetricProduct(0, 1), "0", "at least 1"),
    "rank zero": (lambda: gf.SymmetricProduct(2, 0), "rank", "at least 1"),
    "scale": (lambda: MODEL.identity(-1), "-1", "above 0"),
    "no flow of the product": (
        lambda: gf.solve_flow(gf.Objective(PROBLEM, MODEL), (U,), horizon=1.0,
                              coordinates="product"),
        "SymmetricProduct", "coordinates='factors'"),
    "one start too many": (
        lambda: gf.solve_flow(gf.Objective(PROBLEM, MODEL), (U, U), horizon=1.0),
        "((4, 3), (4, 3))", "needs ((4, 3),)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
