"""The default solver against SciPy on sensing, regression, tensors, hidden sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.sparse.linalg

import gradflow as gf


def by_scipy(loss, start, times):
    """Factors at the last time, by DOP853 with the gradient of an independent loss."""
    cuts = np.cumsum([f.size for f in start])[:-1]

    def unpack(y):
        parts = jnp.split(y, cuts)
        return [p.reshape(f.shape) for p, f in zip(parts, start, strict=True)]

    gradient = jax.jit(jax.grad(lambda y: loss(unpack(y))))
    solution = scipy.integrate.solve_ivp(
        lambda t, y: -np.asarray(gradient(y)), (0, times),
        np.concatenate([np.ravel(f) for f in start]), method="DOP853", rtol=1e-12, atol=1e-14,
    )  # fmt: skip
    return [np.asarray(f) for f in unpack(solution.y[:, -1])]


def product_of(factors):
    return functools.reduce(lambda w, factor: factor @ w, factors)


def normal_start(model, seed, scale=0.4):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(scale * rng.normal(size=s)) for s in model.factor_shapes)


def sensing(sizes):
    rng = np.random.default_rng(20)
    a, y = rng.normal(size=(12, sizes[-1], sizes[0])), rng.normal(size=12)
    objective = gf.Objective(gf.MatrixSensing(a, y, loss="mean"), gf.MatrixProduct(sizes))
    return objective, lambda f: jnp.mean((jnp.einsum("kij,ij->k", a, product_of(f)) - y) ** 2)


def completion(sizes):
    rng = np.random.default_rng(21)
    shape = (sizes[-1], sizes[0])
    cells = rng.permutation(np.argwhere(np.ones(shape)))[: 2 * sum(shape)]
    values = rng.normal(size=len(cells))
    objective = gf.Objective(gf.MatrixCompletion(shape, cells, values), gf.MatrixProduct(sizes))
    return objective, lambda f: 0.5 * jnp.sum((product_of(f)[tuple(cells.T)] - values) ** 2)


def regression(sizes):
    rng = np.random.default_rng(22)
    x, y = rng.normal(size=(9, sizes[-1])), rng.normal(size=(9, sizes[0]))
    objective = gf.Objective(gf.LeastSquares(x, y, loss="sum"), gf.MatrixProduct(sizes))
    return objective, lambda f: jnp.sum((x @ product_of(f) - y) ** 2)


def tensor(shape, rank):
    rng = np.random.default_rng(23)
    cells = rng.permutation(np.argwhere(np.ones(shape)))[:30]
    values = rng.normal(size=30)
    objective = gf.Objective(
        gf.TensorCompletion(shape, cells, values, loss="mean"), gf.CPTensor(shape, rank)
    )

    def loss(f):
        w = jnp.einsum("ar,br,cr->abc", *f)
        return jnp.mean((w[tuple(cells.T)] - values) ** 2)

    return objective, loss


slow = pytest.mark.slow


OTHERS = [
    pytest.param(functools.partial(sensing, (4, 7, 3, 5)), id="sensing, hidden sizes 7 and 3"),
    pytest.param(functools.partial(tensor, (5, 4, 3), 3), id="CP tensor of rank 3"),
    pytest.param(functools.partial(regression, (1, 5)), id="regression, a column, depth 1"),
    pytest.param(functools.partial(regression, (1, 3, 5)), id="regression, a column", marks=slow),
    pytest.param(functools.partial(regression, (3, 3, 5)), id="regression, a matrix", marks=slow),
    pytest.param(functools.partial(completion, (7, 9)), id="completion, depth 1", marks=slow),
    pytest.param(functools.partial(completion, (5, 2, 8)), id="completion, rank 2", marks=slow),
    pytest.param(functools.partial(completion, (5, 11, 9, 8)), id="completion, wide", marks=slow),
]


@pytest.mark.parametrize("make", OTHERS)
def test_the_hand_over_agrees_with_scipy(make):
    objective, loss = make()
    start = normal_start(objective.factorization, 24)
    np.testing.assert_allclose(objective.loss(start), loss(start), rtol=1e-13)
    flow = gf.solve_flow(
        objective, start, record=[5.0], horizon=5.0, observe=["product"], rtol=1e-9,
        solver=gf.ode.StiffnessSwitch(),
    )  # fmt: skip
    wanted = by_scipy(loss, start, 5.0)
    for k, factor in enumerate(wanted, 1):
        # Some hundred steps of local error 1e-9.
        np.testing.assert_allclose(flow.final[f"W_{k}"], factor, atol=2e-8 * np.abs(factor).max())
    assert flow.stats.get("invariant_drift", 0) < 1e-8
