r"""SVDs of matrices whose rows differ by any factor, to full relative accuracy in each value."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

_SWEEPS = 30
"""Sweeps after which to give up; up to six were seen for 20 rows."""
_SKIP = 1e-16
"""Cosines below this times the number of rows (at least 4) count as orthogonal."""


class GradedSVD(NamedTuple):
    r"""diag(exp(e)) M = J^T diag(exp(log_s)) B^T.

    Attributes:
      log_s: (k,) logarithms of the singular values, in no order.
      rotation: (k, k) the orthogonal J.
      right: (n, k) the right singular vectors B, as columns.
    """

    log_s: Float[Array, " k"]
    rotation: Float[Array, "k k"]
    right: Float[Array, "n k"]


def graded_svd(log_scales: Float[Array, " k"], rows: Float[Array, "k n"]) -> GradedSVD:
    r"""The SVD of diag(exp(log_scales)) rows, by one-sided Jacobi rotations.

    No scale is ever applied: a rotation of rows i and j needs the ratio of their scales alone,
    which may underflow; then it is a Gram-Schmidt step of the small row against the large one. So
    each singular value has a relative error of some eps times the condition of `rows`, whatever
    the scales. Rounds of disjoint pairs turn at once.

    Args:
      log_scales: e, one a row.
      rows: M, well conditioned and of full row rank, k at most n.

    Example:
      >>> import jax.numpy as jnp
      >>> found = graded_svd(jnp.array([0.0, -1000.0]), jnp.array([[3.0, 4.0], [1.0, 0.0]]))
      >>> [round(x, 6) for x in found.log_s.tolist()]  # log 5 and log(4/5) - 1000
      [1.609438, -1000.223144]

    References:
      Demmel and Veselic 1992 (Jacobi's method is more accurate than QR); Drmac 1999 (graded rows).
    """
    k = rows.shape[0]
    pairs = jnp.asarray(_rounds(k))
    odd = k % 2
    e = jnp.pad(log_scales, (0, odd))
    skip = _SKIP * max(k, 4)

    def turn(m: Array, j: Array, pair: Array) -> tuple[Array, Array, Bool[Array, ""]]:
        first = e[pair[:, 0]] >= e[pair[:, 1]]
        high, low = (jnp.where(first, pair[:, a], pair[:, 1 - a]) for a in (0, 1))
        ratio = jnp.exp(e[low] - e[high])
        above, below = m[high], m[low]
        a, b, g = (jnp.sum(x * y, -1) for x, y in ((above, above), (below, below), (above, below)))
        still = jnp.abs(g) <= skip * jnp.sqrt(a * b)
        x = ratio**2 * b - a
        root = jnp.sqrt(x**2 + 4 * ratio**2 * g**2)
        bottom = x + jnp.where(x >= 0, root, -root)
        tau = jnp.where(still, 0.0, 2 * g / jnp.where(still, 1.0, bottom))[:, None]
        ratio = ratio[:, None]
        cosine = 1 / jnp.sqrt(1 + (ratio * tau) ** 2)
        m = m.at[high].set(cosine * (above - ratio**2 * tau * below))
        m = m.at[low].set(cosine * (tau * above + below))
        above, below = j[high], j[low]
        j = j.at[high].set(cosine * (above - ratio * tau * below))
        j = j.at[low].set(cosine * (ratio * tau * above + below))
        return m, j, jnp.all(still)

    def sweep(carry: Any) -> Any:
        def one(r: Array, inner: Any) -> Any:
            m, j, done = inner
            m, j, still = turn(m, j, pairs[r])
            return m, j, done & still

        m, j, _, count = carry
        m, j, done = jax.lax.fori_loop(0, pairs.shape[0], one, (m, j, jnp.asarray(True)))
        return m, j, done, count + 1

    start = (
        jnp.pad(rows, ((0, odd), (0, 0))),
        jnp.eye(k + odd, dtype=rows.dtype),
        jnp.asarray(k == 1),
        jnp.asarray(0),
    )
    m, j, _, _ = jax.lax.while_loop(lambda c: ~c[2] & (c[3] < _SWEEPS), sweep, start)
    m, j = m[:k], j[:k, :k]
    norms = jnp.sqrt(jnp.sum(m**2, -1))
    return GradedSVD(log_scales + jnp.log(norms), j, (m / norms[:, None]).T)


def _rounds(k: int) -> np.ndarray:
    """Pairs of k rows (and a row of zeros where k is odd), each pair once, in disjoint rounds."""
    even = k + k % 2
    ring, found = list(range(even)), []
    for _ in range(max(even - 1, 1)):
        found.append([(ring[i], ring[even - 1 - i]) for i in range(even // 2)])
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return np.array(found)
