r"""What a step's error is measured against, and what its estimate misses."""

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from optimistix import rms_norm

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.flow.clock import FlowField
from gradflow.ode.stabilized import AbstractStabilized
from gradflow.ode.switching import StiffnessSwitch

_LEAST = {False: 1e-15, True: 1e-13}
"""The least tolerance of a step, which growing errors are held to: steps round off by as much.
Of entries that are controlled one by one, and of all together."""
UNPAID = 2.0
"""How much more than the tolerance growing errors may come to before they are let grow."""
_ROUNDINGS = 4.0
"""Of an entry that is controlled by itself, the roundings that a step may always make."""
_EVEN = 1e-5
"""The tolerance at which errors of stabilised steps are taken as they are."""
_JUMPS = 100.0
"""How many times errors count where the loss's second derivatives jump."""
_ROUNDING = 1e-12
"""The least tolerance to ask of a stabilised step: below, its error estimate is round-off."""


class ErrorControl(diffrax.AbstractAdaptiveStepSizeController):
    """Error control in a flow's coordinates, as a diffrax controller.

    The error is relative to all entries of y together or to each by itself, as the coordinates say,
    and counts as many times as these expect it to grow along the flow, as far as steps of float64
    can pay for that; where they cannot, they count once: what is known at a given loss does not
    depend on them, and what is known at a given time is lost. An error that is not finite
    rejects the step. What follows for the next step is left to `diffrax.PIDController`.

    Attributes:
      coordinates: those of the flow.
      rtol: relative tolerance of a step.
      atol: absolute tolerance of a step.
      weight: a factor on all errors; see `alertness` and `proportionality`.
      norm: of errors in units of the tolerance.

    Example:
      >>> import diffrax, gradflow as gf
      >>> coordinates = gf.coordinates.ProductCoordinates(gf.synthetic.norm_blowup(), 3)
      >>> field = diffrax.ODETerm(lambda t, w, args: coordinates.velocity(w))
      >>> control = ErrorControl(coordinates=coordinates, rtol=1e-8, atol=1e-11)
      >>> solution = diffrax.diffeqsolve(
      ...     field,
      ...     diffrax.Tsit5(),
      ...     0.0,
      ...     9.0,
      ...     None,
      ...     0.1 * jnp.eye(2),
      ...     stepsize_controller=control,
      ... )
      >>> bool(coordinates.loss(solution.ys[-1]) < 0.2)
      True
    """

    coordinates: AbstractCoordinates
    rtol: Float[Array, ""] | float
    atol: Float[Array, ""] | float
    weight: Float[Array, ""] | float = 1.0
    norm: Callable[[Any], Array] = rms_norm

    def weighing(self, weight: Array) -> "ErrorControl":
        """The same with this factor on all errors."""
        return dataclasses.replace(self, weight=weight)

    def wrap(self, direction: Any) -> "ErrorControl":
        """Flows go forwards only, so there is nothing to know of the direction."""
        del direction
        return self

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        dt0: Any,
        args: Any,
        func: Any,
        error_order: Any,
    ) -> tuple[Any, Any]:
        """The end of the first step, and the state before it."""
        first = diffrax.PIDController(rtol=self.rtol, atol=self.atol, norm=self.norm)
        end, state = first.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, jax.tree.map(jnp.asarray, state)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Any,
    ) -> Any:
        """Whether to keep the step, and the next one; see `diffrax.PIDController`."""
        scaled = self.scaled(y_error, y0, y1_candidate)
        in_units = diffrax.PIDController(rtol=0.0, atol=1.0, norm=self.norm)
        return in_units.adapt_step_size(t0, t1, y0, y0, args, scaled, error_order, controller_state)

    def scaled(self, error: Any, y0: Any, y1: Any) -> Any:
        """The error in units of the tolerance; infinite where it is not finite."""
        weight = paid(self.coordinates, y0, self.rtol) * self.weight
        roundings = _ROUNDINGS * jnp.finfo(weight.dtype).eps * (not self.coordinates.normwise)

        def one(e: Array, size: Array, y: Array) -> Array:
            asked = (self.atol + self.rtol * size) / weight
            e = e / jnp.maximum(asked, roundings * jnp.abs(y))
            return jnp.where(jnp.isfinite(e), e, jnp.inf)

        return jax.tree.map(one, error, self.coordinates.sizes(y0, y1), y1)


