"""A small completion problem, and its gradients in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from tests.helpers import chain

PROBLEM = gf.matrix_completion(jax.random.key(0), (4, 3), 2, 8, norm=2.0, loss="sum")
MASK, TARGET = np.asarray(PROBLEM.mask), np.asarray(PROBLEM.target)


def objective(depth, penalty=None):
    return gf.Objective(PROBLEM, gf.MatrixProduct.of(PROBLEM.shape, depth), penalty)


def start(model, seed=1, std=0.6):
    return gf.gaussian_factors(jax.random.key(seed), model.factorization.sizes, std=std)


def spread(factors, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.01, 1.0, size=f.shape) for f in factors]


def numpy_gradients(factors, penalty=0.0):
    """By the chain rule written out, with the nuclear norm's polar factor."""
    w = chain(factors)
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    g = 2 * MASK * (w - TARGET) + penalty * u @ vt
    factors = [np.asarray(f) for f in factors]
    after = [chain([*factors[j + 1 :], np.eye(4)]) for j in range(len(factors))]
    before = [chain([np.eye(3), *factors[:j]]) for j in range(len(factors))]
    return [a.T @ g @ b.T for a, b in zip(after, before, strict=True)]


@eqx.filter_jit
def gradients(model, factors, chosen):
    """Of sums of squares over entries chosen, by differentiation; one a row of `chosen`."""
    problem = model.problem

    def loss(y, row):
        w = model.product(y)[tuple(problem.indices.T)]
        return problem.weight * jnp.sum(row * (w - problem.values) ** 2)

    return jax.vmap(lambda row: jax.grad(loss)(factors, row))(chosen)
