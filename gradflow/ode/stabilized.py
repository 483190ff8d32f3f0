r"""What the stabilised solvers share: the state, the spectral radius, the work that they count."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow.ode.interpolation import CubicThrough
from gradflow.ode.spectral_radius import SpectralRadius, norm

_SAFETY = 1.03
"""The estimate, which comes from below, is multiplied by this."""


class Work(eqx.Module):
    """What a solver has spent so far, and what it has seen.

    Attributes:
      fields: evaluations of the vector field (gradients, for a flow).
      products: Jacobian-vector products (Hessian-vector products, for a flow).
      radius: the largest spectral radius of the Jacobian.
    """

    fields: Int[Array, ""]
    products: Int[Array, ""]
    radius: Float[Array, ""]

    def plus(self, fields: Any, products: Any, radius: Array) -> "Work":
        """This and a step's work."""
        largest = jnp.maximum(self.radius, radius)
        return Work(self.fields + fields, self.products + products, largest)


class StabilizedState(eqx.Module):
    """What a stabilised solver keeps between steps: the slope at y, the radius, the work."""

    slope: Any
    radius: SpectralRadius
    work: Work


class Advance(NamedTuple):
    """What a step's stages give.

    Attributes:
      y1: the new y.
      hopeless: whether the step is too long for any number of stages.
      fields: evaluations of the vector field.
      products: Jacobian-vector products.
      error: the error estimate, where the stages give it.
      thirds: the solution at one and two thirds of the step, where the stages give it.
    """

    y1: Any
    hopeless: Bool[Array, ""]
    fields: Int[Array, ""]
    products: Int[Array, ""]
    error: Any = None
    thirds: Any = None


class AbstractStabilized(diffrax.AbstractAdaptiveSolver):
    """What the stabilised solvers share: the state, the spectral radius, the dense output."""

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.AbstractLocalInterpolation]] = CubicThrough

    @abc.abstractmethod
    def order(self, terms: Any) -> int:
        """The order of convergence."""

    @abc.abstractmethod
    def error_order(self, terms: Any) -> int:
        """The power of the step size that the error estimate falls with."""

    @abc.abstractmethod
    def advance(
        self, field: Callable[[Any, Any], Any], h: Array, y0: Any, slope: Any, radius: Array
    ) -> "Advance":
        """One step's stages.

        Args:
          field: f(c, y), the vector field at time t0 + c h.
          h: the step size.
          y0: where the step starts.
          slope: f(0, y0).
          radius: the spectral radius to be stable for.
        """

    @abc.abstractmethod
    def finish(
        self, moved: "Advance", h: Array, y0: Any, slope0: Any, slope1: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The error estimate and the dense output, with the slopes at both ends."""

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        """The vector field."""
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> StabilizedState:
        """The state before the first step; evaluates the field once."""
        del t1
        slope = terms.vf(t0, y0, args)
        work = Work(jnp.asarray(1), jnp.asarray(0), jnp.zeros((), norm(slope).dtype))
        return StabilizedState(slope, SpectralRadius.unknown(y0), work)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: StabilizedState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], StabilizedState, diffrax.RESULTS]:
        """One step from t0 to t1; see `diffrax.AbstractSolver.step`."""
        state = slope_after_jump(terms, t0, y0, args, solver_state, made_jump)
        radius, products = state.radius.renewed(lambda y: terms.vf(t0, y, args), y0)
        y1, error, slope, dense, fields, more = self.attempt(
            terms, t0, t1, y0, args, state.slope, radius
        )
        work = state.work.plus(fields, products + more, radius.value)
        state = StabilizedState(slope, radius, work)
        return y1, error, dense, state, diffrax.RESULTS.successful

    def attempt(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, slope: Any, radius: SpectralRadius
    ) -> tuple[Any, Any, Any, dict[str, Any], Int[Array, ""], Int[Array, ""]]:
        """The new y, its error and slope, dense output, evaluations and derivatives spent."""
        h = jnp.asarray(terms.contr(t0, t1), radius.value.dtype)
        moved = self.advance(
            lambda c, y: terms.vf(t0 + c * (t1 - t0), y, args), h, y0, slope, _SAFETY * radius.value
        )
        slope1 = terms.vf(t1, moved.y1, args)
        error, dense = self.finish(moved, h, y0, slope, slope1)
        return moved.y1, error, slope1, dense, moved.fields + 1, moved.products

    @abc.abstractmethod
    def reach(self) -> Array:
        """The largest h rho that a step can be stable for."""

    def longest_step(self, state: StabilizedState) -> Array:
        """A step size that needs no more stages than there are, as far as the radius is known."""
        return 0.98 * self.reach() / (_SAFETY * state.radius.value)

    def after_rejection(self, before: Any, tried: Any) -> Any:
        """The state to try again from: what was spent stays spent."""
        return after_rejection(before, tried)


def after_rejection(before: Any, tried: Any) -> Any:
    """The state before a rejected step, with its work, and with what it found of the radius."""
    radius = tried.radius.after_rejection(tried.work.fields - before.work.fields)
    return eqx.tree_at(lambda s: (s.radius, s.work), before, (radius, tried.work))


def slope_after_jump(terms: Any, t0: Any, y0: Any, args: Any, state: Any, made_jump: Any) -> Any:
    """A state with the slope at y0 even where the field has jumped since the last step."""
    if made_jump is False:
        return state
    slope = jax.lax.cond(made_jump, lambda: terms.vf(t0, y0, args), lambda: state.slope)
    return eqx.tree_at(lambda s: s.slope, state, slope)
