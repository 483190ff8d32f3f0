r"""SVD tools: effective rank, Schatten norms, fractional powers, the analytic SVD along a path."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float


def singular_values(w: Float[Array, "m n"]) -> Float[Array, " k"]:
    """Singular values in falling order, k = min(m, n).

    Their gradients are finite, at repeated values too. At a zero singular value, where the function
    has a kink, the gradient is a subgradient.

    Args:
      w: a matrix.

    Example:
      >>> import jax.numpy as jnp
      >>> singular_values(jnp.diag(jnp.array([-3.0, 4.0]))).tolist()
      [4.0, 3.0]
    """
    return jnp.linalg.svd(w, compute_uv=False)


def effective_rank(w: Float[Array, "m n"]) -> Float[Array, ""]:
    r"""Entropy-based effective rank.

    With p_i = s_i / sum(s), returns exp(-sum_i p_i ln p_i), in [1, min(m, n)]; zero singular values
    count nothing.

    Args:
      w: a matrix with at least one non-zero entry (NaN otherwise).

    Returns:
      A scalar in the dtype of w.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(effective_rank(jnp.eye(3))), 6)
      3.0

    References:
      Roy and Vetterli 2007; razin2020, Definition 1.
    """
    return effective_rank_of(singular_values(w))


def effective_rank_of(s: Float[Array, " k"]) -> Float[Array, ""]:
    r"""`effective_rank` from singular values s >= 0, with finite gradients where some s_i = 0.

    The derivative of -p ln p at p = 0 is infinite; its place is taken by 0, as for a singular value
    that stays zero.

    Args:
      s: non-negative numbers, at least one above 0 (NaN otherwise).
    """
    p = s / jnp.sum(s)
    alive = p != 0  # NaN stays NaN
    safe = jnp.where(alive, p, 1.0)
    return jnp.exp(-jnp.sum(jnp.where(alive, safe * jnp.log(safe), 0.0)))


def schatten_norm(w: Float[Array, "m n"], p: float) -> Float[Array, ""]:
    r"""Schatten-p (quasi-)norm (sum_i s_i^p)^(1/p); the spectral norm for p = inf.

    Args:
      w: a matrix.
      p: a number above 0, or `math.inf`; a norm for p >= 1, a quasi-norm below.

    Raises:
      ValueError: if p is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(schatten_norm(jnp.eye(4), 0.5)), 6)
      16.0

    References:
      razin2020, Footnote 5.
    """
    return schatten_norm_of(singular_values(w), p)


def schatten_norm_of(s: Float[Array, " k"], p: float) -> Float[Array, ""]:
    """`schatten_norm` from singular values s >= 0, scaled against overflow and underflow."""
    if not p > 0:
        raise ValueError(f"p must be above 0 (math.inf for the spectral norm), but it is {p}.")
    largest = jnp.max(s)
    if np.isinf(p):
        return largest
    scale = jnp.where(largest > 0, largest, 1.0)
    ratio = s / scale
    alive = ratio > 0
    powers = jnp.where(alive, jnp.where(alive, ratio, 1.0) ** p, 0.0)
    total = jnp.sum(powers)
    return jnp.where(largest > 0, scale * jnp.where(largest > 0, total, 1.0) ** (1 / p), 0.0)


def distance_from_rank(w: Float[Array, "m n"], rank: int) -> Float[Array, ""]:
    """Frobenius distance of w from the matrices of at most the given rank.

    Args:
      w: a matrix.
      rank: 0 or more.

    Example:
      >>> import jax.numpy as jnp
      >>> float(distance_from_rank(jnp.diag(jnp.array([5.0, 4.0, 3.0])), 1))
      5.0

    References:
      razin2020, Definition 2 (D(W, M_r)); Eckart and Young 1936.
    """
    return distance_from_rank_of(singular_values(w), rank)


def distance_from_rank_of(s: Float[Array, " k"], rank: int) -> Float[Array, ""]:
    """`distance_from_rank` from singular values in falling order; its gradient at 0 is 0."""
    if rank < 0:
        raise ValueError(f"rank must be 0 or more, but it is {rank}.")
    tail = s[rank:]
    if not tail.size:
        return jnp.zeros((), s.dtype)
    largest = jnp.max(tail)
    scale = jnp.where(largest > 0, largest, 1.0)
    square = jnp.sum((tail / scale) ** 2)
    return jnp.where(square > 0, scale * jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def left_power(w: Float[Array, "m n"], exponent: float) -> Float[Array, "m m"]:
    r"""(W W^T)^exponent through the SVD of W, which keeps the digits that eigh of W W^T loses.

    The zeroth power is the identity, and zero singular values to a positive power are zero.

    Args:
      w: a matrix.
      exponent: 0 or more.

    Example:
      >>> import jax.numpy as jnp
      >>> jnp.round(left_power(jnp.diag(jnp.array([4.0, 0.0])), 0.5), 6).tolist()
      [[4.0, 0.0], [0.0, 0.0]]

    References:
      arora2019, Lemma 3 (the power operator on positive semidefinite matrices).
    """
    if exponent < 0:
        raise ValueError(f"exponent must be 0 or more, but it is {exponent}.")
    if exponent == 0:
        return jnp.eye(w.shape[0], dtype=w.dtype)
    u, s, _ = jnp.linalg.svd(w, full_matrices=False)
    return (u * s ** (2 * exponent)) @ u.T


def right_power(w: Float[Array, "m n"], exponent: float) -> Float[Array, "n n"]:
    """(W^T W)^exponent; see `left_power`."""
    return left_power(w.T, exponent)


def polar_factor(w: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """U V^T for w = U S V^T: the nearest matrix with orthonormal rows or columns.

    Args:
      w: a matrix of full rank (the factor is not unique otherwise).

    Example:
      >>> import jax.numpy as jnp
      >>> jnp.round(polar_factor(jnp.diag(jnp.array([4.0, -0.1]))), 6).tolist()
      [[1.0, 0.0], [0.0, -1.0]]
    """
    u, _, vt = jnp.linalg.svd(w, full_matrices=False)
    return u @ vt


class AnalyticSVD(NamedTuple):
    """U S V^T along a path: order and signs by continuity.

    Attributes:
      u: (time, m, k) left singular vectors.
      s: (time, k) signed singular values, not sorted.
      v: (time, n, k) right singular vectors (columns).
    """

    u: np.ndarray
    s: np.ndarray
    v: np.ndarray


def follow_svd(path: Float[ArrayLike, "time m n"], cluster: float = 1e-8) -> AnalyticSVD:
    r"""Follow the SVD along a path of matrices, so that each singular value is one smooth curve.

    Each time is matched to the one before by the overlaps (u_i . u'_j)(v_i . v'_j); signs follow
    the vectors, so that a curve may cross zero and go on with the other sign. Where several
    singular values agree to `cluster` (relative to the largest), or are zero to rounding, their
    vectors are any basis: they are turned to agree with their neighbours in time. Values start
    positive at the first time.

    The path must be sampled finely enough for vectors to turn less than about 45 degrees a step.

    Args:
      path: at least one (m, n) matrix, in the order of time.
      cluster: the relative gap under which values count as repeated.

    Raises:
      ValueError: if the path has no time, or does not have three axes.

    Example:
      >>> import numpy as np
      >>> s = follow_svd(np.array([np.diag([2.0, x]) for x in (0.5, 0.1, -0.3, -2.5)])).s
      >>> np.round(s[:, 1], 3).tolist()
      [0.5, 0.1, -0.3, -2.5]

    References:
      Bunse-Gerstner, Byers, Mehrmann and Nichols 1991; arora2019, Lemma 1.
    """
    matrices = np.asarray(path)
    if matrices.ndim != 3 or len(matrices) == 0:
        raise ValueError(f"path must have shape (time, m, n), but its shape is {matrices.shape}.")
    frames = [np.linalg.svd(matrix, full_matrices=False) for matrix in matrices]
    first = next((k for k, f in enumerate(frames) if _determined(f, cluster)), 0)
    count, k = len(matrices), frames[0][1].size
    u = np.empty((count, matrices.shape[1], k))
    s = np.empty((count, k))
    v = np.empty((count, matrices.shape[2], k))
    u[first], s[first], v[first] = frames[first][0], frames[first][1], frames[first][2].T
    for order in (range(first + 1, count), range(first - 1, -1, -1)):
        for now in order:
            before = now - 1 if now > first else now + 1
            u[now], s[now], v[now] = _match(frames[now], u[before], v[before], cluster)
    flip = np.where(s[0] < 0, -1.0, 1.0)
    return AnalyticSVD(u, s * flip, v * flip[None, None, :])


def _clusters(s: np.ndarray, tolerance: float) -> list[slice]:
    """Runs of two or more (falling) singular values that agree to the relative tolerance."""
    starts = [0, *(i for i in range(1, s.size) if s[i - 1] - s[i] > tolerance * s[0]), s.size]
    return [slice(a, b) for a, b in zip(starts[:-1], starts[1:], strict=True) if b - a > 1]


def _rank(frame: tuple[np.ndarray, np.ndarray, np.ndarray]) -> int:
    """How many singular values are above rounding."""
    u, s, vt = frame
    return int(np.sum(s > max(len(u), vt.shape[1]) * np.finfo(s.dtype).eps * s[0]))


def _determined(frame: tuple[np.ndarray, np.ndarray, np.ndarray], tolerance: float) -> bool:
    """Whether the singular vectors are unique up to their signs."""
    return not _clusters(frame[1], tolerance) and _rank(frame) == frame[1].size


def _match(
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
    u_before: np.ndarray,
    v_before: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, s, v = frame[0].copy(), frame[1], frame[2].T.copy()
    for run in _clusters(s, tolerance):
        # Both bases may be turned by one rotation: take that which best agrees with before, where a
        # curve below zero has one of its vectors turned round.
        on_u, on_v = u[:, run].T @ u_before, v[:, run].T @ v_before
        nearest = np.argsort(-np.sum(on_u**2 + on_v**2, axis=0))[: run.stop - run.start]
        overlap = on_u + np.where(np.sum(on_u * on_v, axis=0) < 0, -1.0, 1.0) * on_v
        turn = _polar(overlap[:, np.sort(nearest)])
        u[:, run], v[:, run] = u[:, run] @ turn, v[:, run] @ turn
    rank = _rank(frame)
    if rank < s.size:
        # Where the value is zero, the vectors of either side turn by themselves.
        null_u, null_v = _complement(u[:, :rank]), _complement(v[:, :rank])
        on_u, on_v = null_u.T @ u_before, null_v.T @ v_before
        nearest = np.argsort(-np.sum(on_u**2, axis=0) - np.sum(on_v**2, axis=0))[: s.size - rank]
        u[:, rank:] = null_u @ _polar(on_u[:, nearest])
        v[:, rank:] = null_v @ _polar(on_v[:, nearest])
    from scipy.optimize import linear_sum_assignment  # half a second to import

    left = u_before.T @ u
    right = v_before.T @ v
    _, order = linear_sum_assignment(-np.abs(left * right))
    places = np.arange(s.size)
    sign_u = np.where(left[places, order] < 0, -1.0, 1.0)
    sign_v = np.where(right[places, order] < 0, -1.0, 1.0)
    return u[:, order] * sign_u, s[order] * sign_u * sign_v, v[:, order] * sign_v


def _polar(overlap: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(overlap, full_matrices=False)
    return left @ right


def _complement(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is orthogonal to orthonormal columns."""
    return np.linalg.qr(columns, mode="complete")[0][:, columns.shape[1] :]


def log_singular_values_2x2(
    frobenius_squared: Float[Array, ""], log_abs_det: Float[Array, ""]
) -> Float[Array, " 2"]:
    """Logarithms of both singular values of a 2x2 matrix, exact however small the determinant is.

    Args:
      frobenius_squared: ||W||_F^2.
      log_abs_det: log |det W|; its exponential may underflow.
    """
    log_square = jnp.log(frobenius_squared)
    ratio = 2 * jnp.exp(log_abs_det - log_square)
    gap = (1 - ratio) * (1 + ratio)
    root = jnp.where(gap > 0, jnp.sqrt(jnp.where(gap > 0, gap, 1.0)), 0.0)
    first = 0.5 * (log_square + jnp.log((1 + root) / 2))
    return jnp.stack([first, log_abs_det - first])
