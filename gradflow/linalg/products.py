"""Products of two matrices as the device does them fastest."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.annotations import AnyArray

TINY = 4
"""The largest size that accelerators do faster as sums."""
SMALL = 2500
"""The most multiplications that a CPU does faster in a loop of its own than by a library: a step of
descent takes 2 to 33 times less, least at 13 x 13 and most at 4 x 4 (`benchmarks/small.py`)."""
TURNED = 40
"""The smallest size from which a CPU does a^T b faster with a transposed before."""


def product(a: Float[AnyArray, "m k"], b: Float[AnyArray, "k *n"]) -> Float[Array, "m *n"]:
    """The product a b, by `@`, or, where it is small, by sums that the compiler writes itself.

    On a CPU these are loops, up to some 13 x 13, where a call of a library takes longer than what
    it does. On accelerators they are written out, up to 4 x 4: a library's product of a hundred
    thousand pairs of 2 x 2 matrices takes twice as long in float32 and 18 times as long in float64,
    since the sums go into one kernel with what is around them.

    Args:
      a: a matrix.
      b: another one, or a vector.

    Example:
      >>> import jax.numpy as jnp
      >>> product(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]])).tolist()
      [[11.0]]
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or not a.shape[1]:
        return a @ b  # which refuses sizes that differ, where sums would repeat what is of size 1
    if jax.default_backend() == "cpu":
        small = a.shape[0] * b.size <= SMALL
        return jnp.sum(a[:, :, None] * b[None], axis=1) if small else a @ b
    if max(*a.shape, *b.shape) > TINY:
        return a @ b
    total = a[:, 0, None] * b[None, 0]
    for k in range(1, a.shape[1]):
        total = total + a[:, k, None] * b[None, k]
    return total


def transposed_product(
    a: Float[AnyArray, "k m"], b: Float[AnyArray, "k *n"]
) -> Float[Array, "m *n"]:
    """The product a^T b.

    XLA's products on a CPU take up to twice as long in float64 where the left side is transposed:
    there, from 40 x 40 on, the transpose is a matrix of its own, which the compiler may not fold
    back. In float32 that gains nothing.

    Args:
      a: a matrix.
      b: another one, or a vector.

    Example:
      >>> import jax.numpy as jnp
      >>> transposed_product(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])).tolist()
      [[11.0]]
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    large = b.ndim == 2 and min(*a.shape, *b.shape) >= TURNED and b.dtype == jnp.float64
    if large and jax.default_backend() == "cpu":
        return jax.lax.optimization_barrier(a.T) @ b
    return product(a.T, b)
