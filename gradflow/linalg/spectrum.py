r"""Of singular values: effective rank, Schatten norms, fractional powers, the polar factor."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow._util.annotations import AnyArray
from gradflow.linalg.thin_svd import thin_svd, values


def singular_values(w: Float[AnyArray, "m n"]) -> Float[Array, " k"]:
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
    return values(w)


def effective_rank(w: Float[AnyArray, "m n"]) -> Float[Array, ""]:
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


def effective_rank_of(s: Float[AnyArray, " k"]) -> Float[Array, ""]:
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


def schatten_norm(w: Float[AnyArray, "m n"], p: float) -> Float[Array, ""]:
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


def schatten_norm_of(s: Float[AnyArray, " k"], p: float) -> Float[Array, ""]:
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


def distance_from_rank(w: Float[AnyArray, "m n"], rank: int) -> Float[Array, ""]:
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


def distance_from_rank_of(s: Float[AnyArray, " k"], rank: int) -> Float[Array, ""]:
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


def left_power(w: Float[AnyArray, "m n"], exponent: float) -> Float[Array, "m m"]:
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
    u, s, _ = thin_svd(w)
    return (u * s ** (2 * exponent)) @ u.T


def right_power(w: Float[AnyArray, "m n"], exponent: float) -> Float[Array, "n n"]:
    """(W^T W)^exponent; see `left_power`."""
    return left_power(w.T, exponent)


def polar_factor(w: Float[AnyArray, "m n"]) -> Float[Array, "m n"]:
    """U V^T for w = U S V^T: the nearest matrix with orthonormal rows or columns.

    Args:
      w: a matrix of full rank (the factor is not unique otherwise).

    Example:
      >>> import jax.numpy as jnp
      >>> jnp.round(polar_factor(jnp.diag(jnp.array([4.0, -0.1]))), 6).tolist()
      [[1.0, 0.0], [0.0, -1.0]]
    """
    u, _, vt = thin_svd(w)
    return u @ vt


def polar_factor_on_host(w: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """`polar_factor` by NumPy, for the host's own work.

    Args:
      w: a matrix of full rank.
    """
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    return u @ vt


def clusters(s: np.ndarray, tolerance: float) -> list[slice]:
    """Runs of two or more (falling) singular values that agree to the relative tolerance."""
    starts = [0, *(i for i in range(1, s.size) if s[i - 1] - s[i] > tolerance * s[0]), s.size]
    return [slice(a, b) for a, b in zip(starts[:-1], starts[1:], strict=True) if b - a > 1]


def log_singular_values_2x2(
    frobenius_squared: Float[AnyArray, "*k"], log_abs_det: Float[AnyArray, "*k"]
) -> Float[Array, "2 *k"]:
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
