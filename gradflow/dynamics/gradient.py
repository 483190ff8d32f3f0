"""Gradient flow."""

from typing import Any, ClassVar

from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective


class GradientFlow(AbstractDynamics):
    r"""dW_j/dt = -d value / dW_j.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)))
      >>> start = objective.factorization.identity(1.0)
      >>> GradientFlow().velocity(objective, start)[0].tolist()
      [[-0.0, 1.0], [1.0, -1.0]]

    References:
      razin2020, Equation (4); arora2019, Equation (4).
    """

    name: ClassVar[str] = "gradient"
    real_rates: ClassVar[bool] = True
    conserves_balance: ClassVar[bool] = True

    def velocity(self, objective: Objective, state: Factors, kink_width: Any = None) -> Factors:
        return tuple(-g for g in objective.gradient(state, kink_width))
