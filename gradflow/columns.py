r"""Flows that are linear in their columns, dQ/dt = F(Q Q^T) Q with a symmetric matrix F."""

import abc

import equinox as eqx
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
    def split(self, q: Float[Array, "rows columns"]) -> Factors:
        """The factors of Q."""

    def signs(self) -> Float[np.ndarray, " rows"] | None:
        """The diagonal of J where Q^T J Q stays as it is; None where F keeps nothing so."""
        return None

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

    def split(self, q: Float[Array, "rows columns"]) -> Factors:
        return (q,)

    def product(self, q: Float[Array, "rows columns"]) -> Array:
        return q @ q.T

    def operator(self, q: Float[Array, "rows columns"]) -> Float[Array, "rows rows"]:
        gradient = self.objective.problem.gradient(self.product(q))
        return -(gradient + gradient.T)


class DilatedColumns(AbstractColumns):
    r"""W = W_2 W_1: Q = [W_1^T; W_2] and F = -[[0, G^T], [G, 0]], the dilation of the gradient.

    The eigenvalues of F are the singular values of G and their opposites. J F = -F J for J =
    diag(1, -1), so that Q^T J Q = W_1 W_1^T - W_2^T W_2 stays as it is.
    """

    objective: Objective

    @property
    def rows(self) -> int:
        return sum(self.objective.factorization.shape)

    def stack(self, factors: Factors) -> Float[Array, "rows columns"]:
        return jnp.concatenate([factors[0].T, factors[1]])

    def split(self, q: Float[Array, "rows columns"]) -> Factors:
        below = self.objective.factorization.shape[1]
        return q[:below].T, q[below:]

    def signs(self) -> Float[np.ndarray, " rows"] | None:
        above, below = self.objective.factorization.shape
        return np.repeat([1.0, -1.0], [below, above])

    def product(self, q: Float[Array, "rows columns"]) -> Array:
        below = self.objective.factorization.shape[1]
        return q[below:] @ q[:below].T

    def operator(self, q: Float[Array, "rows columns"]) -> Float[Array, "rows rows"]:
        gradient = self.objective.problem.gradient(self.product(q))
        above, below = (jnp.zeros((k, k), q.dtype) for k in gradient.shape[::-1])
        return -jnp.block([[above, gradient.T], [gradient, below]])


def columns_of(objective: Objective) -> AbstractColumns | None:
    """The column flow of an objective; None if it has none."""
    kind = _kind(objective)
    return None if kind is None else kind(objective)


def has_columns(objective: Objective) -> bool:
    """Whether an objective has a column flow."""
    return _kind(objective) is not None


def _kind(objective: Objective) -> type[SymmetricColumns | DilatedColumns] | None:
    model = objective.factorization
    if isinstance(model, SymmetricProduct):
        return SymmetricColumns
    return DilatedColumns if isinstance(model, MatrixProduct) and model.depth == 2 else None
