"""Hidden units of a matrix product: what each of them enters by, layer for layer."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from gradflow._util.annotations import AnyArray
from gradflow.factorizations.base import AbstractFactorization
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.factorizations.symmetric_product import SymmetricProduct


def hidden_units(
    model: AbstractFactorization,
    states: Sequence[tuple[AnyArray, ...]],
    beside: Callable[[Any], AnyArray] = jnp.hstack,
) -> list[Float[AnyArray, "_ _"]]:
    """Of each layer of hidden units all that they enter by, a row for each; none of other models.

    Units enter by W_j and W_{j+1} alone, and the value stays as it is where both are turned.

    Args:
      model: the factorisation.
      states: factors and, where other arrays of their shapes move with them, those.
      beside: what puts matrices beside each other; `numpy.hstack` for a start's checks.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> (units,) = hidden_units(
      ...     gf.MatrixProduct((3, 2, 4)), [(jnp.ones((2, 3)), jnp.ones((4, 2)))]
      ... )
      >>> units.shape
      (2, 7)
    """
    if isinstance(model, SymmetricProduct):
        return [beside([u.T for (u,) in states])]
    if not isinstance(model, MatrixProduct):
        return []
    pairs = [[beside([low, high.T]) for low, high in pairwise(factors)] for factors in states]
    return [beside(units) for units in zip(*pairs, strict=True)]
