r"""Flows that are linear in their columns, dQ/dt = F(Q Q^T) Q with a symmetric matrix F."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.factorizations.symmetric_product import SymmetricProduct
from gradflow.objective import Objective


class AbstractColumns(eqx.Module):
    r"""A factorisation whose flow is dQ/dt = F(Q Q^T) Q, with F symmetric.

    All columns see the same F, which small columns do not move: beside large ones they follow a
    linear equation. Columns may be mixed by a rotation from the right, since F does not feel it.
    The loss as a function of Q has the gradient -F Q.

    Attributes:
      objective: what is minimised.
    """

    objective: eqx.AbstractVar[Objective]

    @property
    @abc.abstractmethod
    def rows(self) -> int:
        """The rows of Q."""

    @abc.abstractmethod
    def stack(self, factors: Factors) -> Float[Array, "rows columns"]:
        """Q of the factors."""

    @abc.abstractmethod
    def product(self, q: Float[Array, "rows columns"]) -> Array:
        """W."""

    @abc.abstractmethod
    def operator(self, q: Float[Array, "rows columns"]) -> Float[Array, "rows rows"]:
        """F."""

    def loss(self, q: Float[Array, "rows columns"]) -> Float[Array, ""]:
        """The loss at W."""
        return self.objective.problem.loss(self.product(q))


class SymmetricColumns(AbstractColumns):
    """W = U U^T: Q = U and F = -(G + G^T), with the gradient G in W."""

    objective: Objective

    @property
    def rows(self) -> int:
        return self.objective.factorization.shape[0]

    def stack(self, factors: Factors) -> Float[Array, "rows columns"]:
        return factors[0]

    def product(self, q: Float[Array, "rows columns"]) -> Array:
        return q @ q.T

    def operator(self, q: Float[Array, "rows columns"]) -> Float[Array, "rows rows"]:
        gradient = self.objective.problem.gradient(self.product(q))
        return -(gradient + gradient.T)


class DilatedColumns(AbstractColumns):
    r"""W = W_2 W_1: Q = [W_1^T; W_2] and F = -[[0, G^T], [G, 0]], the dilation of the gradient.

    The eigenvalues of F are the singular values of G and their opposites.
    """

    objective: Objective

    @property
    def rows(self) -> int:
        return sum(self.objective.factorization.shape)

    def stack(self, factors: Factors) -> Float[Array, "rows columns"]:
        return jnp.concatenate([factors[0].T, factors[1]])

    def product(self, q: Float[Array, "rows columns"]) -> Array:
        below = self.objective.factorization.shape[1]
        return q[below:] @ q[:below].T

    def operator(self, q: Float[Array, "rows columns"]) -> Float[Array, "rows rows"]:
        gradient = self.objective.problem.gradient(self.product(q))
        above, below = (jnp.zeros((k, k), q.dtype) for k in gradient.shape[::-1])
        return -jnp.block([[above, gradient.T], [gradient, below]])


def columns_of(objective: Objective) -> AbstractColumns | None:
    """The column flow of an objective; None if it has none."""
    model = objective.factorization
    if isinstance(model, SymmetricProduct):
        return SymmetricColumns(objective)
    if isinstance(model, MatrixProduct) and model.depth == 2:
        return DilatedColumns(objective)
    return None


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
