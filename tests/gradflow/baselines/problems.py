"""Problems, and a conic solver to compare with."""

import numpy as np

import gradflow as gf


def nuclear(w):
    return np.linalg.svd(np.asarray(w), compute_uv=False).sum()


def relative_error(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


def low_rank(rng, shape, rank):
    return rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))


def completion(seed, shape, rank, observations):
    """As `gf.matrix_completion`, but drawn in NumPy, which compiles nothing for each new size."""
    rng = np.random.default_rng(seed)
    truth = low_rank(rng, shape, rank)
    where = rng.permutation(entries(shape))[:observations]
    return gf.MatrixCompletion(shape, where, truth[tuple(where.T)], truth=truth)


def entries(shape):
    return np.array(list(np.ndindex(*shape)))
