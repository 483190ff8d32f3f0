r"""Why a flow stops, and where it reaches its stopping loss: found ahead, aimed at, cut to."""

import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.flow.clock import FlowField
from gradflow.ode.interpolation import CubicThrough, through_slopes

_BRACKETED = 40
"""Steps towards a bracketed loss after which `_ROUGHLY` is close enough: it is round-off then."""
_ROUGHLY = 1e-5
_PATIENCE = 500
"""Steps, taken or not, in which a flow must make some progress."""
_PROGRESS = 1e-9
"""Of the clock's reading, what counts as progress."""
_NOTHING = 1e-24
"""Of the first loss, what may be round-off alone: there the loss must fall, not only time pass."""
_OVERSHOOT = 1.3
"""How far behind the expected stop a step may end, in shares of the way there."""


class Status(enum.IntEnum):
    """Why the loop ended."""

    RUNNING = 0
    LOSS = 1
    GRADIENT = 2
    HORIZON = 3
    STEPS = 4
    TOO_SMALL = 5
    DIVERGED = 6
    NEAR_SINGULARITY = 7
    KINK = 8
    CLOCK = 9
    STALLED = 10


def another_follows(status: Any) -> Any:
    """Whether another part follows, in other coordinates or on another clock; of each of several.

    Args:
      status: a `Status`, or an array of them.
    """
    return (status == Status.NEAR_SINGULARITY) | (status == Status.CLOCK)


