"""CP tensors: sums of outer products of vectors."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array, shape_of
from gradflow.factorizations.base import AbstractFactorization, Factors, weight_std
from gradflow.linalg.khatri_rao import khatri_rao, khatri_rao_pullback
from gradflow.linalg.lengths import column_lengths
from gradflow.linalg.products import product, transposed_product


class CPTensor(AbstractFactorization):
    r"""CP tensor W = sum_r w_r^(1) x ... x w_r^(order), with factors[n] of shape (shape[n], rank).

    Products go through two Khatri-Rao halves, so that nearly all work is matrix multiplication.

    Args:
      shape: the lengths of the axes; at least two.
      rank: the number R of terms.

    Example:
      >>> import jax.numpy as jnp
      >>> CPTensor((2, 3, 4), 1).product(
      ...     (jnp.ones((2, 1)), jnp.ones((3, 1)), jnp.ones((4, 1)))
      ... ).shape
      (2, 3, 4)

    References:
      razin2020, Equation (12).
    """

    tensor_shape: tuple[int, ...] = eqx.field(static=True)
    rank: int = eqx.field(static=True)

    def __init__(self, shape: Checked[Sequence[int]], rank: Checked[int]):
        self.tensor_shape = shape_of("shape", shape)
        if len(self.tensor_shape) < 2:
            raise ValueError(f"A CP tensor needs at least 2 axes, but shape is {tuple(shape)}.")
        (self.rank,) = shape_of("(rank,)", (rank,))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor_shape

    @property
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple((n, self.rank) for n in self.tensor_shape)

    @property
    def highest_rank(self) -> int:
        return min(self.rank, *self.tensor_shape)

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """The differences of squared norms of w_r^(n+1) and w_r^(n), for each r and n."""
        squares = [jnp.sum(factor**2, axis=0) for factor in factors]
        return tuple(b - a for a, b in zip(squares[:-1], squares[1:], strict=True))

    def product(self, factors: Factors) -> Array:
        return self.forward(factors)[0]

    @property
    def half(self) -> int:
        """How many axes the first of two Khatri-Rao halves has."""
        return (len(self.tensor_shape) + 1) // 2

    def forward(self, factors: Factors) -> tuple[Array, Factors]:
        left = khatri_rao(factors[: self.half])
        right = khatri_rao(factors[self.half :])
        return product(left, right.T).reshape(self.tensor_shape), (left, right)

    def pullback(self, factors: Factors, partial: Factors, gradient: Array) -> Factors:
        left, right = partial
        unfolded = gradient.reshape(left.shape[0], right.shape[0])
        half = self.half
        return (
            *khatri_rao_pullback(factors[:half], product(unfolded, right)),
            *khatri_rao_pullback(factors[half:], transposed_product(unfolded, left)),
        )

    def std_of(self, product_std: float) -> float:
        """(product_std^2 / R)^(1/2N): an entry of W is a sum of R products of N entries."""
        return weight_std(product_std, self.rank, len(self.tensor_shape))

    def balanced(self, w: Checked[ArrayLike], key: PRNGKeyArray | None = None) -> Factors:
        """The same components with all vectors of one equally long: W does not change.

        Args:
          w: components, as a tuple of factors. A tensor alone does not tell its components.
          key: not used; nothing is free.

        Raises:
          ValueError: if a single array is given, or wrong shapes.

        Example:
          >>> import gradflow as gf, jax.numpy as jnp
          >>> model = gf.CPTensor((1, 1, 1), 1)
          >>> components = (jnp.array([[8.0]]), jnp.array([[-1.0]]), jnp.array([[1.0]]))
          >>> [round(float(f[0, 0]), 12) for f in model.balanced(components)]
          [2.0, -2.0, 2.0]
        """
        del key
        if not isinstance(w, tuple | list):
            raise ValueError(
                f"{type(self).__name__} needs its factors as the start, but a single array was "
                "given, which does not tell its components; give a tuple with one array "
                f"(n, {self.rank}) an axis."
            )
        factors = self.check([finite_array(f"w[{k}]", f) for k, f in enumerate(w)])
        return balanced_columns(factors)

    def random_balanced(self, key: Checked[PRNGKeyArray], std: float) -> Factors:
        """`balanced` of components whose vectors have N(0, std^2) entries."""
        return self.balanced(self.gaussian(key, std=std))

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """Unbalancedness magnitude: the largest | ||w_r^n||^2 - ||w_r^m||^2 | over all r, n, m.

        Example:
          >>> import gradflow as gf, jax.numpy as jnp
          >>> model = gf.CPTensor((1, 1, 1), 1)
          >>> float(model.unbalancedness((jnp.array([[3.0]]), jnp.ones((1, 1)), jnp.ones((1, 1)))))
          8.0

        References:
          razin2021.
        """
        squares = jnp.stack([jnp.sum(f**2, axis=0) for f in factors])
        return jnp.max(jnp.max(squares, axis=0) - jnp.min(squares, axis=0))

    def nearest_balanced(self, factors: Factors) -> Factors:
        """The balanced factors nearest in the Euclidean norm: each vector as long as the mean.

        Directions stay, and of a component's vectors all get the mean of their lengths; vectors
        that are zero get the direction of the first axis. Unlike `balanced` this changes W.
        """
        norms = [column_lengths(f) for f in factors]
        mean = sum(norms[1:], norms[0]) / len(factors)
        return tuple(
            jnp.where(norm > 0, f, jnp.eye(f.shape[0], 1, dtype=f.dtype))
            * (mean / jnp.where(norm > 0, norm, 1.0))
            for f, norm in zip(factors, norms, strict=True)
        )

    def component_norms(self, factors: Factors) -> Float[Array, " rank"]:
        """The norms of the components, the products of their vectors' lengths, in order.

        Example:
          >>> import gradflow as gf, jax.numpy as jnp
          >>> model = gf.CPTensor((2, 2), 2)
          >>> model.component_norms((jnp.diag(jnp.array([2.0, 3.0])), jnp.eye(2))).tolist()
          [2.0, 3.0]

        References:
          razin2021.
        """
        return jnp.prod(jnp.stack([column_lengths(f) for f in factors]), axis=0)


def balanced_columns(factors: Factors) -> Factors:
    """The same components, all vectors of one equally long; those with a zero vector become 0."""
    norms = [column_lengths(f) for f in factors]
    wanted = jnp.prod(jnp.stack(norms) ** (1 / len(factors)), axis=0)
    return tuple(
        f * (wanted / jnp.where(norm > 0, norm, 1.0))
        for f, norm in zip(factors, norms, strict=True)
    )
