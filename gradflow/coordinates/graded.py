"""The change of L, D and U in W = L D U along a balanced flow, free of cancellation.

Nothing of the size of a small pivot is added to something of the size of a large one; exponents are
added before an exponential is taken.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gradflow.linalg.graded_svd import graded_svd

_OVERFLOW = 700.0
"""Where ratios are cut off: of those that are not used too, derivatives must stay finite."""


class Spectrum(NamedTuple):
    """W = left diag(exp(log_s)) right^T = L D U, rows and columns in order, and what led there."""

    left: Array
    log_s: Array
    right: Array
    r: Array
    rotation: Array
    lower: Array
    pivots: Array
    upper: Array

    @classmethod
    def of(cls, lower: Array, pivots: Array, upper: Array, signs: Array) -> "Spectrum":
        """The singular values and vectors of L diag(signs exp(pivots)) U."""
        q, r = jnp.linalg.qr(lower)
        ratios = jnp.exp(jnp.minimum(pivots[None, :] - pivots[:, None], _OVERFLOW))
        ratios = jnp.triu(ratios * signs[:, None] * signs)
        found = graded_svd(pivots, signs[:, None] * ((r * ratios) @ upper))
        left = q @ found.rotation.T
        return cls(left, found.log_s, found.right, r, found.rotation, lower, pivots, upper)


def kernel_weights(log_s: Array, depth: int) -> tuple[float, Array, Array]:
    """2 - 2/N, and kappa and m: sum_j s_a^(2(N-j)/N) s_b^(2(j-1)/N) = kappa exp((2-2/N) m)."""
    gap = jnp.abs(log_s[:, None] - log_s)
    kappa = jnp.sum(jnp.exp(-2 / depth * np.arange(depth)[:, None, None] * gap), axis=0)
    return 2 - 2 / depth, kappa, jnp.maximum(log_s[:, None], log_s)


def scaled_change(
    at: Spectrum, signs: Array, depth: int, gradient: Array
) -> tuple[Array, Array, Array]:
    """X, and what is added to dL in excess rows and to dU in excess columns."""
    k, (m, n) = signs.size, gradient.shape
    power, kappa, top = kernel_weights(at.log_s, depth)
    g = at.left.T @ gradient @ at.right
    later = at.pivots[:, None] - at.log_s  # x_ia
    low = jnp.minimum(later, 0.0)
    l1, u1 = at.lower[:k], at.upper[:, :k]

    def solve(matrix: Array, right: Array, **how: Any) -> Array:
        return jax.scipy.linalg.solve_triangular(matrix, right, unit_diagonal=True, **how)

    p = jnp.where(
        later >= 0,
        jax.scipy.linalg.solve_triangular(at.r, at.rotation.T),
        signs[:, None] * (at.upper @ at.right),
    )
    c = jnp.where(
        later >= 0,
        solve(u1, at.right[:k], trans="T"),
        ((at.rotation @ at.r) * signs).T,
    )  # c_jb, transposed
    below = np.tril(np.ones((k, k), bool), -1)
    pivot = jnp.where(below, at.pivots, at.pivots[:, None])
    sign = jnp.where(below, signs, signs[:, None])
    exponents = (
        low[:, None, :, None] + low[None, :, None, :] + power * top - pivot[:, :, None, None]
    )
    x = jnp.einsum("ia,jb,ab,ijab->ij", p, c, kappa * g, jnp.exp(exponents))
    dl, du = jnp.zeros((m, k), p.dtype), jnp.zeros((k, n), p.dtype)
    size = power * at.log_s
    if n > k:
        rest = at.left.T @ gradient - g @ at.right.T
        first = solve(u1, rest[:, :k].T, trans="T").T
        second = rest[:, k:] - first @ at.upper[:, k:]
        by_row = jnp.exp(low + size - at.pivots[:, None])
        by_column = jnp.exp(low[:, None, :] + size - pivot[:, :, None])
        x = x + jnp.einsum("ia,ija,aj->ij", p, by_column, first)
        du = du.at[:, k:].set(-signs[:, None] * ((p * by_row) @ second))
    if m > k:
        rest = gradient @ at.right - at.left @ g
        first = solve(l1, rest[:k], lower=True)
        second = rest[k:] - at.lower[k:] @ first
        by_row = jnp.exp(low + size - at.pivots[:, None])
        by_column = jnp.exp(low[None, :, :] + size - pivot[:, :, None])
        x = x + jnp.einsum("ib,ijb,jb->ij", first, by_column, c)
        dl = dl.at[k:].set(-((second @ (c * by_row).T) * signs))
    return -sign * x, dl, du
