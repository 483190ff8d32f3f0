"""Flows of columns at a point: loss, operator, product, second derivatives; by one program."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow.columns import AbstractColumns


class Place(NamedTuple):
    """What is known at some Q.

    Attributes:
      loss: there.
      operator: F.
      product: W.
    """

    loss: float
    operator: Float[np.ndarray, "rows rows"]
    product: np.ndarray


def place(columns: AbstractColumns, q: Float[np.ndarray, "rows k"], width: int) -> Place:
    """The loss, F and W at Q; zeros beside it make `width` columns, for one compiled program."""
    return Place(*jax.tree.map(np.asarray, _place(columns, _wide(q, width))))


def hessian(
    columns: AbstractColumns, q: Float[np.ndarray, "rows k"], width: int
) -> Float[np.ndarray, "size size"]:
    """Second derivatives of the loss in the entries of Q, row by row."""
    kept = np.tile(np.arange(width) < q.shape[1], len(q))
    found = np.asarray(_hessian(columns, _wide(q, width)))[np.ix_(kept, kept)]
    return (found + found.T) / 2


def _wide(q: np.ndarray, width: int) -> Array:
    return jnp.asarray(np.pad(q, ((0, 0), (0, width - q.shape[1]))))


@eqx.filter_jit
def _place(columns: AbstractColumns, q: Array) -> tuple[Array, Array, Array]:
    return columns.loss(q), columns.operator(q), columns.product(q)


@eqx.filter_jit
def _hessian(columns: AbstractColumns, q: Array) -> Array:
    def slope(flat: Array) -> Array:
        at = flat.reshape(q.shape)
        return -(columns.operator(at) @ at).ravel()

    return jax.jacfwd(slope)(q.ravel())
