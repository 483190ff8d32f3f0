"""A flow as an ordinary differential equation, in its time or in the logarithm of it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.ode.extrapolation import StiffPart


class Clock(eqx.Module):
    """The time t or, for flows that go on for many decades, tau = log(1 + (t - base)/scale).

    A rise from a tiny start at depth 3 and above takes ages, and what follows no time at all: then
    the clock is set to zero on the way. It reads 0 at times before its base.

    Attributes:
      logarithmic: whether it is tau.
      scale: the unit of time.
      base: the time at which a logarithmic clock reads 0.

    Example:
      >>> import jax.numpy as jnp
      >>> clock = Clock(True, jnp.asarray(2.0))
      >>> round(float(clock.time(clock.reading(jnp.asarray(1e9)))))
      1000000000
    """

    logarithmic: bool = eqx.field(static=True)
    scale: Float[Array, "*b"]
    base: Float[Array, "*b"] | float = 0.0

    def reading(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The clock's reading at a time."""
        if not self.logarithmic:
            return t
        return jnp.log1p(jnp.maximum(t - self.base, 0.0) / self.scale)

    def time(self, reading: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The time at a reading."""
        if not self.logarithmic:
            return reading
        return self.base + self.scale * jnp.expm1(reading)

    def rate(self, reading: Float[Array, ""]) -> Float[Array, ""] | float:
        """How fast time goes by, dt/dtau."""
        return self.scale * jnp.exp(reading) if self.logarithmic else 1.0


class FlowField(eqx.Module):
    """The velocity dy/dtau of a flow, as the vector field of a `diffrax.ODETerm`.

    Attributes:
      coordinates: those of the flow y.
      clock: of which tau is the reading.
    """

    coordinates: AbstractCoordinates
    clock: Clock

    def __call__(self, reading: Any, y: Any, args: Any = None) -> Any:
        """The velocity at y when the clock reads this."""
        del args
        rate = self.clock.rate(reading)
        return jax.tree.map(lambda v: rate * v, _velocity(self.coordinates, y))

    def stiff_part(self, reading: Any, y: Any) -> StiffPart | None:
        """What linearly implicit steps take implicitly; None for all, see `AbstractCoordinates`."""
        part = self.coordinates.stiff_part(y)
        if part is None:
            return None
        return part._replace(jacobian=self.clock.rate(reading) * part.jacobian)


@eqx.filter_jit
def _velocity(coordinates: AbstractCoordinates, y: Any) -> Any:
    """Compiled as a part of the loop, but traced once for the dozen places that call it."""
    return coordinates.velocity(y)
