"""The Khatri-Rao product, through which sums of outer products become matrix products."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def khatri_rao(factors: Sequence[Float[Array, "_ columns"]]) -> Float[Array, "_ columns"]:
    """Column-wise Kronecker product: (n_1, R), (n_2, R), ... -> (n_1 n_2 ..., R).

    Args:
      factors: at least one matrix, all with R columns.

    Example:
      >>> import jax.numpy as jnp
      >>> khatri_rao([jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])]).ravel().tolist()
      [3.0, 4.0, 6.0, 8.0]
    """
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return result


def khatri_rao_pullback(
    factors: Sequence[Float[Array, "_ columns"]], cotangent: Float[Array, "_ columns"]
) -> tuple[Array, ...]:
    """Gradients in the factors of a Khatri-Rao product, from the gradient in the product.

    Args:
      factors: the matrices.
      cotangent: the gradient in their product.
    """
    folded = cotangent.reshape(*[f.shape[0] for f in factors], -1)
    gradients = []
    for n in range(len(factors)):
        term = folded
        for m in range(len(factors) - 1, -1, -1):
            if m != n:
                term = jnp.sum(term * jnp.expand_dims(factors[m], _other_axes(term, m)), axis=m)
        gradients.append(term)
    return tuple(gradients)


def _other_axes(term: Array, axis: int) -> tuple[int, ...]:
    return tuple(k for k in range(term.ndim - 1) if k != axis)
