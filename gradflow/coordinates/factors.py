"""The factors themselves: the flow as it is defined."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow.coordinates.base import AbstractChart, expected_norm, growth_of_errors
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem


class FactorChart(AbstractChart):
    """y = (W_1, ..., W_N): the flow as it is defined; any factorisation, balanced or not.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      ramp: None, or up to which share of the largest singular value a penalty with a kink is
        smoothed; see `AbstractSpectralPenalty.gradient`.
      goal: None, or the expected norm of the product at the end.
    """

    objective: Objective
    ramp: Float[Array, ""] | None = None
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "factors"
    log_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = True

    @property
    def problem(self) -> AbstractProblem:
        return self.objective.problem

    def velocity(self, y: Factors) -> Factors:
        return tuple(-g for g in self.objective.gradient(y, self.ramp))

    def product(self, y: Factors) -> Array:
        return self.objective.product(y)

    def squared_speed(self, y: Factors) -> Float[Array, ""]:
        gradient = self.objective.gradient(y, self.ramp)
        return jnp.sum(jnp.stack([jnp.sum(g**2) for g in gradient]))

    def penalty(self, y: Factors) -> Float[Array, ""]:
        return self.objective.penalty_at(y)

    def smooth(self, y: Factors, tolerance: Any = None) -> Bool[Array, ""]:
        return self.objective.smooth(y, tolerance)

    def crossed(self, before: Factors, after: Factors, tolerance: Any) -> Bool[Array, ""]:
        return self.objective.crossed(before, after, tolerance)

    def resolving(self, tolerance: Any) -> "FactorChart":
        return dataclasses.replace(
            self, ramp=ramp_for(self.objective, tolerance), goal=expected_norm(self.problem)
        )

    def amplification(self, y: Factors) -> Float[Array, ""]:
        degree = self.objective.factorization.degree
        return growth_of_errors(self.goal, self.product(y), degree)

    def factors(self, y: Factors) -> Factors:
        return y

    def slogdet(self, y: Factors) -> tuple[Array, Array]:
        square = all(f.ndim == 2 and f.shape[0] == f.shape[1] for f in y)
        if not (square and isinstance(self.objective.factorization, MatrixProduct)):
            return super().slogdet(y)
        parts = [jnp.linalg.slogdet(f) for f in y]
        sign = jnp.prod(jnp.stack([p[0] for p in parts]))
        return sign, jnp.sum(jnp.stack([p[1] for p in parts]))


def ramp_for(objective: Objective, tolerance: Any) -> Any:
    """The tolerance, if the objective's penalty has a kink to be smoothed at this scale."""
    penalty = objective.penalty
    return tolerance if penalty is not None and penalty.kinked else None
