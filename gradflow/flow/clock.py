"""A flow as an ordinary differential equation, in its time or in the logarithm of it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow.coordinates.base import AbstractCoordinates


class Clock(eqx.Module):
    """The time t or, for flows that go on for many decades, tau = log(1 + t/scale).

    Attributes:
      logarithmic: whether it is tau.
      scale: the unit of time.

    Example:
      >>> import jax.numpy as jnp
      >>> clock = Clock(True, jnp.asarray(2.0))
      >>> round(float(clock.time(clock.reading(jnp.asarray(1e9)))))
      1000000000
    """

    logarithmic: bool = eqx.field(static=True)
    scale: Float[Array, ""]

    def reading(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The clock's reading at a time."""
        return jnp.log1p(t / self.scale) if self.logarithmic else t

    def time(self, reading: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The time at a reading."""
        return self.scale * jnp.expm1(reading) if self.logarithmic else reading

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


@eqx.filter_jit
def _velocity(coordinates: AbstractCoordinates, y: Any) -> Any:
    """Compiled as a part of the loop, but traced once for the dozen places that call it."""
    return coordinates.velocity(y)
