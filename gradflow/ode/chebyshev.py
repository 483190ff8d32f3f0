r"""Stabilised explicit Runge-Kutta solvers, as diffrax solvers: they work with `diffeqsolve` too.

The Jacobian of a gradient flow is minus a Hessian: its eigenvalues are real. Runge-Kutta-Chebyshev
methods of s stages are stable for h lambda down to -0.65 s^2 (order 2) or -0.40 s^2 (order 3), so
that s gradients buy a step that grows like s^2, where an ordinary method's s gradients buy s. The
number of stages follows from the spectral radius, estimated from Jacobian-vector products
(Hessian-vector products, for a flow).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from gradflow.ode.interpolation import through_slopes
from gradflow.ode.rkc3_coefficients import TABLE
from gradflow.ode.stabilized import AbstractStabilized, Advance

_FEW = 16
"""Stages up to which RKC3 takes a derivative where a difference quotient would be too noisy."""


def _sum(*terms: tuple[Any, Any]) -> Any:
    """The linear combination of trees given as (coefficient, tree)."""

    def add(*leaves: Array) -> Array:
        parts = [c * leaf for (c, _), leaf in zip(terms, leaves, strict=True)]
        return functools.reduce(lambda a, b: a + b, parts)

    return jax.tree.map(add, *[tree for _, tree in terms])


class RKC2(AbstractStabilized):
    r"""Runge-Kutta-Chebyshev method of order 2, stable for h lambda in [-0.65 s^2, 0].

    Use `RKC3` unless only two digits are wanted: it is about as cheap and far more accurate.

    Example:
      >>> import diffrax, jax.numpy as jnp
      >>> term = diffrax.ODETerm(lambda t, y, args: -1e4 * (y - jnp.cos(t)))
      >>> solution = diffrax.diffeqsolve(
      ...     term,
      ...     RKC2(),
      ...     0.0,
      ...     1.0,
      ...     1e-3,
      ...     jnp.ones(1),
      ...     stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
      ... )
      >>> bool(abs(solution.ys[0, 0] - jnp.cos(1.0)) < 1e-3)
      True

    References:
      Sommeijer, Shampine and Verwer 1998; Hairer and Wanner, Solving Ordinary Differential
      Equations II, Section IV.2.
    """

    def order(self, terms: Any) -> int:
        """The order of convergence."""
        del terms
        return 2

    def error_order(self, terms: Any) -> int:
        """The power of the step size that the error estimate falls with."""
        del terms
        return 3

    def reach(self) -> Array:
        """The largest h rho that a step can be stable for, that of a thousand stages."""
        return jnp.asarray(1000**2 / 1.54)

    def advance(
        self, field: Callable[[Any, Any], Any], h: Array, y0: Any, slope: Any, radius: Array
    ) -> Advance:
        """See `AbstractStabilized.advance`."""
        # 1.54 = 1 / 0.65. A hopeless step fails at no cost.
        wanted = jnp.sqrt(1 + 1.54 * jnp.abs(h) * radius)
        hopeless = ~(jnp.abs(h) * radius <= self.reach())
        h = jnp.where(hopeless, 0.0, h)
        s = jnp.where(hopeless, 2, jnp.maximum(2, jnp.ceil(wanted))).astype(int)
        w0 = 1 + 2 / (13 * s**2)
        one, zero = jnp.ones_like(w0), jnp.zeros_like(w0)
        one_, zero_ = (w0, one, zero), (one, zero, zero)
        last, _ = jax.lax.fori_loop(2, s + 1, lambda _, c: _next_chebyshev(w0, c), (one_, zero_))
        w1 = last[1] / last[2]
        b = 1 / (4 * w0**2)

        def stage(_: Any, carry: Any) -> Any:
            (y_before, c_before, b_before), (y, c, b), (now, before) = carry
            new, _ = _next_chebyshev(w0, (now, before))
            b_new = new[2] / new[1] ** 2
            mu, nu, moved = 2 * b_new * w0 / b, -b_new / b_before, 2 * b_new * w1 / b
            back = -(1 - b * now[0]) * moved
            y_new = _sum(
                (1 - mu - nu, y0),
                (mu, y),
                (nu, y_before),
                (moved * h, field(c, y)),
                (back * h, slope),
            )
            c_new = mu * c + nu * c_before + moved + back
            return (y, c, b), (y_new, c_new, b_new), (new, now)

        first = (_sum((1.0, y0), (b * w1 * h, slope)), b * w1, b)
        start = ((y0, zero, b), first, (one_, zero_))
        y1 = jax.lax.fori_loop(2, s + 1, stage, start)[1][0]
        return Advance(y1, hopeless, s - 1, jnp.asarray(0))

    def finish(
        self, moved: Advance, h: Array, y0: Any, slope0: Any, slope1: Any
    ) -> tuple[Any, dict[str, Any]]:
        """See `AbstractStabilized.finish`."""
        error = _sum((0.8, y0), (-0.8, moved.y1), (0.4 * h, slope0), (0.4 * h, slope1))
        dense = through_slopes(y0, moved.y1, _sum((h, slope0)), _sum((h, slope1)))
        return _unless(moved.hopeless, error), dense


def _next_chebyshev(x: Array, carry: Any) -> Any:
    """From (T, T', T'') at x of two degrees to the next two."""
    (t, first, second), (t_, first_, second_) = carry
    new = (
        2 * x * t - t_,
        2 * t + 2 * x * first - first_,
        4 * first + 2 * x * second - second_,
    )
    return new, (t, first, second)


def _unless(hopeless: Bool[Array, ""], error: Any) -> Any:
    return jax.tree.map(lambda e: jnp.where(hopeless, jnp.inf, e), error)


@functools.cache
def _table() -> dict[str, np.ndarray]:
    with np.load(TABLE) as stored:
        return dict(stored)


class RKC3(AbstractStabilized):
    r"""Stabilised method of order 3: stable for h lambda in [-0.40 s^2, 0], damped beyond -4.

    A combination of all stages of a Runge-Kutta-Chebyshev method that overshoots its step; see
    `gradflow.ode.rkc3_coefficients`. Every stage solves the equation to order 2 at its own time, so
    that errors of stiff components are not amplified from stage to stage, as they are in methods
    that end with a polynomial of degree 4. The error estimate has order 4 and is damped likewise.
    From 5 to about 700 stages; a step that needs more is refused.

    What the estimate does not see: where the field changes in time, stiff components follow their
    moving equilibrium with an error that is 25 to 220 times its estimate (of the step's scale
    h^3; measured at h lambda = -1000 and beyond). Autonomous flows have no such forcing.

    Example:
      >>> import diffrax, jax.numpy as jnp
      >>> term = diffrax.ODETerm(lambda t, y, args: -1e4 * (y - jnp.cos(t)))
      >>> solution = diffrax.diffeqsolve(
      ...     term,
      ...     RKC3(),
      ...     0.0,
      ...     1.0,
      ...     1e-3,
      ...     jnp.ones(1),
      ...     stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
      ... )
      >>> bool(abs(solution.ys[0, 0] - jnp.cos(1.0)) < 1e-4)
      True
    """

    def order(self, terms: Any) -> int:
        """The order of convergence."""
        del terms
        return 3

    def error_order(self, terms: Any) -> int:
        """The power of the step size that the error estimate falls with."""
        del terms
        return 4

    def reach(self) -> Array:
        """The largest h rho that a step can be stable for."""
        return jnp.asarray(_table()["reach"][-1])

    def advance(
        self, field: Callable[[Any, Any], Any], h: Array, y0: Any, slope: Any, radius: Array
    ) -> Advance:
        """See `AbstractStabilized.advance`."""
        table = {name: jnp.asarray(array) for name, array in _table().items()}
        row = jnp.searchsorted(table["reach"], jnp.abs(h) * radius)
        hopeless = ~(jnp.abs(h) * radius <= self.reach())
        row, h = jnp.where(hopeless, 0, row), jnp.where(hopeless, 0.0, h)
        w0, w1, offset = table["w0"][row], table["w1"][row], table["offset"][row]
        zero = jnp.zeros_like(h)

        def weights(j: Any, *names: str) -> list[Array]:
            return [table[name][offset + j] for name in names]

        # e_j = (y_j - y0) / b_j solves the Chebyshev recurrence with h f in the place of z. The
        # first stage sits at y0 itself, where its slope's change becomes a derivative along the
        # solution. A small difference will do, since it is a stage like others, at time d h. But
        # it divides the field's round-off by d, which few stages do not damp.
        d = jnp.finfo(h.dtype).eps ** (1 / 3)
        few = table["stages"][row] <= _FEW
        change = jax.lax.cond(
            few,
            lambda: jax.jvp(field, (zero, y0), (zero + 1, _sum((h, slope))))[1],
            lambda: _sum((1 / d, field(d, _sum((1.0, y0), (d * h, slope)))), (-1 / d, slope)),
        )
        first = _sum((w1 * h, slope))
        e = _sum((2 * w0, first), (2 * w1 * w0 * h, slope), (2 * w1**2 * h, change))

        def weighted(j: Any, e: Any) -> list[Any]:
            b, *all_weights = weights(j, "scale", "gamma", "delta", "third", "two_thirds")
            return [_sum((weight * b, e)) for weight in all_weights]

        def stage(j: Array, carry: Any) -> Any:
            e_before, e, c_before, c, sums = carry
            b, t = weights(j - 1, "scale", "chebyshev")
            k = field(b * c, _sum((1.0, y0), (b, e)))
            new = _sum(
                (2 * w0, e),
                (-1.0, e_before),
                (2 * w1 * h / b, k),
                (2 * w1 * h * (t - 1 / b), slope),
            )
            c_new = 2 * w0 * c - c_before + 2 * w1 * t
            sums = [_sum((1.0, s), (1.0, w)) for s, w in zip(sums, weighted(j, new), strict=True)]
            return e, new, c, c_new, sums

        start = (first, e, w1, 4 * w1 * w0, weighted(2, e))
        stages = table["stages"][row]
        *_, (moved, error, *thirds) = jax.lax.fori_loop(3, stages + 1, stage, start)
        return Advance(
            _sum((1.0, y0), (1.0, moved)),
            hopeless,
            stages - 1 - few,
            few.astype(int),
            error,
            [_sum((1.0, y0), (1.0, third)) for third in thirds],
        )

    def finish(
        self, moved: Advance, h: Array, y0: Any, slope0: Any, slope1: Any
    ) -> tuple[Any, dict[str, Any]]:
        """See `AbstractStabilized.finish`."""
        del h, slope0, slope1
        third, two_thirds = moved.thirds
        dense = {"y0": y0, "third": third, "two_thirds": two_thirds, "y1": moved.y1}
        return _unless(moved.hopeless, moved.error), dense
