"""Lengths of columns and of whole trees, of any size: without under- or overflow."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def lengths_and_directions(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the columns, without under- or overflow, and their directions."""
    largest = np.max(np.abs(factor), axis=0, initial=0)
    unit = factor / np.where(largest > 0, largest, 1)
    norm = np.linalg.norm(unit, axis=0)
    return largest * norm, unit / np.where(norm > 0, norm, 1)


def column_lengths(factor: Float[Array, "n r"]) -> Float[Array, " r"]:
    """Lengths of the columns; their gradient at 0 is 0.

    Example:
      >>> import jax.numpy as jnp
      >>> column_lengths(jnp.array([[3e-200, 0.0], [4e-200, 0.0]])).tolist()
      [5e-200, 0.0]
    """
    largest = jax.lax.stop_gradient(_nonzero(jnp.max(jnp.abs(factor), axis=0)))
    return largest * root(jnp.sum((factor / largest) ** 2, axis=0))


def length_of(tree: Any) -> Float[Array, ""]:
    """The root of the sum of all squares in a tree of arrays; its gradient at 0 is 0.

    Example:
      >>> import jax.numpy as jnp
      >>> float(length_of((jnp.array([3e-200]), jnp.array([4e-200]))))
      5e-200
    """
    leaves = jax.tree.leaves(tree)
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))
    largest = jax.lax.stop_gradient(_nonzero(largest))
    return largest * root(sum(jnp.sum((leaf / largest) ** 2) for leaf in leaves))


def _nonzero(largest: Array) -> Array:
    """The number, or 1 in the place of 0 and of infinity; NaN stays NaN."""
    return jnp.where((largest == 0) | (largest == jnp.inf), 1.0, largest)


def root(square: Any) -> Array:
    """The square root; at 0 it has a kink, and 0 stands for its derivative."""
    none = square <= 0  # NaN stays NaN
    return jnp.where(none, 0.0, jnp.sqrt(jnp.where(none, 1.0, square)))
