r"""The product of matrices W = W_N ... W_1; `factors[0]` is W_1 and acts first."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import shape_of, sizes_of, whole
from gradflow.factorizations import balance, starts
from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.linalg.products import product, transposed_product


class MatrixProduct(AbstractFactorization):
    r"""Depth-N matrix product W = W_N ... W_1, with factors[j-1] = W_j of shape (d_j, d_{j-1}).

    Args:
      sizes: (d_0, d_1, ..., d_N): the columns of W, the hidden sizes, the rows of W. Two sizes give
        depth 1, where the only factor is W itself.

    Example:
      >>> import jax.numpy as jnp
      >>> model = MatrixProduct((3, 2, 4))
      >>> model.product((jnp.ones((2, 3)), jnp.ones((4, 2)))).shape
      (4, 3)

    References:
      arora2019, Equation (1); razin2020, Equation (3).
    """

    sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, sizes: Checked[Sequence[int]]):
        self.sizes = sizes_of(sizes)

    @classmethod
    def of(
        cls, shape: Checked[Sequence[int]], depth: Checked[int], hidden: Checked[int | None] = None
    ) -> "MatrixProduct":
        """The product of `depth` factors for a (d, d') matrix, all hidden sizes equal.

        Args:
          shape: (d, d').
          depth: the number N of factors.
          hidden: the hidden size; min(d, d') by default, which does not limit the rank.
        """
        rows, columns = shape_of("shape", shape, 2)
        width = min(rows, columns) if hidden is None else hidden
        return cls((columns, *[width] * (whole("depth", depth) - 1), rows))

    @property
    def depth(self) -> int:
        """The number N of factors."""
        return len(self.sizes) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.sizes[-1], self.sizes[0])

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple((self.sizes[j + 1], self.sizes[j]) for j in range(self.depth))

    @property
    def highest_rank(self) -> int:
        return min(self.sizes)

    def product(self, factors: Factors) -> Array:
        return self.forward(factors)[0]

    def forward(self, factors: Factors) -> tuple[Array, Factors]:
        partial = [factors[0]]
        for factor in factors[1:]:
            partial.append(product(factor, partial[-1]))
        return partial[-1], tuple(partial)

    def pullback(self, factors: Factors, partial: Factors, gradient: Array) -> Factors:
        r"""dL/dW_j = (W_N ... W_{j+1})^T gradient (W_{j-1} ... W_1)^T."""
        gradients = []
        for j in range(self.depth - 1, 0, -1):
            gradients.append(product(gradient, partial[j - 1].T))
            gradient = transposed_product(factors[j], gradient)
        gradients.append(gradient)
        return tuple(reversed(gradients))

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """W_{j+1}^T W_{j+1} - W_j W_j^T for each pair of neighbours."""
        pairs = zip(factors[:-1], factors[1:], strict=True)
        return tuple(high.T @ high - low @ low.T for low, high in pairs)

    def neighbours(self, factors: Factors) -> tuple[Factors, Factors]:
        """The products around each factor: all W_N ... W_{j+1}, and all W_{j-1} ... W_1."""
        dtype = factors[0].dtype
        left = [jnp.eye(self.sizes[-1], dtype=dtype)]
        right = [jnp.eye(self.sizes[0], dtype=dtype)]
        for j in range(self.depth - 1):
            left.append(left[-1] @ factors[-1 - j])
            right.append(factors[j] @ right[-1])
        return tuple(reversed(left)), tuple(right)

    def std_of(self, product_std: float) -> float:
        """(product_std^2 / (d_1 ... d_{N-1}))^(1/2N); see `gaussian_factors`."""
        return starts._std_of(self.sizes, product_std)

    def balanced(self, w: Checked[ArrayLike], key: Checked[PRNGKeyArray | None] = None) -> Factors:
        """Balanced factors whose product is the matrix w; see `balanced_factors`."""
        return starts.balanced_factors(w, self.sizes, key)

    def random_balanced(self, key: Checked[PRNGKeyArray], std: Checked[float]) -> Factors:
        """Balanced factors of a product with N(0, std^2) entries; see `starts.random_balanced`."""
        return starts.random_balanced(key, self.sizes, std)

    def identity(self, scale: Checked[float]) -> Factors:
        """Factors scale^(1/N) * I, whose product is scale * I; see `identity_factors`."""
        return starts.identity_factors(self.sizes, scale)

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """The largest || W_{j+1}^T W_{j+1} - W_j W_j^T ||_nuclear; see `balance.unbalancedness`."""
        return balance.unbalancedness(factors)

    def nearest_balanced(self, factors: Factors) -> Factors:
        """Balanced factors that keep W_1; see `balance.nearest_balanced`."""
        return balance.nearest_balanced(factors)
