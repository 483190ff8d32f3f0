"""A product of matrices whose factors are spread over a grid of devices."""

from typing import Any

import equinox as eqx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.spread_products import times, times_transposed, transposed_times


class SpreadProduct(AbstractFactorization):
    """W = W_N ... W_1 as a `MatrixProduct`, no factor and no partial product whole on a device.

    `gradflow.run_descent` and `gradflow.solve_flow` make it of a `MatrixProduct` where they are
    given a mesh.

    Attributes:
      model: the product.
      mesh: the grid of devices.
    """

    model: MatrixProduct
    mesh: Mesh = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.model.shape

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.model.factor_shapes

    @property
    def highest_rank(self) -> int:
        return self.model.highest_rank

    def product(self, factors: Factors) -> Array:
        return self.forward(factors)[0]

    def forward(self, factors: Factors) -> tuple[Array, Factors]:
        partial = [factors[0]]
        for factor in factors[1:]:
            partial.append(times(factor, partial[-1], self.mesh))
        return partial[-1], tuple(partial)

    def pullback(self, factors: Factors, partial: Factors, gradient: Array) -> Factors:
        gradients = []
        for j in range(self.model.depth - 1, 0, -1):
            gradients.append(times_transposed(gradient, partial[j - 1], self.mesh))
            gradient = transposed_times(factors[j], gradient, self.mesh)
        gradients.append(gradient)
        return tuple(reversed(gradients))

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """W_{j+1}^T W_{j+1} - W_j W_j^T for each pair of neighbours."""
        pairs = zip(factors[:-1], factors[1:], strict=True)
        return tuple(
            transposed_times(high, high, self.mesh) - times_transposed(low, low, self.mesh)
            for low, high in pairs
        )

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """As that of the product."""
        return self.model.unbalancedness(factors)


def over(mesh: Mesh, model: Any) -> SpreadProduct:
    """A matrix product's factors spread over a mesh.

    Args:
      mesh: the grid of devices.
      model: a `MatrixProduct`.

    Raises:
      ValueError: if it is none.
    """
    if not isinstance(model, MatrixProduct):
        raise ValueError(
            f"A mesh spreads the factors of a MatrixProduct, but the factorization is {model!r}; "
            "leave mesh away."
        )
    return SpreadProduct(model, mesh)
