"""The Khatri-Rao product of factors, by which CP tensors become matrix products."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.factorizations.base import Factors


def khatri_rao(factors: Factors) -> Float[Array, "rows rank"]:
    """Column-wise Kronecker product: (n_1, R), (n_2, R), ... -> (n_1 n_2 ..., R).

    Example:
      >>> import jax.numpy as jnp
      >>> khatri_rao((jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]]))).ravel().tolist()
      [3.0, 4.0, 6.0, 8.0]
    """
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return result


def khatri_rao_pullback(factors: Factors, cotangent: Float[Array, "rows rank"]) -> Factors:
    """Gradients in the factors of a Khatri-Rao product, from the gradient in the product."""
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