class Stop(eqx.Module):
    """What ends a flow before its horizon.

    Attributes:
      loss: the loss to stop at, if at any; without one there is less to compile.
      gradient: the gradient norm to stop at, if at any; likewise.
      steps: accepted and rejected steps allowed.
    """

    loss: Float[Array, ""] | None
    gradient: Float[Array, ""] | None
    steps: Int[Array, ""]

    @property
    def floor(self) -> Float[Array, ""]:
        """The loss to stop at; -inf where there is none."""
        return jnp.asarray(-jnp.inf) if self.loss is None else self.loss

    def passed(self, loss: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether a loss is below the one to stop at by more than its tolerance."""
        return (self.floor > 0) & (loss < self.floor * (1 - 1e-9))

    def status(
        self, coordinates: AbstractCoordinates, y: Any, loss: Float[Array, ""], rtol: Array
    ) -> Int[Array, ""]:
        """Whether a flow may go on from y or, if not, why not.

        Args:
          coordinates: those of the flow.
          y: the point.
          loss: the loss at it.
          rtol: singular values below this share of the largest count as zero.
        """
        status = jnp.where(loss <= self.floor * (1 + 2e-9), Status.LOSS, Status.RUNNING)
        if self.gradient is not None:
            small = coordinates.squared_gradient_norm(y) <= self.gradient**2
            status = jnp.where(small, Status.GRADIENT, status)
        kink = (status == Status.RUNNING) & ~coordinates.smooth(y, rtol)
        status = jnp.where(kink, Status.KINK, status)
        near = (status == Status.RUNNING) & coordinates.near_singularity(y)
        status = jnp.where(near, Status.NEAR_SINGULARITY, status)
        return jnp.where(jnp.isfinite(loss), status, Status.DIVERGED)


class Bracket(eqx.Module):
    """What steps that ended below the stopping loss, and were not taken, tell of where it lies.

    Attributes:
      end: where the last of them ended; inf where there was none.
      loss: the loss there.
      aim: a little before the stopping loss, by that step's interpolant.
      tries: steps since the first of them.
    """

    end: Float[Array, ""]
    loss: Float[Array, ""]
    aim: Float[Array, ""]
    tries: Int[Array, ""]

    @classmethod
    def unknown(cls, clock: Float[Array, ""]) -> "Bracket":
        """Before the first step, from this time on."""
        far = jnp.full_like(clock, jnp.inf)
        return cls(far, far, clock, jnp.zeros((), jnp.int64))

    @property
    def known(self) -> Bool[Array, ""]:
        """Whether there was such a step."""
        return jnp.isfinite(self.end)

    def settled(self, loss: Float[Array, ""], stop_loss: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether a loss is as near to the one to stop at as its rounding allows.

        Args:
          loss: the loss now.
          stop_loss: the loss to stop at.
        """
        return (self.tries > _BRACKETED) & (loss <= stop_loss * (1 + _ROUGHLY))

    def target(
        self, clock: Float[Array, ""], loss: Float[Array, ""], stop_loss: Float[Array, ""]
    ) -> Float[Array, ""]:
        """Where the next step should end: at the aim or, from there on, by secants in log loss.

        Args:
          clock: where the step starts.
          loss: the loss there.
          stop_loss: the loss to stop at.
        """
        share = jnp.log(loss / stop_loss) / jnp.log(loss / self.loss)
        share = jnp.clip(jnp.where(jnp.isfinite(share), share, 0.5), 0.01, 1.0)
        return jnp.where(clock < self.aim, self.aim, clock + share * (self.end - clock))


class Progress(eqx.Module):
    """What a flow had come to when it was last looked at.

    Attributes:
      clock: the clock's reading.
      loss: the loss.
      first: the loss at the start.
    """

    clock: Float[Array, ""]
    loss: Float[Array, ""]
    first: Float[Array, ""]

    def renewed(
        self, steps: Int[Array, ""], clock: Float[Array, ""], loss: Float[Array, ""]
    ) -> tuple["Progress", Bool[Array, ""]]:
        """The same or, now and then, a new one; and whether there was none since the last.

        Args:
          steps: taken or not.
          clock: the clock's reading now.
          loss: the loss now.
        """
        due = (steps > 0) & (steps % _PATIENCE == 0)
        stands = clock - self.clock <= _PROGRESS * jnp.abs(clock)
        bottom = (loss < _NOTHING * self.first) & (loss > 0.5 * self.loss)
        new = Progress(clock, loss, self.first)
        renewed = jax.tree.map(lambda a, b: jnp.where(due, a, b), new, self)
        return renewed, due & (stands | bottom)


def to_stop(loss: Array, decay: Array, stop_loss: Array) -> Array:
    """A step that ends a little behind the stopping loss, if the loss goes on to fall as it does.

    What lies behind the stopping loss is cut off, so a long last step would be in vain.

    Args:
      loss: the loss now.
      decay: its logarithmic rate, -d log(loss)/dt, over the last step; 0 where there was none.
      stop_loss: the loss to stop at.
    """
    expected = jnp.log(loss / stop_loss) / decay
    return jnp.where((stop_loss > 0) & (decay > 0), _OVERSHOOT * expected, jnp.inf)


def aim_at(
    field: FlowField,
    times: tuple[Array, Array],
    ends: tuple[Any, Any],
    dense: dict[str, Any],
    stop_loss: Array,
) -> Array:
    """A time a little before the loss falls to the stopping loss, from where steps are short.

    A step that ends below the stopping loss is tried again from its start, which is dear where
    steps are long; so the crossing is first sought on its interpolant.

    Args:
      field: the velocity.
      times: of the step's start and end.
      ends: y there.
      dense: what the solver tells for interpolation; slopes are taken from there if it has them.
      stop_loss: the loss to stop at.
    """
    t0, t1 = times
    if dense.keys() >= {"k0", "k1"}:
        moved = [dense["k0"], dense["k1"]]
    else:
        slopes = [field(t, y) for t, y in zip(times, ends, strict=True)]
        moved = [jax.tree.map(lambda k: (t1 - t0) * k, slope) for slope in slopes]
    curve = CubicThrough(t0=t0, t1=t1, **through_slopes(*ends, *moved))
    low = crossing(field.coordinates, curve, stop_loss, halvings=12)
    return t0 + 0.99 * (low - t0)


def crossing(
    coordinates: AbstractCoordinates, curve: CubicThrough, stop_loss: Array, halvings: int
) -> Array:
    """The last time on an interpolant, to the resolution asked for, above the stopping loss.

    Args:
      coordinates: those of the flow.
      curve: the interpolant of a step that ends below the stopping loss.
      stop_loss: the loss to stop at.
      halvings: how often to halve the step.
    """

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        under = coordinates.loss(curve.evaluate(middle)) < stop_loss
        return jnp.where(under, low, middle), jnp.where(under, middle, high)

    start = (jnp.asarray(curve.t0), jnp.asarray(curve.t1))
    return jax.lax.fori_loop(0, halvings, halve, start)[0]
