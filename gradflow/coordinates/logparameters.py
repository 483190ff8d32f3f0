r"""Logarithms of the parameters of a diagonal network: each keeps its sign and relative accuracy.

At depth 2, beta = w_+^2 - w_-^2, and with the gradient G in beta

    d log |w_+|/dt = -2 G,    d log |w_-|/dt = 2 G,

so that both move by the same amount, and w_+ w_- stays by construction. A parameter that is 0 stays
0.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow._util.validate import finite_array
from gradflow.coordinates.base import expected_norm, known_norm, leaps_to_rise
from gradflow.coordinates.factors import AbstractFactorCoordinates
from gradflow.dynamics.base import AbstractDynamics
from gradflow.dynamics.gradient import GradientFlow
from gradflow.factorizations.base import Factors
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.objective import Objective

_TINY = 1e-2
"""Of the square root of the expected norm, the largest pair of a tiny start."""

Pair = tuple[Float[Array, " n"], Float[Array, " n"]]


class LogParameterCoordinates(AbstractFactorCoordinates):
    """See the module's docstring. y = (log |w_+|, log |w_-|), and 0 where a parameter is 0.

    Attributes:
      objective: a problem and a `DiagonalNetwork` of depth 2, without a penalty.
      dynamics: that of gradient flow.
      signs: of w_+ and w_-: 1, -1, or 0 where a parameter is 0.
      goal: None, or the logarithm of the root of the expected norm of beta at the end.
    """

    objective: Objective
    dynamics: AbstractDynamics
    signs: Pair
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "logparameters"
    mark: ClassVar[str] = "log_plus"
    normwise: ClassVar[bool] = False
    of_order_one: ClassVar[bool] = True
    virtue: ClassVar[str] = (
        "a diagonal network from a tiny start: each parameter keeps its sign and relative accuracy"
    )

    @classmethod
    def refusal(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        del factors
        model = objective.factorization
        if not isinstance(model, DiagonalNetwork) or model.depth != 2:
            return f"they are for a DiagonalNetwork of depth 2, not {model}; use 'factors'."
        if objective.penalty is not None or not isinstance(dynamics, GradientFlow):
            return "they are for gradient flow without a penalty; use coordinates='factors'."
        return None

    @classmethod
    def drawback(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> str | None:
        pairs = jnp.hypot(*factors) if len(factors) == 2 else jnp.ones(1)
        if float(jnp.max(pairs)) < _TINY * known_norm(objective.problem) ** 0.5:
            return None
        return "the start is not tiny, and the parameters themselves can be followed."

    @classmethod
    def encode(
        cls, objective: Objective, dynamics: AbstractDynamics, factors: Factors
    ) -> tuple[Self, Pair]:
        plus, minus = factors
        made = cls(objective, dynamics, (jnp.sign(plus), jnp.sign(minus)))
        return made, made.from_factors(factors)

    def from_factors(self, factors: Factors) -> Pair:
        plus, minus = (
            jnp.log(jnp.where(sign == 0, 1.0, jnp.abs(w)))
            for w, sign in zip(factors, self.signs, strict=True)
        )
        return plus, minus

    def factors(self, y: Pair) -> Factors:
        return tuple(sign * jnp.exp(log) for log, sign in zip(y, self.signs, strict=True))

    def velocity(self, y: Pair) -> Pair:
        slope = 2 * self.problem.gradient(self.product(y))
        plus, minus = (jnp.abs(sign) for sign in self.signs)
        return -slope * plus, slope * minus

    def sizes(self, y0: Pair, y1: Pair) -> Pair:
        """A logarithm is to be right to rtol, however large."""
        del y1
        return jax.tree.map(jnp.ones_like, y0)

    def with_tolerance(self, tolerance: Any) -> Self:
        del tolerance
        goal = 0.5 * jnp.log(expected_norm(self.problem))
        return eqx.tree_at(lambda c: c.goal, self, goal, is_leaf=lambda x: x is None)

    def leaps(self, before: Pair, after: Pair) -> Bool[Array, ""]:
        return leaps_to_rise(self.goal, jnp.concatenate(before), jnp.concatenate(after))

    def time_scale(self, y: Pair) -> Float[Array, ""]:
        """That of the fastest logarithm: beta may be 0."""
        return 1 / jnp.max(jnp.abs(jnp.concatenate(self.velocity(y))))

    @classmethod
    def decode(
        cls, objective: Objective, dynamics: AbstractDynamics, named: Mapping[str, Any]
    ) -> tuple[Self, Pair]:
        plus, minus, *signs = (jnp.asarray(finite_array(name, named[name])) for name in _NAMES)
        if (reason := cls.refusal(objective, dynamics, (plus, minus))) is not None:
            raise ValueError(f"coordinates={cls.name!r} cannot hold this start: {reason}")
        return cls(objective, dynamics, (signs[0], signs[1])), (plus, minus)

    def named(self, y: Pair) -> dict[str, Array]:
        return dict(zip(_NAMES, (*y, *self.signs), strict=True))


_NAMES = ("log_plus", "log_minus", "plus_sign", "minus_sign")
