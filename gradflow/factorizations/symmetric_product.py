"""Symmetric positive semidefinite matrices W = U U^T."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import finite_array, positive_or_traced, whole
from gradflow.factorizations.base import AbstractFactorization, Factors, weight_std
from gradflow.linalg.products import product


class SymmetricProduct(AbstractFactorization):
    r"""W = U U^T with one factor U of shape (size, rank).

    The gradient in U is (G + G^T) U with the gradient G in W; along the flow of a symmetric problem
    dU/dt = -2 G U. (gunasekar2017 and li2021 write -G U: half the speed.) All starts are balanced,
    as the product of U^T and U is.

    Args:
      size: the rows and columns of W.
      rank: the columns of U.

    Example:
      >>> import jax.numpy as jnp
      >>> SymmetricProduct(2, 1).product((jnp.array([[1.0], [2.0]]),)).tolist()
      [[1.0, 2.0], [2.0, 4.0]]

    References:
      Gunasekar et al. 2017, Implicit Regularization in Matrix Factorization; Li, Luo and Lyu 2021.
    """

    size: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)

    def __init__(self, size: Checked[int], rank: Checked[int]):
        self.size, self.rank = whole("size", size), whole("rank", rank)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.size, self.rank),)

    @property
    def highest_rank(self) -> int:
        return min(self.size, self.rank)

    @property
    def degree(self) -> int:
        return 2

    def product(self, factors: Factors) -> Array:
        (u,) = factors
        return product(u, u.T)

    def forward(self, factors: Factors) -> tuple[Array, None]:
        return self.product(factors), None

    def pullback(self, factors: Factors, partial: None, gradient: Array) -> Factors:
        """(G + G^T) U."""
        del partial
        (u,) = factors
        return (product(gradient + gradient.T, u),)

    def std_of(self, product_std: float) -> float:
        """(product_std^2 / rank)^(1/4): for the entries off the diagonal of W.

        Those on it have the mean product_std * sqrt(rank).
        """
        return weight_std(product_std, self.rank, 2)

    def balanced(self, w: Checked[ArrayLike], key: Checked[PRNGKeyArray | None] = None) -> Factors:
        """U = V S^(1/2) Q^T of a symmetric positive semidefinite w = V S V^T.

        Args:
          w: (size, size).
          key: for random orthonormal columns Q, (rank, rank of w); the first unit vectors without.

        Raises:
          ValueError: if w has another shape, is not symmetric, has a negative eigenvalue, or more
            than `rank` positive ones.

        Example:
          >>> import gradflow as gf, jax.numpy as jnp
          >>> gf.SymmetricProduct(2, 2).balanced(4.0 * jnp.eye(2))[0].tolist()
          [[2.0, 0.0], [0.0, 2.0]]
        """
        matrix = finite_array("w", w, ndim=2)
        if matrix.shape != self.shape:
            raise ValueError(
                f"w has shape {matrix.shape} but U U^T has shape {self.shape}; give such a matrix."
            )
        w = jnp.asarray(matrix)
        floor = self.size * float(jnp.finfo(w.dtype).eps) * float(jnp.max(jnp.abs(w)))
        i, j = (int(k) for k in jnp.unravel_index(jnp.argmax(jnp.abs(w - w.T)), w.shape))
        if abs(float(w[i, j] - w[j, i])) > floor:
            raise ValueError(
                f"w is not symmetric: w[{i}, {j}] is {w[i, j]} but w[{j}, {i}] is {w[j, i]}; "
                "U U^T is symmetric. Give such a w, or U itself as (U,)."
            )
        values, vectors = jnp.linalg.eigh((w + w.T) / 2)
        if float(values[0]) < -floor * self.size:
            raise ValueError(
                f"w has the eigenvalue {values[0]:.6g}, but U U^T has none below 0; use a "
                "MatrixProduct for such a w."
            )
        found = int(jnp.sum(values > floor * self.size))
        if found > self.rank:
            raise ValueError(
                f"w has rank {found}, but U has {self.rank} columns; use a larger rank."
            )
        width = min(self.rank, self.size)
        largest = jnp.argsort(-values, stable=True)[:width]
        values, vectors = values[largest], vectors[:, largest]
        frame = jnp.eye(self.rank, width, dtype=w.dtype)
        if key is not None:
            frame = jnp.linalg.qr(jax.random.normal(one_key(key), (self.rank, width), w.dtype))[0]
        return ((vectors * jnp.sqrt(jnp.maximum(values, 0.0))) @ frame.T,)

    def random_balanced(self, key: Checked[PRNGKeyArray], std: Checked[float]) -> Factors:
        """`gaussian` with product_std: every U is balanced."""
        return self.gaussian(key, product_std=std)

    def identity(self, scale: Checked[float]) -> Factors:
        """U = sqrt(scale) I, so that W = scale I; with zeros beyond the square, as for I there."""
        return (positive_or_traced("scale", scale) ** 0.5 * jnp.eye(self.size, self.rank),)

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """0: every U is balanced."""
        return jnp.zeros((), factors[0].dtype)

    def nearest_balanced(self, factors: Factors) -> Factors:
        """The factors as they are."""
        return factors
