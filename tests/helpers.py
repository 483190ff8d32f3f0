"""Oracles that several tests share: differences, digits, matrices, charts; batches watched."""

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gradflow as gf
from gradflow.cli import main
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.coordinates.singular import SingularCoordinates
from gradflow.descent import batch as batches
from gradflow.descent import loop


def status(*words: object) -> int:
    """The exit status of the command that these words give, run in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def central_gradient(function: Callable[[Any], Any], x: Any, step: float = 1e-4) -> np.ndarray:
    """Gradient of a scalar function by fourth-order central differences, error about step^4."""
    x = np.array(x, dtype=float)
    result = np.zeros_like(x)
    for at in np.ndindex(x.shape):

        def moved(k: float, at: tuple[int, ...] = at) -> float:
            y = x.copy()
            y[at] += k * step
            return float(function(y))

        result[at] = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
    return result


def precise_power(w: Any, exponent: Any, digits: int = 80) -> np.ndarray:
    """(W W^T)^exponent by eigenvalues in `digits` decimal digits; eigenvalues of rounding are 0."""
    with mpmath.workdps(digits):
        a = mpmath.matrix(np.asarray(w, dtype=float).tolist())
        values, vectors = mpmath.eigsy(a * a.T)
        top = max(values)
        floor = top * mpmath.mpf(10) ** (10 - digits)
        powers = [v ** mpmath.mpf(exponent) if v > floor else mpmath.mpf(0) for v in values]
        result = vectors * mpmath.diag(powers) * vectors.T
        return np.array(result.tolist(), dtype=float)


def orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Random orthonormal columns."""
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


def with_singular_values(rng: np.random.Generator, shape: tuple[int, int], s: Any) -> np.ndarray:
    """A matrix with these singular values and random singular vectors."""
    k = len(s)
    return orthonormal(rng, shape[0], k) @ np.diag(s) @ orthonormal(rng, shape[1], k).T


@eqx.filter_jit
def _gradient(objective: gf.Objective, factors: Any) -> Any:
    return objective.gradient(factors)


def product_by_scipy(objective: gf.Objective, start: Any, horizon: float) -> np.ndarray:
    """The product at a time, by SciPy's DOP853 on the factors."""
    shapes, cuts = [f.shape for f in start], np.cumsum([f.size for f in start])[:-1]
    first = np.concatenate([np.ravel(f) for f in start])

    def factors(y: np.ndarray) -> Any:
        return tuple(p.reshape(s) for p, s in zip(np.split(y, cuts), shapes, strict=True))

    def field(_: float, y: np.ndarray) -> np.ndarray:
        return -np.concatenate([np.ravel(g) for g in _gradient(objective, factors(y))])

    atol = 1e-15 * np.abs(first).max()
    solution = solve_ivp(field, (0, horizon), first, "DOP853", rtol=1e-12, atol=atol)
    assert solution.success, solution.message
    return np.asarray(objective.product(tuple(map(jnp.asarray, factors(solution.y[:, -1])))))


@eqx.filter_jit
def product_by_dopri8(
    objective: gf.Objective, start: Any, horizon: Any, rtol: Any, steps: int
) -> tuple[jax.Array, jax.Array]:
    """The product at a time, by diffrax's Dopri8 on the factors; and whether it got there."""
    term = diffrax.ODETerm(
        lambda t, y, args: jax.tree.map(jnp.negative, jax.grad(objective.value)(y))
    )
    atol = 1e-3 * rtol * jnp.max(jnp.stack([jnp.max(jnp.abs(w)) for w in start]))
    solution = diffrax.diffeqsolve(
        term, diffrax.Dopri8(), 0.0, horizon, None, start,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=steps, throw=False, saveat=diffrax.SaveAt(t1=True),
    )  # fmt: skip
    there = solution.result == diffrax.RESULTS.successful
    assert solution.ys is not None
    return objective.product(jax.tree.map(lambda y: y[-1], solution.ys)), there


