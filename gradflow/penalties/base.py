"""What a penalty is: a function of W, or of the parameters, that is added to the loss."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import positive_or_traced
from gradflow.factorizations.base import AbstractFactorization, Factors


class AbstractRegularizer(eqx.Module):
    """What an objective adds to the loss: a function of W (`AbstractPenalty`) or of the factors.

    Both kinds give `value` of their argument; `gradient`, `smooth` and `crossed` have defaults, for
    functions that are smooth everywhere.
    """

    @property
    def kinked(self) -> bool:
        """Whether there are points without a gradient, which a flow has to watch out for."""
        return False

    @abc.abstractmethod
    def argument(self, w: Array, factors: Factors) -> Any:
        """What it is a function of: W or the factors."""

    @abc.abstractmethod
    def value(self, argument: Any) -> Float[Array, ""]:
        """The penalty, weight included."""

    def value_at_rank(self, argument: Any, rank: int | None) -> Float[Array, ""]:
        """The value where W has at most this rank, as its factorisation says."""
        del rank
        return self.value(argument)

    def gradient(self, argument: Any) -> Any:
        """The gradient of the value; by differentiation where no closed form is given."""
        return jax.grad(self.value)(argument)

    def smooth(self, argument: Any, tolerance: Any = None) -> Bool[Array, ""]:
        """Whether there is a gradient; singular values up to `tolerance` count as zero."""
        del argument, tolerance
        return jnp.asarray(True)

    def crossed(self, before: Any, after: Any, tolerance: Any) -> Bool[Array, ""]:
        """Whether a point without a gradient was crossed from one argument to another near it."""
        del before, after, tolerance
        return jnp.asarray(False)

    @abc.abstractmethod
    def add_gradient(
        self,
        gradient: Array,
        w: Array,
        factors: Factors,
        pullback: Callable[[Array], Factors],
        kink_width: Any = None,
        rank: int | None = None,
    ) -> Factors:
        """The gradient of loss + penalty in the factors.

        Args:
          gradient: of the loss in W.
          w: W.
          factors: W_1, ..., W_N.
          pullback: from a gradient in W to that in the factors.
          kink_width: see `AbstractSpectralPenalty.gradient`; for those with a kink.
          rank: the highest that W can have, as its factorisation says.
        """

    def smooth_at(
        self, factorization: AbstractFactorization, w: Array, factors: Factors, tolerance: Any
    ) -> Bool[Array, ""]:
        """Whether the penalty has a gradient in the factors."""
        del factorization
        return self.smooth(self.argument(w, factors), tolerance)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse a W of a shape that the penalty is not made for.

        Raises:
          ValueError: if it is not.
        """


class AbstractPenalty(AbstractRegularizer):
    """A penalty on W. An own one gives `value`; the rest has defaults for a smooth function.

    Example:
      >>> import gradflow as gf, jax, jax.numpy as jnp
      >>> class SquaredNorm(gf.penalties.AbstractPenalty):
      ...     weight: float
      ...
      ...     def value(self, w):
      ...         return self.weight * jnp.sum(w**2)
      >>> SquaredNorm(0.5).gradient(jnp.eye(2)).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2)), SquaredNorm(0.5))
      >>> flow = gf.solve_flow(objective, (2 * jnp.eye(2),), horizon=1.0)
      >>> flow["unobserved_entries"][-1].round(6).tolist()  # 2 / e
      [0.735759]
    """

    def argument(self, w: Array, factors: Factors) -> Array:
        """W."""
        del factors
        return w

    @abc.abstractmethod
    def value(self, w: AnyArray) -> Float[Array, ""]:
        """The penalty at W, weight included."""

    def add_gradient(
        self,
        gradient: Array,
        w: Array,
        factors: Factors,
        pullback: Callable[[Array], Factors],
        kink_width: Any = None,
        rank: int | None = None,
    ) -> Factors:
        """The pullback of the sum of both gradients in W."""
        del factors, kink_width, rank
        return pullback(gradient + self.gradient(w))


class AbstractParameterPenalty(AbstractRegularizer):
    """A penalty on the factors. An own one gives `value`; the rest has defaults.

    Unlike a penalty on W it does away with the invariants of the gradient flow.

    Example:
      >>> import gradflow as gf, jax, jax.numpy as jnp
      >>> class DecayOfTheLast(gf.penalties.AbstractParameterPenalty):
      ...     weight: float
      ...
      ...     def value(self, factors):
      ...         return self.weight / 2 * jnp.sum(factors[-1] ** 2)
      >>> gradient = DecayOfTheLast(0.5).gradient((jnp.eye(1), 3 * jnp.eye(1)))
      >>> [float(g[0, 0]) for g in gradient]
      [0.0, 1.5]
    """

    def argument(self, w: Array, factors: Factors) -> Factors:
        """The factors."""
        del w
        return factors

    @abc.abstractmethod
    def value(self, factors: Factors) -> Float[Array, ""]:
        """The penalty at the factors, weight included."""

    def add_gradient(
        self,
        gradient: Array,
        w: Array,
        factors: Factors,
        pullback: Callable[[Array], Factors],
        kink_width: Any = None,
        rank: int | None = None,
    ) -> Factors:
        """The sum of the pulled back gradient of the loss and the penalty's own."""
        del w, kink_width, rank
        return jax.tree.map(jnp.add, pullback(gradient), self.gradient(factors))


def checked_weight(weight: Checked[float]) -> Float[Array, ""]:
    """A penalty's weight as an array.

    Args:
      weight: a number, or one that JAX traces.

    Raises:
      ValueError: if it is a number that is not positive.
    """
    return jnp.asarray(positive_or_traced("weight", weight), dtype=float)
