"""What steps of a flow are taken in: its time, or the logarithm of it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


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
