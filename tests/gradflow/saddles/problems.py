"""Problems of saddle paths, with what an independent integration needs of them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import gradflow as gf


class Posed(NamedTuple):
    """A problem as the library has it, and in NumPy: F and the loss of Q Q^T, and Q(0)."""

    objective: gf.Objective
    start: tuple
    operator: Any
    loss: Any
    q: np.ndarray


def symmetric(seed, size=4, count=9, columns=None):
    """Sensing of a symmetric matrix; every second has data that no W >= 0 fits."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(count, size, size))
    a = (a + a.transpose(0, 2, 1)) / 2 / count**0.5
    u = rng.normal(size=(size, size - 1))
    y = rng.normal(size=count) if seed % 2 else np.einsum("kij,ij->k", a, u @ u.T)
    q = rng.normal(size=(size, columns or size))

    def residual(w):
        return np.einsum("kij,ij->k", a, w) - y

    return Posed(
        gf.Objective(gf.MatrixSensing(a, y), gf.SymmetricProduct(*q.shape)),
        (jnp.asarray(q),),
        lambda w: -2 * np.einsum("k,kij->ij", residual(w), a),
        lambda w: np.sum(residual(w) ** 2) / 2,
        q,
    )


def product(seed, shape=(3, 4), count=10):
    """Sensing of a matrix at depth 2; every second start is balanced."""
    rng = np.random.default_rng(seed)
    a, y = rng.normal(size=(count, *shape)) / count**0.5, rng.normal(size=count)
    model, below = gf.MatrixProduct.of(shape, 2), shape[1]
    w = rng.normal(size=shape)
    start = (
        model.balanced(w)
        if seed % 2
        else tuple(jnp.asarray(rng.normal(size=s)) for s in model.factor_shapes)
    )

    def residual(gram):
        return np.einsum("kij,ij->k", a, gram[below:, :below]) - y

    def operator(gram):
        g = np.einsum("k,kij->ij", residual(gram), a)
        return -np.block([[np.zeros((below, below)), g.T], [g, np.zeros((shape[0],) * 2)]])

    return Posed(
        gf.Objective(gf.MatrixSensing(a, y), model),
        start,
        operator,
        lambda gram: np.sum(residual(gram) ** 2) / 2,
        np.concatenate([np.asarray(start[0]).T, np.asarray(start[1])]),
    )


class Deep(NamedTuple):
    """A problem of a balanced product of depth 3 or more, from alpha times a matrix."""

    objective: gf.Objective
    w: np.ndarray


DEEP = (((3, 3), 3), ((2, 3), 4), ((3, 4), 3), ((2, 2), 3), ((4, 4), 3))
"""Shapes and depths."""


def deep(seed, shape=None, depth=None):
    """Sensing with Gaussian matrices, or completion of all but two entries; a Gaussian start."""
    rng = np.random.default_rng(seed)
    of = DEEP[seed % len(DEEP)]
    shape, depth = shape or of[0], depth or of[1]
    count = shape[0] * shape[1] - 2
    measurements = rng.normal(size=(count, *shape)) / count**0.5
    if seed // len(DEEP) % 2:  # of entries: a completion, in the programs of the other kind
        places = rng.permutation(shape[0] * shape[1])[:count]
        measurements = np.eye(shape[0] * shape[1])[places].reshape(count, *shape)
    problem = gf.MatrixSensing(measurements, rng.normal(size=count))
    model = gf.MatrixProduct.of(shape, depth)
    return Deep(gf.Objective(problem, model), rng.normal(size=shape))


def deep_times(posed, log_alpha, losses):
    """When a flow of W alone, in the pivots of an elimination, falls below the losses."""
    start = gf.LogScaled(posed.w, log_alpha)
    return np.array([
        gf.solve_flow(posed.objective, start, stop_loss=loss, coordinates="ldu").times[-1]
        for loss in losses
    ])  # fmt: skip


class Diagonal(NamedTuple):
    """A regression with a diagonal network."""

    objective: gf.Objective
    start: tuple
    inputs: np.ndarray
    targets: np.ndarray


def diagonal(seed, depth, shape=(4, 6), ones=False):
    """A random regression; starts of ones, or of sizes between 1/2 and 2."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=shape) / shape[0] ** 0.5, rng.normal(size=shape[0])
    sizes = [np.ones(shape[1]) if ones else rng.uniform(0.5, 2.0, shape[1]) for _ in range(2)]
    model = gf.DiagonalNetwork(shape[1], depth)
    start = tuple(jnp.asarray(size) for size in sizes)
    return Diagonal(gf.Objective(gf.LeastSquares(x, y), model), start, x, y)


def diagonal_times(posed, log_alpha, goals, end):
    """When the loss of a diagonal network falls below goals: SciPy's Radau on eta = -int G dt."""
    x, y, depth = posed.inputs, posed.targets, posed.objective.factorization.depth
    plus, minus = (np.asarray(part) for part in posed.start)
    low = depth - 2
    rtol = 1e-9 if depth == 2 else 1e-12

    def sides(eta):
        """(w_+^D, w_-^D) and the derivatives of beta in eta."""
        if depth == 2:
            a, b = (
                np.exp(log_alpha + 2 * np.log(size) + sign * 4 * eta)
                for size, sign in ((plus, 1), (minus, -1))
            )
            return a - b, 4 * (a + b)
        c = np.exp(-low / depth * log_alpha)
        a, b = (
            c * size**-low - sign * depth * low * eta for size, sign in ((plus, 1), (minus, -1))
        )
        power = -depth / low
        return a**power - b**power, depth**2 * (a ** (power - 1) + b ** (power - 1))

    def loss(eta):
        return np.sum((x @ sides(eta)[0] - y) ** 2) / 2

    found = solve_ivp(
        lambda t, eta: -x.T @ (x @ sides(eta)[0] - y), (0, end), np.zeros(x.shape[1]), "Radau",
        jac=lambda t, eta: -x.T @ x * sides(eta)[1], rtol=rtol, atol=rtol,
        events=[lambda t, eta, goal=goal: np.log(loss(eta) / goal) for goal in goals],
    )  # fmt: skip
    return np.array([times[0] if len(times) else np.nan for times in found.t_events])


def ends_so(make, outcome, jumps, said):
    """See that the path of what `make` gives ends as it should, and says why."""
    path = gf.saddle_path(*make())
    assert path.outcome is gf.SaddleOutcome[outcome], path
    assert len(path.taus) == jumps and said in path.reason
    assert path.determined == (outcome == "OUT_OF_COLUMNS")
    return path
