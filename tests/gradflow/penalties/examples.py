"""Penalties, and matrices to try them on."""

import jax
import numpy as np

import gradflow as gf
from tests.helpers import with_singular_values

RNG = np.random.default_rng(0)
PENALTIES = {
    "nuclear": gf.NuclearNorm(0.3),
    "ratio": gf.NuclearFrobeniusRatio(0.3),
    "Schatten 1/3": gf.SchattenNorm(1 / 3, 0.3),
    "Schatten 1/2": gf.SchattenNorm(0.5, 0.3),
    "Schatten 1": gf.SchattenNorm(1, 0.3),
    "Schatten 2": gf.SchattenNorm(2, 0.3),
    "Schatten 7/2": gf.SchattenNorm(3.5, 0.3),
    "Schatten 1/2 : 2/3": gf.SchattenRatio(1 / 2, 2 / 3, 0.3),
    "Schatten 1/3 : 2/3": gf.SchattenRatio(1 / 3, 2 / 3, 0.3),
    "Schatten 1/3 : 1/2": gf.SchattenRatio(1 / 3, 1 / 2, 0.3),
    "Schatten 1 : 3": gf.SchattenRatio(1, 3, 0.3),
    "Schatten 3/2 : 2": gf.SchattenRatio(1.5, 2, 0.3),
}
DEFICIENT = {
    "rank 2, square": with_singular_values(RNG, (4, 4), [2.0, 0.5]),
    "rank 1, tall": np.outer([1.0, 2.0, -1.0], [1.0, 0.5]),
    "rank 2, wide, repeated": with_singular_values(RNG, (3, 5), [1.0, 1.0]),
}


def numpy_value(name, w):
    s = np.linalg.svd(w, compute_uv=False)

    def norm(p):
        return np.sum(s**p) ** (1 / p)

    penalty = PENALTIES[name]
    if name == "nuclear":
        return 0.3 * np.sum(s)
    if name == "ratio":
        return 0.3 * np.sum(s) / np.linalg.norm(w)
    if isinstance(penalty, gf.SchattenNorm):
        return 0.3 * norm(penalty.p)
    return 0.3 * norm(penalty.p) / norm(penalty.q)


PROBLEM = gf.matrix_completion(jax.random.key(0), (4, 4), 2, 10, norm=2.0, loss="sum")


def objective(depth, penalty=None):
    return gf.Objective(PROBLEM, gf.MatrixProduct.of(PROBLEM.shape, depth), penalty)


def start(model, seed=1):
    return gf.gaussian_factors(jax.random.key(seed), model.factorization.sizes, std=0.6)
