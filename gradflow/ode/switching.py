r"""An explicit solver for the rises and a stabilised one for the tails, as one diffrax solver."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from gradflow.ode.chebyshev import RKC3
from gradflow.ode.interpolation import CubicThrough, through_slopes
from gradflow.ode.spectral_radius import SpectralRadius
from gradflow.ode.stabilized import (
    AbstractStabilized,
    StabilizedState,
    Work,
    after_rejection,
    slope_after_jump,
)

_LIMIT = 2.0
"""h times the spectral radius from which on stability is about to limit an explicit step."""
_PATIENCE = 3
"""Steps in a row that call for the other solver before it takes over."""


class StiffnessSwitchState(eqx.Module):
    """What is kept between steps: the slope at y, the radius, the work, and who is at work."""

    slope: Any
    radius: SpectralRadius
    work: Work
    stiff: Bool[Array, ""]
    streak: Int[Array, ""]


class StiffnessSwitch(diffrax.AbstractAdaptiveSolver):
    r"""Explicit steps where accuracy limits them, stabilised steps where stability would.

    A flow of a factorisation rises from a saddle, where the solution changes fast and a high order
    pays, and then creeps along a valley, where the spectral radius rho of the Jacobian holds
    explicit steps down. After three steps in a row with h rho above 2 the stabilised solver takes
    over, after three with h rho below 1 the explicit one does. The state is the same for both.

    A step of s stages may have s times the error of one stage: with local errors K h^4 and costs
    that grow like sqrt(h rho), this is what makes the sum of errors smallest for a given sum of
    costs. So the error estimate of a stabilised step is divided by its cost, in explicit steps.

    Args:
      explicit: an explicit Runge-Kutta method whose last stage is the next step's first.
      stabilized: an `RKC3` or `RKC2`.

    Raises:
      ValueError: if `explicit` evaluates its first stage anew in each step.

    Example:
      >>> import diffrax, jax.numpy as jnp
      >>> term = diffrax.ODETerm(lambda t, y, args: -1e3 * (y - jnp.cos(t)))
      >>> solution = diffrax.diffeqsolve(
      ...     term,
      ...     StiffnessSwitch(),
      ...     0.0,
      ...     1.0,
      ...     1e-4,
      ...     jnp.ones(1),
      ...     stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
      ... )
      >>> bool(abs(solution.ys[0, 0] - jnp.cos(1.0)) < 1e-3)
      True
    """

    explicit: diffrax.AbstractERK = diffrax.Tsit5()
    stabilized: AbstractStabilized = RKC3()

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.AbstractLocalInterpolation]] = CubicThrough

    def __check_init__(self) -> None:
        if not getattr(self.explicit.tableau, "fsal", False):
            raise ValueError(
                f"The explicit solver of a hand-over must use its last stage again in the next "
                f"step, as diffrax.Tsit5() does, but {self.explicit!r} does not."
            )

    def _cost(self) -> int:
        """Evaluations of the field in an explicit step."""
        return len(self.explicit.tableau.b_sol) - 1  # type: ignore[union-attr]

    def order(self, terms: Any) -> int:
        """The lower of the two orders of convergence."""
        return min(self.explicit.order(terms) or 1, self.stabilized.order(terms))

    def error_order(self, terms: Any) -> int:
        """The higher of the two error orders: it changes steps more carefully."""
        return max(self.explicit.order(terms) or 1, self.stabilized.error_order(terms))

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        """The vector field."""
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> StiffnessSwitchState:
        """The state before the first step, which is explicit; evaluates the field once."""
        common: StabilizedState = self.stabilized.init(terms, t0, t1, y0, args)
        return StiffnessSwitchState(
            common.slope, common.radius, common.work, jnp.asarray(False), jnp.asarray(0)
        )

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: StiffnessSwitchState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], StiffnessSwitchState, diffrax.RESULTS]:
        """One step from t0 to t1; see `diffrax.AbstractSolver.step`."""
        state = slope_after_jump(terms, t0, y0, args, solver_state, made_jump)
        radius, products = state.radius.renewed(
            lambda y: terms.vf(t0, y, args), y0, rough=~state.stiff
        )

        def explicit(_: None) -> Any:
            kept: Any = (jnp.asarray(False), state.slope)
            stepped: Any = self.explicit.step(terms, t0, t1, y0, args, kept, jnp.asarray(False))
            y1, error, _, (_, slope), _ = stepped
            fields = jnp.asarray(self._cost())
            h = terms.contr(t0, t1)
            ends = [jax.tree.map(lambda k: h * k, end) for end in (state.slope, slope)]
            return y1, error, slope, through_slopes(y0, y1, *ends), fields, jnp.asarray(0)

        def stabilized(_: None) -> Any:
            y1, error, slope, dense, fields, more = self.stabilized.attempt(
                terms, t0, t1, y0, args, state.slope, radius
            )
            share = self._cost() / (fields + more)
            return y1, jax.tree.map(lambda e: share * e, error), slope, dense, fields, more

        y1, error, slope, dense, fields, more = jax.lax.cond(
            state.stiff, stabilized, explicit, None
        )
        reach = jnp.abs(terms.contr(t0, t1)) * radius.value
        called = jnp.where(state.stiff, reach < _LIMIT / 2, reach > _LIMIT)
        streak = jnp.where(called, state.streak + 1, 0)
        over = streak >= _PATIENCE
        new = StiffnessSwitchState(
            slope,
            radius,
            state.work.plus(fields, products + more, radius.value),
            state.stiff ^ over,
            jnp.where(over, 0, streak),
        )
        return y1, error, dense, new, diffrax.RESULTS.successful

    def longest_step(self, state: StiffnessSwitchState) -> Array:
        """A step size that needs no more stages than there are, as far as the radius is known."""
        return self.stabilized.longest_step(StabilizedState(state.slope, state.radius, state.work))

    def after_rejection(self, before: Any, tried: Any) -> Any:
        """The state to try again from: what was spent stays spent."""
        return after_rejection(before, tried)
