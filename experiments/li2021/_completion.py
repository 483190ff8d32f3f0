"""The completion problem of li2021's counterexample, and what is known of it in closed form."""

from functools import cache

import numpy as np

import gradflow as gf


@cache
def problem(ratio: float) -> gf.Objective:
    """The completion problem, and U U^T with as many columns as rows."""
    seen = {(0, 2): 1.0, (0, 3): ratio, (1, 2): ratio}
    where = [*seen, *[(j, i) for i, j in seen]]
    posed = gf.MatrixCompletion((4, 4), where, [*seen.values()] * 2)
    return gf.Objective(posed, gf.SymmetricProduct(4, 4))


def first_loss(ratio: float) -> float:
    """The loss of W = 0."""
    return 1 + 2 * ratio**2


def rates(ratio: float) -> np.ndarray:
    """The rates at which columns of U grow from 0, falling: eigenvalues of -(G + G^T) at W = 0."""
    target = np.zeros((4, 4))
    target[0, 2], target[0, 3], target[1, 2] = 1, ratio, ratio
    return np.linalg.eigvalsh(2 * (target + target.T))[::-1]


def exponent(ratio: float) -> float:
    """The power of alpha by which the distance falls: 1 - lambda_2 / lambda_1."""
    first, second, *_ = rates(ratio)
    return float(1 - second / first)


def limit_of(ratio: float) -> np.ndarray:
    """The matrix v v^T."""
    v = np.array([1.0, ratio, 1.0, ratio])
    return np.outer(v, v)


@cache
def least_norm(ratio: float) -> float:
    """The least nuclear norm of matrices W >= 0 that fit, by an interior-point method."""
    posed = problem(ratio).problem
    assert isinstance(posed, gf.MatrixCompletion)
    return float(np.trace(gf.baselines.minimum_trace(posed).product))
