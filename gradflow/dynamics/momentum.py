"""Gradient flow with momentum: the heavy ball."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.validate import positive_or_traced
from gradflow.dynamics.base import AbstractDynamics, DynamicState
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective


class MomentumFlow(AbstractDynamics):
    r"""The heavy ball with friction: d^2 W_j/dt^2 + friction dW_j/dt = -d value / dW_j.

    The state holds the factors and their velocities V_j, which start from rest. The value may rise
    on the way; the energy, value + sum_j ||V_j||_F^2 / 2, falls at the rate friction sum_j
    ||V_j||_F^2. With a large friction, W(friction t) comes near gradient flow. Discretised with
    steps h it is gradient descent with momentum: rate h^2, momentum 1 - friction h.

    Args:
      friction: above 0.

    Raises:
      ValueError: if it is not.

    Example:
      >>> import gradflow as gf
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
      >>> start = objective.factorization.identity(0.1)
      >>> flow = gf.solve_flow(objective, start, dynamics=MomentumFlow(1.0), horizon=9.0)
      >>> sorted(flow.final)
      ['V_1', 'V_2', 'W_1', 'W_2']

    References:
      Polyak 1964, Section 2.
    """

    friction: Float[Array, ""] = eqx.field(
        converter=lambda x: jnp.asarray(positive_or_traced("friction", x))
    )
    name: ClassVar[str] = "momentum"
    conserves_balance: ClassVar[bool] = False

    def velocity(
        self, objective: Objective, state: DynamicState, kink_width: Any = None
    ) -> DynamicState:
        factors, moving = self.factors(state), state[len(state) // 2 :]
        gradient = objective.gradient(factors, kink_width)
        slowed = (-self.friction * v - g for v, g in zip(moving, gradient, strict=True))
        return (*moving, *slowed)

    def initial(self, factors: Factors) -> DynamicState:
        return (*factors, *(jnp.zeros_like(f) for f in factors))

    def factors(self, state: DynamicState) -> Factors:
        return state[: len(state) // 2]

    def names(self, state: DynamicState) -> tuple[str, ...]:
        numbers = range(1, len(state) // 2 + 1)
        return (*(f"W_{k}" for k in numbers), *(f"V_{k}" for k in numbers))