def chain(factors: Any) -> np.ndarray:
    """W_N ... W_1 in NumPy."""
    result = np.asarray(factors[0])
    for factor in factors[1:]:
        result = np.asarray(factor) @ result
    return result


def flow_by_scipy(velocity: Callable[[list[np.ndarray]], Any], start: Any, time: float) -> list:
    """Where dy/dt = velocity(y) leads, y a list of arrays: SciPy's DOP853 at rtol 1e-12."""
    shapes = [np.shape(part) for part in start]
    cuts = np.cumsum([np.size(part) for part in start])[:-1]

    def parts(y: np.ndarray) -> list[np.ndarray]:
        return [p.reshape(s) for p, s in zip(np.split(y, cuts), shapes, strict=True)]

    def flat(arrays: Any) -> np.ndarray:
        return np.concatenate([np.ravel(a) for a in arrays])

    found = solve_ivp(lambda t, y: flat(velocity(parts(y))), (0, time), flat(start),
                      method="DOP853", rtol=1e-12, atol=1e-14)  # fmt: skip
    return parts(found.y[:, -1])


def singular_coordinates(w):
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    return jnp.log(s), jnp.asarray(u), jnp.asarray(vt.T)


def all_coordinates(problem, w, depth):
    """name -> (coordinates, y)"""
    objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth))
    factors = objective.factorization.balanced(w)
    return {
        "factors": (FactorCoordinates(objective), factors),
        "product": (ProductCoordinates(problem, depth), jnp.asarray(w)),
        "singular": (SingularCoordinates(problem, depth), singular_coordinates(w)),
    }


def assert_same_flow(problem, coordinates, y, w, moved):
    """y stands for w, which moves by `moved` under the flow of `problem`."""
    velocity = coordinates.velocity(y)
    product, found = jax.jvp(coordinates.product, (y,), (velocity,))
    loss, falling = jax.jvp(coordinates.loss, (y,), (velocity,))
    # Round-off, times the condition of the coordinates: gaps and singular values are above 0.1.
    np.testing.assert_allclose(product, w, atol=1e-12)
    np.testing.assert_allclose(found, moved, atol=1e-10 * max(1, np.abs(moved).max()))
    np.testing.assert_allclose(loss, problem.loss(w), rtol=1e-11)
    np.testing.assert_allclose(coordinates.squared_gradient_norm(y), -falling, rtol=1e-9)
    np.testing.assert_allclose(
        coordinates.squared_gradient_norm(y), -np.sum(problem.gradient(w) * moved), rtol=1e-9
    )
    np.testing.assert_allclose(
        coordinates.singular_values(y), np.linalg.svd(w, compute_uv=False), rtol=1e-11
    )


def moved_by_factors(problem, w, depth):
    """dW/dt from the factors' own gradients: the definition."""
    objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth))
    factors = objective.factorization.balanced(w)
    gradient = jax.grad(objective.loss)(factors)
    return np.asarray(jax.jvp(objective.product, (factors,), (tuple(-g for g in gradient),))[1])


def in_mode(patch, mode):
    """Have the runs of a device done one after the other (map) or side by side (vmap)."""
    init = batches.RunningBatch.__init__

    def init_in_mode(self, step, lanes):
        init(self, dataclasses.replace(step, mode=mode), lanes)

    patch.setattr(batches.RunningBatch, "__init__", init_in_mode)


def watch_lanes(patch):
    """How many runs each chunk has, where those that are done are taken out without delay."""
    patch.setattr(batches, "_PATIENCE", 0)
    lanes, advance = [], loop.BatchStep.advance

    def watched(self, *args):
        lanes.append(args[0].count.shape[0])
        return advance(self, *args)

    patch.setattr(loop.BatchStep, "advance", watched)
    return lanes


def refuses(call, value, remedy):
    """See that a call is refused, by a sentence that names the value and the remedy."""
    with pytest.raises(ValueError) as refused:
        call()
    assert value in str(refused.value)
    assert remedy in str(refused.value)
