r"""Functions of a matrix's singular values, U diag(f) V^T, with an exact derivative.

The derivatives of an SVD's vectors do not exist where singular values meet, and lose their digits
near. That of U diag(f) V^T exists, and needs none of them.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow._util.annotations import AnyArray
from gradflow.linalg.thin_svd import thin_svd

Terms = tuple[tuple[Array | float, float], ...]
"""The coefficients c_k and exponents e_k of f_i = sum_k c_k s_i^(e_k)."""


def combine(terms: Terms, s: Float[Array, " k"]) -> Float[Array, " k"]:
    """f_i = sum_k c_k s_i^(e_k), and 0 where s_i = 0, whatever the exponents."""
    return jnp.sum(jnp.stack([c * power(s, e) for c, e in terms]), axis=0)


def power(s: Float[Array, "*shape"], exponent: float) -> Float[Array, "*shape"]:
    """Entries s^exponent, and 0 where s = 0, with derivatives that are finite (0 there)."""
    alive = s > 0
    return jnp.where(alive, jnp.where(alive, s, 1.0) ** exponent, 0.0)


def divided_difference_of_powers(high: Array, low: Array, exponent: float) -> Array:
    """(high^e - low^e) / (high - low), with 0^e = 0; 0 where both are 0.

    Args:
      high: numbers of at least `low`.
      low: numbers of at least 0.
      exponent: e.
    """
    safe = jnp.where(high > 0, high, 1.0)
    both = low > 0
    ratio = jnp.where(both, low, safe) / safe
    # high - low is exact within a factor of 2, and there log1p keeps what log(ratio) loses.
    gap = jnp.where(both, (safe - low) / safe, 0.0)
    log = jnp.where(gap < 0.5, jnp.log1p(-jnp.minimum(gap, 0.5)), jnp.log(ratio))
    change = -jnp.expm1(exponent * log) / jnp.where(gap > 0, gap, 1.0)
    change = jnp.where(gap > 0, change, exponent)
    return jnp.where(high > 0, safe ** (exponent - 1) * jnp.where(both, change, 1.0), 0.0)


def spectral_map(
    terms_of: Callable[[Array], Terms],
    w: Float[AnyArray, "d d_prime"],
    degree: int | Int[Array, ""],
    null: float | Array,
    ramp: bool = False,
    rank: int | None = None,
) -> Float[Array, "d d_prime"]:
    r"""The matrix U diag(f) V^T with f_i = sum_k c_k(s) s_i^(e_k), W = U diag(s) V^T.

    Its derivative (`jax.jvp`, `jax.jacfwd`, `jax.vjp`; first ones only) is a closed form. With
    P = U^T dW V, S and A its symmetric and antisymmetric parts, it is U M V^T, where

        M_ij = S_ij (f_i - f_j) / (s_i - s_j) + A_ij (f_i + f_j) / (s_i + s_j),    i != j,
        M_ii = sum_j df_i/ds_j P_jj,

    plus (I - U U^T) dW V diag(f / s) V^T if d > d', and likewise on the other side. The first
    quotient is a sum of c_k times divided differences of s^(e_k), taken by expm1 and log1p: to a
    few eps at whatever distance, down to e_k s^(e_k - 1) at none.

    Up to h = null s_1, singular values either count as 0, with f_i = 0, or, with `ramp`, s^(e_k) is
    replaced by s h^(e_k - 1), so that the map is continuous there too. In the first case the
    derivative is that along matrices of the same rank; between null directions it is c_k where
    e_k = 1, and else 0 (which is right above 1; below, there is none).

    Args:
      terms_of: from s to ((c_1, e_1), ...). Zeros in s must not make it NaN, nor its derivatives.
      w: a finite matrix.
      degree: the k in f(a s) = a^k f(s), a > 0, by which f is taken at s / s_1.
      null: the share of the largest singular value up to which one is null, below 1.
      ramp: whether to go through null values on a straight line.
      rank: how many singular values count; the others are null. All by default.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> polar = lambda w: spectral_map(lambda s: ((1.0, 0.0),), w, 0, 1e-12)
      >>> turn = jnp.array([[0.0, -1.0], [1.0, 0.0]])
      >>> jax.jvp(polar, (2 * jnp.eye(2),), (turn,))[1].tolist()
      [[0.0, -0.5], [0.5, 0.0]]

    References:
      Daleckii and Krein 1965, for eigenvalues; Noferini 2017, for singular values.
    """
    return _spectral_map(terms_of, w, degree, null, ramp, rank)


@eqx.filter_custom_jvp
def _spectral_map(
    terms_of: Callable[[Array], Terms],
    w: AnyArray,
    degree: int | Array,
    null: float | Array,
    ramp: bool,
    rank: int | None,
) -> Array:
    u, s, vt = thin_svd(w)
    s, scale = _relative(s, null, ramp, rank)
    return (u * (scale**degree * _bent(terms_of(s), s, null, ramp))) @ vt


@_spectral_map.def_jvp
def _derivative(primals: tuple, tangents: tuple) -> tuple[Array, Array | None]:
    terms_of, w, degree, null, ramp, rank = primals
    u, s, vt = thin_svd(w)
    s, scale = _relative(s, null, ramp, rank)
    terms = terms_of(s)
    f = _bent(terms, s, null, ramp)
    image = (u * (scale**degree * f)) @ vt
    if tangents[1] is None:
        return image, None
    dw = tangents[1] / scale
    p = u.T @ dw @ vt.T
    even, odd = (p + p.T) / 2, (p - p.T) / 2
    at_zero = sum(c * _slope(e, null, ramp) for c, e in terms)
    _, diagonal = jax.jvp(lambda s: _bent(terms_of(s), s, null, ramp), (s,), (jnp.diagonal(p),))
    differences = sum(c * _divided_difference(s, e, null, ramp) for c, e in terms)
    m = differences * even + _quotient(f[:, None] + f, s[:, None] + s, at_zero) * odd
    m = jnp.where(jnp.eye(s.size, dtype=bool), diagonal, m)
    moved = u @ m @ vt
    shrunk = _quotient(f, s, at_zero)
    if w.shape[0] > w.shape[1]:
        moved = moved + ((dw @ vt.T - u @ p) * shrunk) @ vt
    if w.shape[0] < w.shape[1]:
        moved = moved + (u * shrunk) @ (u.T @ dw - p @ vt)
    return image, scale**degree * moved


def _relative(s: Array, null: float | Array, ramp: bool, rank: int | None) -> tuple[Array, Array]:
    """Singular values next to the largest, and the largest (or 1); without a ramp, null ones 0."""
    largest = jnp.max(s)
    scale = jnp.where(largest > 0, largest, 1.0)
    s = s / scale
    if rank is not None:
        s = jnp.where(jnp.arange(s.size) < rank, s, 0.0)
    return s if ramp else jnp.where(s > null, s, 0.0), scale


def _slope(exponent: float, null: float | Array, ramp: bool) -> float | Array:
    """What stands for the derivative of s^exponent at 0, where s_1 = 1."""
    return null ** (exponent - 1) if ramp else float(exponent == 1)


def _bent(terms: Terms, s: Float[Array, " k"], null: Any, ramp: bool) -> Float[Array, " k"]:
    """f_i, on the straight line for singular values that are null."""
    largest = jnp.max(s)
    # As a share of s_1, which is 1, but has a derivative.
    ratio = s / jnp.where(largest > 0, largest, 1.0)
    parts = [
        c * jnp.where(ratio > null, power(s, e), s * _slope(e, null, ramp) * power(largest, e - 1))
        for c, e in terms
    ]
    return jnp.sum(jnp.stack(parts), axis=0)


def _quotient(above: Array, below: Array, limit: Any) -> Array:
    """The quotient, and its limit where both are 0."""
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1.0), limit)


def _divided_difference(s: Float[Array, " k"], exponent: float, null: Any, ramp: bool) -> Array:
    """(g_i - g_j) / (s_i - s_j) of the g = s^exponent with a line at null, its limit for equals."""
    alive = s > null
    some = alive[:, None] | alive
    high, low = jnp.maximum(s[:, None], s), jnp.minimum(s[:, None], s)
    # From low to high, `share` of the way lies on the curve, from `foot` on, the rest on the line.
    foot = jnp.maximum(low, null if ramp else 0.0)
    apart = high > low
    share = jnp.where(apart, (high - foot) / jnp.where(apart, high - low, 1.0), 1.0)
    curve = jnp.where(some, divided_difference_of_powers(high, foot, exponent), 0.0)
    share = jnp.where(some, share, 0.0)
    return share * curve + (1 - share) * _slope(exponent, null, ramp)
