"""Hidden units of a matrix product: what each of them enters by, layer for layer."""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.factorizations.symmetric_product import SymmetricProduct


def hidden_units(
    model: AbstractFactorization, states: Sequence[Factors]
) -> list[Float[Array, "_ _"]]:
    """Of each layer of hidden units all that they enter by, a row for each; none of other models.

    Units enter by W_j and W_{j+1} alone, and the value stays as it is where both are turned.

    Args:
      model: the factorisation.
      states: factors and, where other arrays of their shapes move with them, those.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> (units,) = hidden_units(
      ...     gf.MatrixProduct((3, 2, 4)), [(jnp.ones((2, 3)), jnp.ones((4, 2)))]
      ... )
      >>> units.shape
      (2, 7)
    """
    if isinstance(model, SymmetricProduct):
        return [jnp.hstack([u.T for (u,) in states])]
    if not isinstance(model, MatrixProduct):
        return []
    pairs = [[jnp.hstack([low, high.T]) for low, high in pairwise(factors)] for factors in states]
    return [jnp.hstack(units) for units in zip(*pairs, strict=True)]
