"""How far the factors of a matrix product are from balanced, and balanced ones near them."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow._util.annotations import AnyArray
from gradflow.factorizations.base import Factors
from gradflow.linalg.thin_svd import finite_svd


def unbalancedness(factors: tuple[AnyArray, ...]) -> Float[Array, ""]:
    r"""Unbalancedness magnitude: max_j || W_{j+1}^T W_{j+1} - W_j W_j^T ||_nuclear.

    Args:
      factors: W_1, ..., W_N; a single factor is balanced.

    Returns:
      A scalar, 0 for balanced factors; conserved by gradient flow.

    Example:
      >>> import jax.numpy as jnp
      >>> float(unbalancedness((2.0 * jnp.eye(3), jnp.eye(3))))
      9.0

    References:
      razin2020, Definition 3.
    """
    if len(factors) == 1:
        return jnp.zeros((), factors[0].dtype)
    norms = [
        jnp.sum(jnp.abs(jnp.linalg.eigvalsh(high.T @ high - low @ low.T)))
        for low, high in zip(factors[:-1], factors[1:], strict=True)
    ]
    return jnp.max(jnp.stack(norms))


def relative_unbalancedness(factors: tuple[AnyArray, ...]) -> Float[Array, ""]:
    """`unbalancedness` divided by the largest squared Frobenius norm of a factor, at any scale.

    Example:
      >>> import jax.numpy as jnp
      >>> float(relative_unbalancedness((2.0 * jnp.eye(3), jnp.eye(3))))
      0.75
    """
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(f)) for f in factors]))
    unit = jnp.where(largest > 0, largest, 1)
    factors = tuple(f / unit for f in factors)  # squares of tiny entries underflow
    scale = jnp.max(jnp.stack([jnp.sum(f**2) for f in factors]))
    return unbalancedness(factors) / jnp.where(scale > 0, scale, 1)


def measured_unbalancedness(factors: tuple[AnyArray, ...]) -> float:
    """`relative_unbalancedness` as a number, by NumPy: a start's checks are many small operations.

    Example:
      >>> import numpy as np
      >>> measured_unbalancedness((2.0 * np.eye(3), np.eye(3)))
      0.75
    """
    arrays = [np.asarray(f) for f in factors]
    if len(arrays) == 1:
        return 0.0
    unit = max(np.abs(f).max() for f in arrays) or 1.0
    arrays = [f / unit for f in arrays]  # squares of tiny entries underflow
    scale = max(np.vdot(f, f) for f in arrays)
    differences = [b.T @ b - a @ a.T for a, b in pairwise(arrays)]
    worst = max(np.abs(np.linalg.eigvalsh(d)).sum() for d in differences)
    return float(worst / (scale or 1.0))


def nearest_balanced(factors: Factors) -> Factors:
    r"""Balanced factors within (j-1) sqrt(eps) of W_j in Frobenius norm, eps the unbalancedness.

    With Q_j the polar factor of W_j and S_1 = (W_1 W_1^T)^(1/2):
    W'_1 = W_1, W'_j = Q_j S_{j-1}, S_j = Q_j S_{j-1} Q_j^T.

    Args:
      factors: W_1, ..., W_N; no output size of W_2, ..., W_N below its input size.

    Returns:
      Factors of the same shapes that are balanced.

    Raises:
      ValueError: if a later factor has fewer rows than columns (the construction needs Q_j^T Q_j =
        I).

    Example:
      >>> import gradflow as gf, jax
      >>> factors = gf.factorizations.gaussian_factors(jax.random.key(0), (3, 3, 3), std=1.0)
      >>> float(
      ...     gf.factorizations.unbalancedness(gf.factorizations.nearest_balanced(factors))
      ... ) < 1e-12
      True

    References:
      razin2020, Lemma 1 and its construction in Appendix G.9.
    """
    for j, factor in enumerate(factors[1:], start=2):
        if factor.shape[0] < factor.shape[1]:
            raise ValueError(
                f"W_{j} has shape {factor.shape}, fewer rows than columns; the construction of "
                "razin2020 Lemma 1 needs square (or growing) factors after the first."
            )
    u, s, _ = finite_svd(factors[0])
    root = (u * s) @ u.T
    result = [factors[0]]
    for factor in factors[1:]:
        u, _, vt = finite_svd(factor)
        polar = u @ vt
        result.append(polar @ root)
        root = polar @ root @ polar.T
    return tuple(result)
