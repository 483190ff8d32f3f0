"""A problem, and descent on it in NumPy."""

import jax
import numpy as np

import gradflow as gf
from tests.helpers import chain

PROBLEM = gf.matrix_completion(jax.random.key(0), (4, 3), 2, 8, norm=2.0)
MODEL = gf.MatrixProduct((3, 3, 3, 4))
OBJECTIVE = gf.Objective(PROBLEM, MODEL)
START = tuple(0.7 * f for f in gf.gaussian_factors(jax.random.key(1), MODEL.sizes, std=1.0))
MASK, TARGET = np.asarray(PROBLEM.mask), np.asarray(PROBLEM.target)
TRACED = []


def traced_product(state):
    """The product; Python comes by only where a program is traced."""
    TRACED.append(None)
    return state.product


OBSERVE = {"product": traced_product}


def numpy_loss(factors):
    return 0.5 * np.sum((MASK * (chain(factors) - TARGET)) ** 2)


def numpy_gradients(factors):
    a, b, c = factors
    g = MASK * (c @ b @ a - TARGET)
    return [(c @ b).T @ g, c.T @ g @ a.T, g @ (b @ a).T]


def sgd(rate, momentum=0.0):
    def rule(factors, gradients, state, step):
        trace = [g + momentum * v for g, v in zip(gradients, state or [0.0] * 3, strict=True)]
        return [f - rate * v for f, v in zip(factors, trace, strict=True)], trace

    return rule


def adam(rate, b1=0.9, b2=0.999, eps=1e-8):
    def rule(factors, gradients, state, step):
        m, v = state or ([0.0] * 3, [0.0] * 3)
        m = [b1 * old + (1 - b1) * g for old, g in zip(m, gradients, strict=True)]
        v = [b2 * old + (1 - b2) * g**2 for old, g in zip(v, gradients, strict=True)]
        moved = []
        for f, first, second in zip(factors, m, v, strict=True):
            first, second = first / (1 - b1**step), second / (1 - b2**step)
            moved.append(f - rate * first / (np.sqrt(second) + eps))
        return moved, (m, v)

    return rule


def numpy_run(rule, steps):
    """Factors at iterations 0, ..., steps."""
    factors, state = [np.asarray(f) for f in START], None
    seen = [factors]
    for step in range(1, steps + 1):
        factors, state = rule(factors, numpy_gradients(factors), state, step)
        seen.append(factors)
    return seen
