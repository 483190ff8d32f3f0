"""Diagonal linear networks: a vector as a difference of powers."""

from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import finite_array, positive_or_traced, whole
from gradflow.factorizations.base import AbstractFactorization, Factors


class DiagonalNetwork(AbstractFactorization):
    r"""beta = w_+^D - w_-^D, entry by entry, with the factors (w_+, w_-).

    The gradients are D w_+^(D-1) G and -D w_-^(D-1) G with the gradient G in beta. So each pair
    keeps its power mean with the exponent 2 - D, and no parameter changes its sign.

    Args:
      size: the entries of beta.
      depth: D, at least 2.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> model = gf.DiagonalNetwork(2, depth=2)
      >>> model.product((jnp.array([2.0, 1.0]), jnp.array([1.0, 1.0]))).tolist()
      [3.0, 0.0]
      >>> objective = gf.Objective(gf.LeastSquares([[1.0, 2.0]], [1.0]), model)
      >>> flow = gf.solve_flow(
      ...     objective, model.identity(1e-3), stop_loss=1e-12, observe=["product"]
      ... )
      >>> flow["product"][-1].round(3).tolist()  # least l1 norm among beta_1 + 2 beta_2 = 1
      [0.0, 0.5]

    References:
      Woodworth et al. 2020, Kernel and Rich Regimes in Overparametrized Models.
    """

    size: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    def __init__(self, size: Checked[int], depth: Checked[int]):
        self.size, self.depth = whole("size", size), whole("depth", depth)
        if self.depth < 2:
            raise ValueError(
                f"depth must be at least 2, but it is {depth}; a linear model is depth 1 of a "
                "MatrixProduct."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.size,), (self.size,))

    @property
    def degree(self) -> int:
        return self.depth

    def product(self, factors: Factors) -> Array:
        plus, minus = factors
        # A difference of powers need not be 0 where both are equal: compilers fuse its products.
        powers = range(self.depth)
        rest = sum(plus**k * minus ** (self.depth - 1 - k) for k in powers)
        return (plus - minus) * rest

    def forward(self, factors: Factors) -> tuple[Array, None]:
        return self.product(factors), None

    def pullback(self, factors: Factors, partial: None, gradient: Array) -> Factors:
        """D w_+^(D-1) G and -D w_-^(D-1) G."""
        del partial
        slopes = [self.depth * w ** (self.depth - 1) for w in factors]
        return slopes[0] * gradient, -slopes[1] * gradient

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        r"""The squared power mean ((|w_+|^(2-D) + |w_-|^(2-D)) / 2)^(2/(2-D)) of each pair.

        At D = 2 it is the geometric one, w_+ w_-. At odd D, for pairs of one sign; 0 for others.
        """
        plus, minus = factors
        if self.depth == 2:
            return (plus * minus,)
        power = 2 - self.depth
        mean = ((jnp.abs(plus) ** power + jnp.abs(minus) ** power) / 2) ** (2 / power)
        if self.depth % 2:
            mean = jnp.where(plus * minus >= 0, mean, 0.0)
        return (mean,)

    def std_of(self, product_std: float) -> float:
        """From Var(beta_i) = 2 s^(2D) Var(z^D), z ~ N(0, 1)."""
        square = prod(range(1, 2 * self.depth, 2))
        mean = 0 if self.depth % 2 else prod(range(1, self.depth, 2))
        return (product_std / (2 * (square - mean**2)) ** 0.5) ** (1 / self.depth)

    def identity(self, scale: Checked[float]) -> Factors:
        """w_+ = w_- = scale, the alpha of papers: a scale of the parameters; beta is 0."""
        start = positive_or_traced("scale", scale) * jnp.ones(self.size)
        return start, start

    def balanced(self, w: Checked[ArrayLike], key: PRNGKeyArray | None = None) -> Factors:
        """The parameters of least norm of beta: one of each pair is |beta_i|^(1/D), the other 0.

        A parameter that is 0 stays 0 along a gradient flow, so entries of beta keep their signs.

        Args:
          w: (size,), beta.
          key: not used; nothing is free.

        Raises:
          ValueError: if w has another shape.
        """
        del key
        beta = finite_array("w", w, ndim=1)
        if beta.shape != self.shape:
            raise ValueError(
                f"w has shape {beta.shape} but beta has shape {self.shape}; give such a vector."
            )
        beta = jnp.asarray(beta)
        plus, minus = (jnp.maximum(part, 0.0) ** (1 / self.depth) for part in (beta, -beta))
        return plus, minus

    def random_balanced(self, key: Checked[PRNGKeyArray], std: Checked[float]) -> Factors:
        """`balanced` of a beta with N(0, std^2) entries."""
        key = one_key(key)
        return self.balanced(positive_or_traced("std", std) * jax.random.normal(key, self.shape))

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """The largest of the `invariants`, by absolute value: 0 where one of each pair is 0."""
        (mean,) = self.invariants(factors)
        return jnp.max(jnp.abs(mean))

    def nearest_balanced(self, factors: Factors) -> Factors:
        """The smaller of each pair set to 0."""
        plus, minus = factors
        first = jnp.abs(plus) >= jnp.abs(minus)
        return jnp.where(first, plus, 0.0), jnp.where(first, 0.0, minus)
