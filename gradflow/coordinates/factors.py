"""Coordinates that are a function of the factors; among them the factors themselves."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow import factored
from gradflow._util.validate import finite_array
from gradflow.coordinates.base import AbstractCoordinates, expected_norm, growth_of_errors
from gradflow.coordinates.product import sign_to_keep, signed_share
from gradflow.dynamics.base import AbstractDynamics, DynamicState
from gradflow.dynamics.gradient import GradientFlow
from gradflow.dynamics.momentum import MomentumFlow
from gradflow.factorizations.base import Factors
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.factorizations.hidden_units import hidden_units
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.state import AbstractFactorsView

_UNITS = 40
"""Hidden units, and what they enter by, up to which their singular values are watched."""
_PAIRS = 10_000
"""Pairs of parameters of a diagonal network up to which they are."""


class AbstractFactorCoordinates(AbstractFactorsView, AbstractCoordinates):
    """Coordinates y = from_factors(W_1, ..., W_N) and back, of any dynamics of the factors alone.

    The velocity is that of the dynamics, mapped by the derivative of `from_factors`.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the factors obey.

    Example:
      >>> import gradflow as gf, jax, jax.numpy as jnp
      >>> class LogFactors(gf.coordinates.AbstractFactorCoordinates):
      ...     name = "log factors"
      ...     normwise = False
      ...
      ...     @classmethod
      ...     def refusal(cls, objective, dynamics, factors):
      ...         positive = all(bool(jnp.all(f > 0)) for f in factors)
      ...         return None if positive else "an entry of the factors is not above 0"
      ...
      ...     def from_factors(self, factors):
      ...         return jax.tree.map(jnp.log, factors)
      ...
      ...     def factors(self, y):
      ...         return jax.tree.map(jnp.exp, y)
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 1, 2)))
      >>> start = (jnp.full((1, 2), 1e-30), jnp.full((2, 1), 1e-30))
      >>> flow = gf.solve_flow(objective, start, coordinates=LogFactors, stop_loss=0.6)
      >>> flow.outcome.name
      'REACHED_LOSS'
    """

    objective: Objective
    dynamics: AbstractDynamics

    @abc.abstractmethod
    def from_factors(self, factors: Factors) -> Any:
        """The coordinates y of factors."""

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        del objective, dynamics, factors
        return None

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Any]:
        if len(dynamics.initial(factors)) != len(factors):
            raise ValueError(
                f"Coordinates {cls.name!r} hold the factors alone, but the dynamics "
                f"{dynamics.name!r} moves more than these; use coordinates='factors'."
            )
        made = cls(objective, dynamics)  # type: ignore[call-arg]
        return made, made.from_factors(factors)

    def velocity(self, y: Any) -> Any:
        factors = self.factors(y)
        moving = self.dynamics.velocity(self.objective, factors)
        return jax.jvp(self.from_factors, (factors,), (moving,))[1]

    def named(self, y: Any) -> dict[str, Array]:
        return {f"W_{k}": factor for k, factor in enumerate(self.factors(y), start=1)}

    def smooth(self, y: Any, tolerance: Any = None) -> Bool[Array, ""]:
        return self.objective.smooth(self.factors(y), tolerance)

    def crossed(self, before: Any, after: Any, tolerance: Any) -> Bool[Array, ""]:
        return self.objective.crossed(self.factors(before), self.factors(after), tolerance)


class FactorCoordinates(AbstractFactorCoordinates):
    """The factors: the flow as it is defined, for any dynamics, any factorisation, balanced or not.

    y is the state of the dynamics: (W_1, ..., W_N) and what else moves with them.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      dynamics: what the factors obey.
      kink_width: None, or up to which share of the largest singular value a penalty with a kink is
        smoothed; see `AbstractSpectralPenalty.gradient`.
      goal: None, or the expected norm of the product at the end.
      sign: None, or the sign of the start's determinant (1 if it is not square); see `margin`.
    """

    objective: Objective
    dynamics: AbstractDynamics = GradientFlow()
    kink_width: Float[Array, ""] | None = None
    goal: Float[Array, ""] | None = None
    sign: Float[Array, ""] | None = None
    name: ClassVar[str] = "factors"
    resolution: ClassVar[float] = 1e-10

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, DynamicState]:
        sign = sign_to_keep(objective, dynamics, factors)
        return cls(objective, dynamics, sign=sign), dynamics.initial(factors)

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, DynamicState]:
        count = len(objective.factorization.factor_shapes)
        names = [f"W_{k}" for k in range(1, count + 1)]
        if missing := [name for name in names if name not in named]:
            raise ValueError(f"The start has no {missing[0]}; it has {', '.join(named)}.")
        arrays = {name: jnp.asarray(finite_array(name, named[name])) for name in named}
        factors = objective.factorization.check([arrays[name] for name in names])
        dynamics = dynamics.prepared(objective, factors)
        state = dynamics.initial(factors)
        if sorted(dynamics.names(state)) != sorted(named):
            raise ValueError(
                f"The start has {', '.join(named)}, but a flow of the dynamics {dynamics.name!r} "
                f"starts from {', '.join(dynamics.names(state))}."
            )
        sign = sign_to_keep(objective, dynamics, factors)
        made = cls(objective, dynamics, sign=sign)
        return made, tuple(arrays[name] for name in dynamics.names(state))

    def velocity(self, y: DynamicState) -> DynamicState:
        return self.dynamics.velocity(self.objective, y, self.kink_width)

    def from_factors(self, factors: Factors) -> DynamicState:
        return self.dynamics.initial(factors)

    def factors(self, y: DynamicState) -> Factors:
        return self.dynamics.factors(y)

    def named(self, y: DynamicState) -> dict[str, Array]:
        return dict(zip(self.dynamics.names(y), y, strict=True))

    def squared_gradient_norm(self, y: DynamicState) -> Float[Array, ""]:
        gradient = self.objective.gradient(self.factors(y), self.kink_width)
        return jnp.sum(jnp.stack([jnp.sum(g**2) for g in gradient]))

    def with_tolerance(self, tolerance: Any) -> Self:
        return dataclasses.replace(
            self,
            kink_width=kink_width_for(self.objective, tolerance),
            goal=expected_norm(self.problem),
        )

    def margin(self, y: DynamicState) -> Float[Array, ""] | None:
        return None if self.sign is None else self.sign * signed_share(self, y)

    def units(self, y: DynamicState) -> Float[Array, "2 d"] | None:
        """Singular values of hidden units; of a diagonal network, lengths of its pairs."""
        model = self.objective.factorization
        if not isinstance(self.dynamics, GradientFlow | MomentumFlow):
            return None
        if isinstance(model, DiagonalNetwork):
            plus, minus = self.factors(y)
            return _with_shares([jnp.hypot(plus, minus)]) if plus.size <= _PAIRS else None
        units = hidden_units(model, [self.factors(y)])
        if not units or max(max(layer.shape) for layer in units) > _UNITS:
            return None
        return _with_shares([jnp.linalg.svd(layer, compute_uv=False) for layer in units])

    def amplification(self, y: DynamicState) -> Float[Array, ""]:
        return self._growth(y)

    def growth(self, y: DynamicState) -> Float[Array, ""]:
        return self._growth(y, jnp.inf)

    def _growth(self, y: DynamicState, *steepest: float) -> Float[Array, ""]:
        degree = self.objective.factorization.degree
        if not self.dynamics.conserves_balance or degree <= 2:
            return jnp.asarray(1.0)
        # Of a product that is not formed the singular values, which have its norm.
        formed = not self.objective.by_observations
        sized = self.product(y) if formed else self.singular_values(y)
        return growth_of_errors(self.goal, sized, degree, *steepest)

    def time_scale(self, y: DynamicState) -> Float[Array, ""]:
        model = self.objective.factorization
        if not (self.objective.by_observations and isinstance(model, MatrixProduct)):
            return super().time_scale(y)
        size, speed = factored.change(model, self.factors(y), self.factors(self.velocity(y)))
        return jnp.where(speed > 0, size / jnp.where(speed > 0, speed, 1.0), 1.0)

    def loss_by_rounding(self, y: DynamicState) -> Float[Array, ""]:
        problem, model = self.problem, self.objective.factorization
        if not (factored.is_observed(problem) and isinstance(model, MatrixProduct)):
            return super().loss_by_rounding(y)
        if not self.objective.by_observations:
            return super().loss_by_rounding(y)
        seen = self.entries(y, problem.indices)
        return problem.weight * jnp.sum((jnp.finfo(seen.dtype).eps * seen) ** 2)


def _with_shares(layers: list[Float[Array, " _"]]) -> Float[Array, "2 d"]:
    largest = [jnp.max(sizes) for sizes in layers]
    pairs = zip(layers, largest, strict=True)
    shares = [sizes / jnp.where(most > 0, most, 1.0) for sizes, most in pairs]
    return jnp.stack([jnp.concatenate(layers), jnp.concatenate(shares)])


def kink_width_for(objective: Objective, tolerance: Any) -> Any:
    """The tolerance, if the objective's penalty has a kink to be smoothed at this scale.

    Args:
      objective: the problem, its factorisation and its penalty.
      tolerance: the share of the largest singular value that a solver resolves.
    """
    penalty = objective.penalty
    return tolerance if penalty is not None and penalty.kinked else None
