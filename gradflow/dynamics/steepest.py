r"""Steepest descent in other norms, in continuous time: the flows of sign descent and of Muon.

In the largest entry, steepest descent goes along sign(g); in the spectral norm along the polar
factor of g. Both jump: where an entry of the gradient changes its sign, or a singular value of it
comes down to 0. From there on solutions slide, in Filippov's sense, along the surface where it
stays 0, and descents with rate h chatter about it, at a distance of h. Here the jump is a layer of
a width epsilon, in the unit of the gradient: the solution at a fixed time converges like
O(epsilon), and what slides is stiff, at a rate of 1/epsilon.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.validate import positive_or_traced
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.linalg.spectral_map import spectral_map
from gradflow.objective import Objective

_SHARE = 1e-13
"""A smoothing next to the gradient below which rounding decides where a layer is."""


class _SmoothedFlow(AbstractDynamics):
    """A flow along the gradient of a smoothed norm of the gradient.

    Its Jacobian is a positive matrix times the value's Hessian, so that its rates are real.
    """

    smoothing: eqx.AbstractVar[Float[Array, ""]]
    real_rates: ClassVar[bool] = True

    def prepared(self, objective: Objective, factors: Factors) -> AbstractDynamics:
        factors = objective.factorization.check(factors)
        largest = max(float(jnp.linalg.norm(g)) for g in objective.gradient(factors))
        if float(self.smoothing) < _SHARE * largest:
            raise ValueError(
                f"smoothing is {float(self.smoothing):.3g}, below the rounding of a gradient of "
                f"norm {largest:.3g}, so that rounding would say where entries and singular values "
                f"are 0; give one of at least {_SHARE * largest:.1e}."
            )
        return self


class SignFlow(_SmoothedFlow):
    r"""Sign descent's flow: dW_j/dt = -g_j / sqrt(g_j^2 + epsilon^2), entry by entry.

    It is `AdamFlow` with full batches. The value falls at the rate sum g^2 / sqrt(g^2 + epsilon^2):
    as epsilon falls, the sum of the gradient's absolute values.

    Args:
      smoothing: epsilon > 0, in the unit of the gradient.

    Raises:
      ValueError: if the smoothing is none; and when a flow begins, if it is below rounding there.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)))
      >>> start = (jnp.array([[0.0, 1.5], [1.0, 0.0]]),)
      >>> sign = SignFlow(smoothing=0.01)
      >>> round(float(sign.velocity(objective, start)[0][0, 1]), 4)  # the gradient there is 0.5
      -0.9998

    References:
      Bernstein, Wang, Azizzadenesheli and Anandkumar 2018; zhao2022, Equation (15).
    """

    smoothing: Float[Array, ""] = eqx.field(
        converter=lambda x: jnp.asarray(positive_or_traced("smoothing", x))
    )
    name: ClassVar[str] = "sign"

    def velocity(self, objective: Objective, state: Factors, kink_width: Any = None) -> Factors:
        gradient = objective.gradient(state, kink_width)
        return tuple(-g / jnp.hypot(g, self.smoothing) for g in gradient)


class SpectralFlow(_SmoothedFlow):
    r"""Muon's flow, without momentum: dW_j/dt = -g_j (g_j^T g_j + epsilon^2 I)^(-1/2).

    Singular values s of the gradient g_j in a factor become s / sqrt(s^2 + epsilon^2), and singular
    vectors stay: the polar factor of g_j, smoothed where it jumps. The value falls at the rate
    sum s^2 / sqrt(s^2 + epsilon^2): as epsilon falls, the nuclear norm of the gradient. The factors
    must be matrices. The step of `gradflow.optimizers.muon` without momentum, Nesterov's step and
    decay, with its polar factor exact, is Euler's for this flow where no factor has more rows than
    columns; others it scales by sqrt(m / n).

    A gradient of rank below the full one, as from few observed entries, has singular values that
    are 0 but for rounding, and stay so; what is below epsilon does not move them.

    Args:
      smoothing: epsilon > 0, in the unit of the gradient.

    Raises:
      ValueError: if the smoothing is none; and when a flow begins, if it is below rounding there,
        or a factor is no matrix.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)))
      >>> start = (jnp.array([[0.0, 4.0], [3.0, 0.0]]),)  # the gradient there is [[0, 3], [2, 0]]
      >>> flow = SpectralFlow(smoothing=0.01)
      >>> (flow.velocity(objective, start)[0] + 0.0).round(3).tolist()
      [[0.0, -1.0], [-1.0, 0.0]]

    References:
      Bernstein and Newhouse 2024, Old Optimizer, New Norm; Carlson, Cevher and Carin 2015.
    """

    smoothing: Float[Array, ""] = eqx.field(
        converter=lambda x: jnp.asarray(positive_or_traced("smoothing", x))
    )
    name: ClassVar[str] = "spectral"

    def velocity(self, objective: Objective, state: Factors, kink_width: Any = None) -> Factors:
        gradient = objective.gradient(state, kink_width)
        return jax.tree.map(lambda g: -_smoothed_polar(g, self.smoothing), gradient)

    def prepared(self, objective: Objective, factors: Factors) -> AbstractDynamics:
        for k, factor in enumerate(factors, start=1):
            if jnp.ndim(factor) != 2:
                raise ValueError(
                    f"SpectralFlow is for factors that are matrices, but W_{k} has shape "
                    f"{jnp.shape(factor)}; take SignFlow or AdamFlow."
                )
        return super().prepared(objective, factors)


def _smoothed_polar(g: Float[Array, "m n"], epsilon: Array) -> Float[Array, "m n"]:
    """G (G^T G + epsilon^2 I)^(-1/2): the upper part of the polar factor of [G; epsilon I].

    That matrix has no singular value below epsilon, and the derivative of its polar factor exists
    where singular values meet, and where they are 0.
    """
    wide = g.shape[0] < g.shape[1]
    tall = g.T if wide else g
    below = epsilon.astype(g.dtype) * jnp.eye(tall.shape[1], dtype=g.dtype)
    factor = spectral_map(lambda s: ((1.0, 0.0),), jnp.concatenate([tall, below]), 0, 0.0)
    upper = factor[: tall.shape[0]]
    return upper.T if wide else upper
