"""What a factorisation is: a map from factors to the array W, with starts and balance."""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.random import one_key
from gradflow._util.validate import positive_or_traced

Factors = tuple[Array, ...]
FactorsLike = Sequence[Array | np.ndarray]
"""Factors, of which some may be NumPy's arrays, as those of a trajectory."""


class AbstractFactorization(eqx.Module):
    """A map from factors to W. An own one gives `shape`, `factor_shapes` and `product`.

    The rest has defaults: the gradient in the factors comes by differentiation, Gaussian starts
    exist; other starts and balance are refused until they are given.

    Example:
      >>> import equinox as eqx, gradflow as gf, jax
      >>> class Symmetric(gf.factorizations.AbstractFactorization):
      ...     size: int = eqx.field(static=True)
      ...
      ...     @property
      ...     def shape(self):
      ...         return (self.size, self.size)
      ...
      ...     @property
      ...     def factor_shapes(self):
      ...         return ((self.size, self.size),)
      ...
      ...     def product(self, factors):
      ...         return factors[0] @ factors[0].T
      >>> model = Symmetric(2)
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), model)
      >>> start = model.gaussian(jax.random.key(0), std=0.1)
      >>> flow = gf.solve_flow(objective, start, stop_loss=1e-2)
      >>> flow.outcome.name
      'REACHED_LOSS'
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the product."""

    @property
    @abc.abstractmethod
    def factor_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the factors, in order."""

    @abc.abstractmethod
    def product(self, factors: Factors) -> Array:
        """The array W that the factors stand for."""

    @property
    def degree(self) -> int:
        """The N in product(c * factors) = c^N product(factors); the number of factors by default.

        Flows go by it when they estimate how errors grow in the rise from a small start.
        """
        return len(self.factor_shapes)

    @property
    def highest_rank(self) -> int:
        """What the rank of a matrix W cannot exceed, whatever the factors: min(d, d') by default.

        Singular values beyond it are rounding: penalties leave them out, runs in factors record 0.
        """
        return min(self.shape)

    def forward(self, factors: Factors) -> tuple[Array, Any]:
        """The product, and what `pullback` can use again."""
        return jax.vjp(self.product, factors)

    def pullback(self, factors: Factors, partial: Any, gradient: Array) -> Factors:
        """Gradient in the factors from `gradient`, the gradient in W, and `forward`'s partials."""
        del factors
        return partial(gradient)[0]

    def invariants(self, factors: Factors) -> tuple[Array, ...]:
        """What every gradient flow of a function of W conserves, as far as it is known."""
        del factors
        return ()

    def gaussian(
        self,
        key: Checked[PRNGKeyArray],
        *,
        std: Checked[float | None] = None,
        product_std: Checked[float | None] = None,
    ) -> Factors:
        """Independent N(0, s^2) entries in every factor.

        Args:
          key: a JAX random key.
          std: s itself.
          product_std: or the standard deviation of the entries of W, where there is a formula for s
            (see the factorisation's `std_of`).

        Raises:
          ValueError: unless exactly one of them is given, and above 0; or without a formula.
        """
        key = one_key(key)
        if (std is None) == (product_std is None):
            raise ValueError(
                f"Give exactly one of std and product_std, but they are {std} and {product_std}."
            )
        if std is None:
            scale = self.std_of(positive_or_traced("product_std", product_std))
        else:
            scale = positive_or_traced("std", std)
        keys = jax.random.split(key, len(self.factor_shapes))
        return tuple(
            scale * jax.random.normal(k, shape)
            for k, shape in zip(keys, self.factor_shapes, strict=True)
        )

    def std_of(self, product_std: Checked[float]) -> float:
        """The s of N(0, s^2) entries of the factors that gives W entries of this deviation.

        Raises:
          ValueError: if no formula is known.
        """
        del product_std
        raise self._refusal("a formula from product_std", "gaussian(key, std=...)")

    def balanced(self, w: Checked[ArrayLike], key: Checked[PRNGKeyArray | None] = None) -> Factors:
        """Balanced factors of a given W.

        Args:
          w: the product wanted.
          key: for what is free, at random; without one the choice is fixed.

        Raises:
          ValueError: if there are none.
        """
        del w, key
        raise self._refusal("balanced factors of a given W", "its factors as the start")

    def random_balanced(self, key: Checked[PRNGKeyArray], std: Checked[float]) -> Factors:
        """Balanced factors at random.

        Args:
          key: a JAX random key.
          std: the standard deviation of what is drawn.

        Raises:
          ValueError: if the factorisation has no notion of balance.
        """
        del key, std
        raise self._refusal("balanced factors", "gaussian(key, std=...)")

    def identity(self, scale: Checked[float]) -> Factors:
        """The start that papers call a multiple of the identity.

        Args:
          scale: a number above 0.

        Raises:
          ValueError: if there is none.
        """
        del scale
        raise self._refusal("an identity start", "gaussian(key, std=...)")

    def unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """How far factors are from balanced: 0 if they are; conserved by gradient flow.

        Raises:
          ValueError: if the factorisation has no notion of balance.
        """
        del factors
        raise self._refusal("an unbalancedness", "an observable of your own")

    def relative_unbalancedness(self, factors: Factors) -> Float[Array, ""]:
        """`unbalancedness` divided by the largest squared Frobenius norm of a factor.

        Raises:
          ValueError: if the factorisation has no notion of balance.
        """
        scale = jnp.max(jnp.stack([jnp.sum(f**2) for f in factors]))
        return self.unbalancedness(factors) / jnp.where(scale > 0, scale, 1)

    def nearest_balanced(self, factors: Factors) -> Factors:
        """Balanced factors near given ones.

        Raises:
          ValueError: if the factorisation has no notion of balance.
        """
        del factors
        raise self._refusal("balanced factors", "the factors as they are")

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

    def _refusal(self, what: str, instead: str) -> ValueError:
        return ValueError(f"{type(self).__name__} does not know {what}; use {instead}.")


def weight_std(product_std: Any, terms: int, order: int) -> Any:
    """The s of N(0, s^2) weights of which sums of `terms` products of `order` have this deviation.

    It is (product_std^2 / terms)^(1 / (2 order)), also where the square underflows.

    Example:
      >>> weight_std(0.25, 4, 1), weight_std(1e-200, 1, 2)
      (0.125, 1e-100)
    """
    return (product_std / terms**0.5) ** (1 / order)
