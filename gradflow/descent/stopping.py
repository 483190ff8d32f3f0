"""What ends a descent before its last iteration."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

RUNNING, LOSS, DIVERGED, GRADIENT = range(4)


class StopRule(eqx.Module):
    """When a run stops.

    Attributes:
      loss: at the first loss that is at most this; for a batch, of all runs or one a run.
      gradient: and at the first norm of the gradient that is at most this, if given.
      looks: look at the loss every so many iterations only, and stop at so many looks in a row that
        find it there; None for the first iteration that is there.
    """

    loss: Float[Array, "*b"]
    gradient: Float[Array, ""] | None
    looks: tuple[Int[Array, ""], Int[Array, ""]] | None

    def no_hits(self, runs: int) -> Int[Array, " b"] | None:
        """Looks in a row that found the loss low enough, before the first; None if not counted."""
        return None if self.looks is None else jnp.zeros(runs, jnp.int32)

    def looked(self, count: Array, loss: Array, hits: Array | None) -> Array | None:
        """The same after an iteration."""
        if self.looks is None or hits is None:
            return None
        found = jnp.where(loss <= self.loss, hits + 1, 0).astype(jnp.int32)
        return jnp.where(count % self.looks[0] == 0, found, hits)

    def low(self, loss: Array, hits: Array | None) -> Bool[Array, ""]:
        """Whether the loss ends the run."""
        if self.looks is None or hits is None:
            return loss <= self.loss
        return hits >= self.looks[1]

    def small(self, gradient: Any) -> Bool[Array, ""]:
        """Whether the gradient ends the run."""
        if self.gradient is None:
            return jnp.asarray(False)
        least = jnp.maximum(self.gradient, jnp.finfo(self.gradient.dtype).tiny)
        squares = [jnp.sum((leaf / least) ** 2) for leaf in jax.tree.leaves(gradient)]
        return jnp.sum(jnp.stack(squares)) <= 1  # squares of the gradient itself may vanish

    def goes_on(self, loss: Array, gradient: Any, hits: Array | None) -> Bool[Array, ""]:
        """Whether nothing ends the run; a loss that is not finite does."""
        return ~self.low(loss, hits) & ~self.small(gradient) & jnp.isfinite(loss)

    def status(self, loss: Array, gradient: Any, hits: Array | None) -> Int[Array, ""]:
        """RUNNING, or what ends the run: LOSS, GRADIENT or DIVERGED."""
        status = jnp.where(self.small(gradient), GRADIENT, RUNNING)
        status = jnp.where(self.low(loss, hits), LOSS, status)
        return jnp.where(jnp.isfinite(loss), status, DIVERGED).astype(jnp.int32)
