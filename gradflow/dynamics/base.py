"""What a dynamics is: an objective becomes a vector field on the parameters."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array

from gradflow.factorizations.base import Factors
from gradflow.objective import Objective

DynamicState = tuple[Array, ...]
"""The factors, followed by what else moves with them, such as their velocities."""


class AbstractDynamics(eqx.Module):
    """What the parameters obey.

    An own dynamics gives `name` and `velocity`; one that moves more than the factors also gives
    `initial` and `factors`.

    Attributes:
      name: for results and messages.
      conserves_balance: whether a factorisation's invariants stay what they are.
      real_rates: whether the Jacobian of the velocity has real eigenvalues, or nearly so; then
        stiff flows are left to solvers that are stable along the real axis.

    Example:
      >>> import gradflow as gf
      >>> class Normalized(gf.dynamics.AbstractDynamics):
      ...     name = "normalised gradient"
      ...
      ...     def velocity(self, objective, state, kink_width=None):
      ...         gradient = objective.gradient(state, kink_width)
      ...         norm = sum((g**2).sum() for g in gradient) ** 0.5
      ...         return tuple(-g / norm for g in gradient)
      >>> problem = gf.synthetic.norm_blowup()
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 2, 2)))
      >>> start = objective.factorization.identity(0.5)
      >>> flow = gf.solve_flow(objective, start, dynamics=Normalized(), horizon=0.1)
      >>> flow.config["dynamics"]["name"]
      'normalised gradient'
    """

    name: eqx.AbstractClassVar[str]
    conserves_balance: ClassVar[bool] = False
    real_rates: ClassVar[bool] = False

    @abc.abstractmethod
    def velocity(
        self, objective: Objective, state: DynamicState, kink_width: Any = None
    ) -> DynamicState:
        """The change of the state per time.

        Args:
          objective: the problem, its factorisation and its penalty.
          state: the factors, and what else moves.
          kink_width: to be handed on to `objective.gradient`.
        """

    def prepared(self, objective: Objective, factors: Factors) -> "AbstractDynamics":
        """This dynamics, checked against the factors that it will start from.

        Args:
          objective: the problem, its factorisation and its penalty.
          factors: the start.

        Raises:
          ValueError: if it does not fit them.
        """
        del objective, factors
        return self

    def initial(self, factors: Factors) -> DynamicState:
        """The state at the start.

        Args:
          factors: the start.
        """
        return factors

    def factors(self, state: DynamicState) -> Factors:
        """The factors of a state."""
        return state

    def names(self, state: DynamicState) -> tuple[str, ...]:
        """What the arrays of a state are called: W_1, W_2, ...."""
        return tuple(f"W_{k}" for k in range(1, len(state) + 1))
