"""CP tensors: sums of outer products of vectors."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from gradflow._util.validate import shape_of
from gradflow.factorizations.base import AbstractFactorization, Factors


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

    def __init__(self, shape: Sequence[int], rank: int):
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

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """The differences of squared norms of w_r^(n+1) and w_r^(n), for each r and n."""
        squares = [jnp.sum(factor**2, axis=0) for factor in factors]
        return tuple(b - a for a, b in zip(squares[:-1], squares[1:], strict=True))

    @property
    def _half(self) -> int:
        return (len(self.tensor_shape) + 1) // 2

    def forward(self, factors: Factors) -> tuple[Array, Factors]:
        left = _khatri_rao(factors[: self._half])
        right = _khatri_rao(factors[self._half :])
        return (left @ right.T).reshape(self.tensor_shape), (left, right)

    def pullback(self, factors: Factors, partial: Factors, gradient: Array) -> Factors:
        left, right = partial
        unfolded = gradient.reshape(left.shape[0], right.shape[0])
        half = self._half
        return (
            *_khatri_rao_pullback(factors[:half], unfolded @ right),
            *_khatri_rao_pullback(factors[half:], unfolded.T @ left),
        )


def _khatri_rao(factors: Factors) -> Array:
    """Column-wise Kronecker product: (n_1, R), (n_2, R), ... -> (n_1 n_2 ..., R)."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return result


def _khatri_rao_pullback(factors: Factors, cotangent: Array) -> Factors:
    """Gradients in the factors of a Khatri-Rao product, from the gradient in the product."""
    folded = cotangent.reshape(*[f.shape[0] for f in factors], -1)
    gradients = []
    for n in range(len(factors)):
        term = folded
        for m in range(len(factors) - 1, -1, -1):
            if m != n:
                term = jnp.sum(term * jnp.expand_dims(factors[m], _other_axes(term, m)), axis=m)
        gradients.append(term)
    return tuple(gradients)


def _other_axes(term: Array, axis: int) -> tuple[int, ...]:
    return tuple(k for k in range(term.ndim - 1) if k != axis)
