"""The product of balanced factors alone."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.coordinates.base import AbstractChart, expected_norm, growth_of_errors
from gradflow.factorizations.balance import relative_unbalancedness
from gradflow.factorizations.base import Factors
from gradflow.factorizations.end_to_end import end_to_end
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem


class ProductChart(AbstractChart):
    """y = W: the flow of the product of balanced factors, dW/dt = -P_W[gradient].

    Attributes:
      fitted: the problem.
      depth: N.
      goal: None, or the expected norm of the product at the end.

    References:
      arora2019, Lemma 3.
    """

    fitted: AbstractProblem
    depth: int = eqx.field(static=True)
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "product"
    log_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = True

    @property
    def problem(self) -> AbstractProblem:
        return self.fitted

    def velocity(self, y: Array) -> Array:
        return -end_to_end(y, self.fitted.gradient(y), self.depth)

    def product(self, y: Array) -> Array:
        return y

    def resolving(self, tolerance: Any) -> "ProductChart":
        del tolerance
        return dataclasses.replace(self, goal=expected_norm(self.fitted))

    def amplification(self, y: Array) -> Float[Array, ""]:
        return growth_of_errors(self.goal, y, self.depth)

    def squared_speed(self, y: Array) -> Float[Array, ""]:
        gradient = self.fitted.gradient(y)
        return jnp.sum(gradient * end_to_end(y, gradient, self.depth))


def balanced_start(objective: Objective, factors: Factors) -> MatrixProduct:
    """Check that a start has what the product's own flow needs: a matrix product, balanced.

    Raises:
      ValueError: if not, or if there is a penalty; it names the unbalancedness and the remedy.
    """
    model = objective.factorization
    if objective.penalty is not None:
        raise ValueError(
            f"The objective has a penalty, {type(objective.penalty).__name__}, and coordinates "
            "other than 'factors' have none; use coordinates='factors'."
        )
    if not isinstance(model, MatrixProduct):
        raise ValueError(
            f"{type(model).__name__} has no flow of the product alone; use coordinates='factors'."
        )
    found = float(relative_unbalancedness(factors))
    if found > 1e-10:
        raise ValueError(
            f"The factors are not balanced (relative unbalancedness {found:.3g}), so the product "
            "alone does not determine the flow; use coordinates='factors', or start from "
            "gradflow.balanced_factors(W, sizes)."
        )
    if len(model.sizes) > 2 and min(model.sizes[1:-1]) < min(model.shape):
        raise ValueError(
            f"Hidden size {min(model.sizes[1:-1])} limits the rank of a {model.shape} product; "
            "its flow needs coordinates='factors'."
        )
    return model
