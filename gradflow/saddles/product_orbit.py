r"""The way from one saddle of a balanced product to the next, and null spaces carried along.

W = W_N ... W_1 with factors as wide as its rank. What is small beside it does not grow in a time of
order 1, and its singular vectors turn only as far as they must to stay orthogonal to the range of
W: they are carried parallel,

    dP/dt = -W_N (W_N^T W_N)^-1 (dW_N/dt)^T P,

and so, with W_1^T, those on the other side.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.spectrum import polar_factor_on_host
from gradflow.problems.base import AbstractProblem
from gradflow.saddles.blow_up import layers_of
from gradflow.saddles.ways import Piece, Pieces, newton, piece

_FEW = 150
"""Up to how many unknowns steps may be implicit."""
_SLOW = 1e-3
"""Part of the fall of the loss below which looks at the way become twice as rare."""
_MANY = 64.0
"""Looks in one from which on steps are implicit."""


class ProductOrbit(NamedTuple):
    """A way from saddle to saddle.

    Attributes:
      times: of the records, from 0 on.
      losses: there.
      slopes: their derivatives in time.
      factors: at the end.
      left: (m, m - k) the null space of W^T, carried along.
      right: (n, n - k) that of W.
      pushed: (m - k, n - k) the integral of -left^T G right.
      settled: whether the end is a saddle, to `tolerance`.
    """

    times: np.ndarray
    losses: np.ndarray
    slopes: np.ndarray
    factors: Factors
    left: np.ndarray
    right: np.ndarray
    pushed: np.ndarray
    settled: bool


def factors_of(w: Float[np.ndarray, "m n"], rank: int, depth: int) -> Factors:
    """Balanced factors, as wide as the rank."""
    return tuple(map(jnp.asarray, layers_of(w, depth, rank)))


def model_of(factors: Factors) -> MatrixProduct:
    """The factorisation that they belong to."""
    return MatrixProduct([factors[0].shape[1], *[factor.shape[0] for factor in factors]])


def descent(problem: AbstractProblem, factors: Factors) -> Factors:
    """-dL/dW_j."""
    model = model_of(factors)
    w, partial = model.forward(factors)
    return jax.tree.map(jnp.negative, model.pullback(factors, partial, problem.gradient(w)))


def _squares(factors: Factors) -> Array:
    return jnp.sum(jnp.stack([jnp.sum(factor**2) for factor in factors]))


def _carried(factor: Array, slope: Array, frame: Array) -> Array:
    return -factor @ jnp.linalg.solve(factor.T @ factor, slope.T @ frame)


@eqx.filter_jit
def _advance(problem: AbstractProblem, state: Any, length: Float[Array, ""], stiff: bool) -> Piece:
    def field(y: Any) -> Any:
        factors, left, right, _ = y
        slopes = descent(problem, factors)
        return (
            slopes,
            _carried(factors[-1], slopes[-1], left),
            _carried(factors[0].T, slopes[0].T, right),
            -left.T @ problem.gradient(model_of(factors).product(factors)) @ right,
        )

    def seen(y: Any) -> tuple[Array, Array]:
        return problem.loss(model_of(y[0]).product(y[0])), -_squares(descent(problem, y[0]))

    return piece(field, seen, state, length, stiff=stiff, rtol=1e-10, atol=1e-12)


@eqx.filter_jit
def _steepness(problem: AbstractProblem, factors: Factors) -> tuple[Array, Array, Array]:
    """The loss, the norm of its gradient in the factors, and W."""
    w = model_of(factors).product(factors)
    slopes = descent(problem, factors)
    return problem.loss(w), jnp.sqrt(_squares(slopes)), w


def follow(
    problem: AbstractProblem,
    factors: Factors,
    left: Float[np.ndarray, "m m_k"],
    right: Float[np.ndarray, "n n_k"],
    *,
    scale: float,
    rate: float,
    grown: float,
    tolerance: float = 1e-8,
    longest: float = 1e6,
) -> ProductOrbit:
    """Follow factors, of which the smallest singular value has come up, to their next saddle.

    Args:
      problem: the loss.
      factors: balanced, as wide as their rank.
      left: orthonormal, orthogonal to the range of W.
      right: the same of W^T.
      scale: of the gradient at 0, against which the end is a saddle.
      rate: sigma of the new singular value.
      grown: about what it grows to.
      tolerance: at the end the descent in the factors is below it, relative to scale |W|^(1-1/N).
      longest: after how many times 1 / (rate of the flow) the way is given up, from its half on.
    """
    depth = len(factors)
    power = 1 - 2 / depth
    pushed = jnp.zeros((left.shape[1], right.shape[1]))
    state: Any = tuple(factors), jnp.asarray(left), jnp.asarray(right), pushed
    loss, norm, w = _steepness(problem, factors)
    way = Pieces(sum(f.size for f in factors) <= _FEW, loss, -(norm**2))
    settled, risen, first, stride = False, None, None, 1.0
    while True:
        s = np.linalg.svd(np.asarray(w), compute_uv=False)
        speed = depth * scale * max(s[0], 0.1 * grown) ** power
        low = float(s[factors[0].shape[0] - 1])
        wait = low**-power / ((depth - 2) * rate)
        first = wait if first is None else first
        if risen is None and wait < 0.1 * first:
            risen = way.time
        if risen is not None and way.time > risen:
            last, rest = way.losses[-1], way.losses[0][0] - way.losses[-1][-1]
            stride = 2 * stride if last[0] - last[-1] < _SLOW * rest else 1.0
            way.stiff = way.stiff or (way.few and stride > _MANY)
        length = max(12 * stride / speed, 0.5 * wait if risen is None else 0.0)
        if way.time > 10 * first and (risen is None or way.time - risen > longest / speed):
            break
        if (end := way.go_on(partial(_advance, problem, state), length)) is None:
            break
        state = end
        _, norm, w = _steepness(problem, state[0])
        size = np.linalg.norm(np.asarray(w)) ** (1 - 1 / depth)
        still = float(norm) <= tolerance * scale * size
        if risen is not None and way.time > risen and still:
            settled = True
            break
    return ProductOrbit(
        *way.records(), state[0], polar_factor_on_host(np.asarray(state[1])),
        polar_factor_on_host(np.asarray(state[2])), np.asarray(state[3]), settled,
    )  # fmt: skip


@eqx.filter_jit
def _hessian(problem: AbstractProblem, factors: Factors) -> tuple[Array, Array]:
    flat, shaped = jax.flatten_util.ravel_pytree(factors)

    def slope(x: Array) -> Array:
        return -jax.flatten_util.ravel_pytree(descent(problem, shaped(x)))[0]

    return slope(flat), jax.jacfwd(slope)(flat)


def polish(problem: AbstractProblem, factors: Factors) -> tuple[Factors, np.ndarray]:
    """A saddle close to factors, and the Hessian's eigenvalues there; see `newton`."""
    flat, shaped = jax.flatten_util.ravel_pytree(factors)

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope, matrix = map(np.asarray, _hessian(problem, shaped(jnp.asarray(x))))
        return slope, (matrix + matrix.T) / 2

    x, values = newton(np.asarray(flat), at)
    return shaped(jnp.asarray(x)), values
