r"""Dense output of a step: the cubic through four values at equal distances.

Slopes are of no use at the ends of stabilised steps: h times a slope multiplies what errors there
are in stiff components by h rho, which may be 1e5.
"""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp


class CubicThrough(diffrax.AbstractLocalInterpolation):
    """The cubic with given values at the start, one third, two thirds and the end of a step."""

    t0: Any
    t1: Any
    y0: Any
    third: Any
    two_thirds: Any
    y1: Any

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """The value at t0, or the change from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(lambda a, b: b - a, self.evaluate(t0), self.evaluate(t1))
        length = self.t1 - self.t0
        x = jnp.where(length == 0, 0.0, (t0 - self.t0) / jnp.where(length == 0, 1.0, length))
        weights = (
            (1 - 3 * x) * (2 - 3 * x) * (1 - x) / 2,
            9 * x * (2 - 3 * x) * (1 - x) / 2,
            9 * x * (3 * x - 1) * (1 - x) / 2,
            x * (3 * x - 1) * (3 * x - 2) / 2,
        )

        def at(*values: Any) -> Any:
            return sum(w * v for w, v in zip(weights, values, strict=True))

        return jax.tree.map(at, self.y0, self.third, self.two_thirds, self.y1)


def through_slopes(y0: Any, y1: Any, k0: Any, k1: Any) -> dict[str, Any]:
    """The values of a `CubicThrough` that has the slopes k0 and k1 (per step) at its ends."""

    def at(x: float) -> Any:
        rest = 1 - x

        def value(a: Any, b: Any, ka: Any, kb: Any) -> Any:
            return a + x**2 * (3 - 2 * x) * (b - a) + x * rest * (rest * ka - x * kb)

        return jax.tree.map(value, y0, y1, k0, k1)

    return {"y0": y0, "third": at(1 / 3), "two_thirds": at(2 / 3), "y1": y1}


def standing(t: Any, y: Any) -> CubicThrough:
    """The interpolant of no step at all."""
    still = jax.tree.map(jnp.zeros_like, y)
    return CubicThrough(t0=t, t1=t, **through_slopes(y, y, still, still))
