"""Hidden units of a matrix product: what each of them enters by, layer for layer."""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradflow._util.annotations import AnyArray
from gradflow.factorizations.base import AbstractFactorization, FactorsLike
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.linalg.lengths import lengths_and_directions

UNSEEN = 1e-9
"""Share of the largest unit of a layer below which steps in factors do not follow one."""


def hidden_units(
    model: AbstractFactorization, states: Sequence[tuple[AnyArray, ...]]
) -> list[Float[AnyArray, "_ _"]]:
    """Of each layer of hidden units all that they enter by, a row for each; none of other models.

    Units enter by W_j and W_{j+1} alone, and the value stays as it is where both are turned.

    Args:
      model: the factorisation.
      states: factors and, where other arrays of their shapes move with them, those; NumPy's give
        NumPy's, for a start's checks.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> (units,) = hidden_units(
      ...     gf.MatrixProduct((3, 2, 4)), [(jnp.ones((2, 3)), jnp.ones((4, 2)))]
      ... )
      >>> units.shape
      (2, 7)
    """
    beside = np.hstack if isinstance(states[0][0], np.ndarray) else jnp.hstack
    if isinstance(model, SymmetricProduct):
        return [beside([u.T for (u,) in states])]
    if not isinstance(model, MatrixProduct):
        return []
    pairs = [[beside([low, high.T]) for low, high in pairwise(factors)] for factors in states]
    return [beside(units) for units in zip(*pairs, strict=True)]


def unit_lengths(
    model: AbstractFactorization, factors: FactorsLike
) -> list[Float[np.ndarray, " _"]]:
    """Of each layer the lengths of its hidden units that are not zero, at any size; on the host.

    Args:
      model: the factorisation.
      factors: a point.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> columns = jnp.array([[3e-200, 1.0, 0.0], [4e-200, 0.0, 0.0]])
      >>> unit_lengths(gf.SymmetricProduct(2, 3), (columns,))[0].tolist()
      [5e-200, 1.0]
    """
    layers = hidden_units(model, [tuple(np.asarray(f) for f in factors)])
    lengths = [lengths_and_directions(np.asarray(layer).T)[0] for layer in layers]
    return [found[found > 0] for found in lengths]