def paid(coordinates: AbstractCoordinates, y: Any, rtol: Any) -> Float[Array, ""]:
    """How many times more accurate than rtol steps from y are, because their errors will grow.

    As often as they grow, as far as float64 can pay for that; once where it cannot.

    Args:
      coordinates: those of the flow.
      y: where a step starts.
      rtol: relative tolerance of a step.
    """
    payable = jnp.maximum(rtol / _LEAST[coordinates.normwise], 1.0)
    growth = coordinates.amplification(y)
    return jnp.where(growth > UNPAID * payable, 1.0, jnp.minimum(growth, payable))


@eqx.filter_jit
def growth_from(
    coordinates: AbstractCoordinates, y: Any, rtol: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How many times relative errors made at y will grow, and what of it steps there pay for.

    One program: operation by operation it would take longer than a small flow.

    Args:
      coordinates: those of the flow.
      y: where it is.
      rtol: relative tolerance of its steps.
    """
    there = coordinates.with_tolerance(rtol)
    return there.growth(y), paid(there, y, rtol)


def across_kink(
    field: FlowField, times: tuple[Array, Array], ends: tuple[Any, Any], rtol: Any
) -> Bool[Array, ""]:
    """Whether a step went across a kink of a penalty, or would have gone at its first speed.

    An error estimate may miss a kink in two ways: where it lies behind the last stage, and, in
    extrapolation methods, where it lies in the first substep of each column: then all columns go on
    with the slopes of the other side, and agree. Where the flow only comes near a kink and turns,
    the second condition asks for steps that see it turn.

    Args:
      field: the velocity.
      times: of the step's start and end.
      ends: y there.
      rtol: singular values up to this share of the largest do not count.
    """
    (t0, t1), (y0, y1) = times, ends
    h = t1 - t0
    straight = jax.tree.map(lambda y, k: y + h * k, y0, field(t0, y0))
    return field.coordinates.crossed(y0, y1, rtol) | field.coordinates.crossed(y0, straight, rtol)


def proportionality(solver: diffrax.AbstractSolver, rtol: Array) -> Array:
    """A factor on the errors of stabilised steps that makes their sum proportional to rtol.

    Explicit pairs go on with the better of two solutions, whose error of order h^p adds up to the
    estimate's order. Stabilised methods have only one: local errors h^(p+1) held at rtol add up to
    h^p, which falls like rtol^(p/(p+1)) only.
    """
    method = solver.stabilized if isinstance(solver, StiffnessSwitch) else solver
    if not isinstance(method, AbstractStabilized):
        return jnp.asarray(1.0)
    factor = (_EVEN / rtol) ** (1 / method.order(None))
    return jnp.minimum(factor, jnp.maximum(rtol / _ROUNDING, 1.0))


def alertness(coordinates: AbstractCoordinates, rtol: Array) -> Array:
    """A factor on all errors where a loss's second derivatives jump, as Huber's do.

    Estimates take a smooth field for granted: flows that step across jumps of its slope were seen
    to be wrong by 100 to 700 rtol with Tsit5 and Dopri5.
    """
    if coordinates.problem.twice_differentiable:
        return jnp.asarray(1.0)
    return jnp.clip(rtol / _ROUNDING, 1.0, _JUMPS)


def with_tolerances(
    solver: diffrax.AbstractSolver, rtol: Array, atol: Array
) -> diffrax.AbstractSolver:
    """Give an implicit solver's root finder the step's tolerances, as `diffeqsolve` does."""
    finder = getattr(solver, "root_finder", None)
    if finder is None:
        return solver
    unset = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)().rtol
    for name, value in (("rtol", rtol), ("atol", atol), ("norm", rms_norm)):
        if getattr(finder, name, None) is unset:
            finder = eqx.tree_at(
                lambda f, name=name: getattr(f, name), finder, value, is_leaf=lambda x: x is unset
            )
    return eqx.tree_at(lambda s: s.root_finder, solver, finder)
