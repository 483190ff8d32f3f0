"""Powers of a symmetric positive definite matrix, with a derivative at equal eigenvalues too."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.linalg.spectral_map import divided_difference_of_powers


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def symmetric_power(matrix: Float[Array, "n n"], exponent: float) -> Float[Array, "n n"]:
    """A power of a symmetric positive definite matrix.

    Eigenvalues below eps times the largest, where they are rounding and may even have the wrong
    sign, count as that: a matrix that is singular to rounding has a large power below 0, not an
    infinite one. That of 0 is infinite.

    Args:
      matrix: the matrix.
      exponent: of its eigenvalues.

    Example:
      >>> import jax.numpy as jnp
      >>> symmetric_power(jnp.diag(jnp.array([4.0, 1.0])), -0.5).round(6).tolist()
      [[0.5, 0.0], [0.0, 1.0]]
    """
    values, vectors = _eigen(matrix)
    return (vectors * values**exponent) @ vectors.T


@symmetric_power.defjvp
def _derivative(exponent: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """By divided differences, as of any function of a symmetric matrix (Daleckii and Krein)."""
    values, vectors = _eigen(primals[0])
    high, low = jnp.maximum(values[:, None], values), jnp.minimum(values[:, None], values)
    slopes = divided_difference_of_powers(high, low, exponent)
    moved = vectors @ (slopes * (vectors.T @ tangents[0] @ vectors)) @ vectors.T
    return (vectors * values**exponent) @ vectors.T, moved


def _eigen(matrix: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.maximum(values, jnp.finfo(values.dtype).eps * jnp.max(values)), vectors
