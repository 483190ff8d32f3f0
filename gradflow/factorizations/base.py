"""What a factorisation is: a map from factors to the array W, with its derivative's transpose."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

Factors = tuple[Array, ...]


class AbstractFactorization(eqx.Module):
    """A polynomial map from factors to the array W, with its derivative's transpose."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the product."""

    @property
    @abc.abstractmethod
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the factors, in order."""

    @abc.abstractmethod
    def forward(self, factors: Factors) -> tuple[Array, Any]:
        """The product, and what `pullback` can use again."""

    @abc.abstractmethod
    def pullback(self, factors: Factors, partial: Any, gradient: Array) -> Factors:
        """Gradient in the factors from `gradient`, the gradient in W, and `forward`'s partials."""

    @abc.abstractmethod
    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """What every gradient flow of a function of W conserves."""

    def product(self, factors: Factors) -> Array:
        """The array W that the factors stand for."""
        return self.forward(factors)[0]

    def check(self, factors: Any) -> Factors:
        """Return the factors as a tuple of arrays.

        Raises:
          ValueError: if a factor is missing or has the wrong shape.
        """
        arrays = tuple(jnp.asarray(f) for f in factors)
        found = tuple(a.shape for a in arrays)
        if found != self.factor_shapes:
            raise ValueError(
                f"The factors have shapes {found}, but {self!r} needs {self.factor_shapes}; "
                "factors[0] is W_1, the one that acts first."
            )
        return arrays
