r"""Stabilised explicit Runge-Kutta solvers, as diffrax solvers: they work with `diffeqsolve` too.

The Jacobian of a gradient flow is minus a Hessian: its eigenvalues are real. Runge-Kutta-Chebyshev
methods of s stages are stable for h lambda down to -0.65 s^2 (order 2) or -0.38 s^2 (order 3), so
that s gradients buy a step that grows like s^2, where an ordinary method's s gradients buy s. The
number of stages follows from the spectral radius, estimated by power iteration on
Jacobian-vector products (Hessian-vector products, for a flow).
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gradflow.rkc3_coefficients import TABLE

_HERMITE = diffrax.ThirdOrderHermitePolynomialInterpolation
_RENEW = 24
"""Steps for which an estimate of the spectral radius is used again, unless y changes size."""
_ROUGHLY = 8
"""Steps between rough estimates."""
_DRIFT = 0.02
"""The relative change of the size of y that asks for another estimate."""
_ACCURACY = 3e-3
"""Power iteration ends where the estimate changes by less than this share."""
_SAFETY = 1.05
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


class SpectralRadius(eqx.Module):
    """An estimate of the Jacobian's spectral radius, kept from step to step.

    Attributes:
      value: the estimate; 0 where there is none yet.
      direction: the iterated vector, of norm 1.
      age: steps since the estimate.
      size: the norm of y at the estimate.
    """

    value: Float[Array, ""]
    direction: Any
    age: Int[Array, ""]
    size: Float[Array, ""]

    @classmethod
    def unknown(cls, y: Any) -> "SpectralRadius":
        """No estimate yet, and a random direction."""
        leaves, tree = jax.tree.flatten(y)
        keys = jax.random.split(jax.random.key(0), len(leaves))
        noise = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        total = norm(noise)
        zero = jnp.zeros((), total.dtype)
        direction = jax.tree.unflatten(tree, [x / total for x in noise])
        return cls(zero, direction, jnp.asarray(_RENEW), zero)

    def renewed(
        self, field: Callable[[Any], Any], y: Any, rough: Any = False
    ) -> tuple["SpectralRadius", Int[Array, ""]]:
        """The estimate for a step from y, and the Jacobian-vector products that it took.

        Args:
          field: the vector field at the step's start.
          y: where the step starts.
          rough: be content with one product now and then, where stability does not depend on it.
        """
        size = norm(y)
        moved = jnp.abs(size - self.size) > _DRIFT * self.size
        due = jnp.where(rough, self.age % _ROUGHLY == 0, (self.age >= _RENEW) | moved)
        most = jnp.where(rough, jnp.where(self.value > 0, 1, 8), 50)

        def better(carry: Any) -> Any:
            count, _, value, direction = carry
            image = jax.jvp(field, (y,), (direction,))[1]
            length = norm(image)
            direction = jax.tree.map(
                lambda new, old: jnp.where(length > 0, new / length, old), image, direction
            )
            return count + 1, value, length, direction

        def open_(carry: Any) -> Any:
            count, before, value, _ = carry
            return due & ((jnp.abs(value - before) > _ACCURACY * value) & (count < most))

        # The first pass must not end at once, whatever the estimate was.
        start = (jnp.asarray(0), -jnp.abs(self.value) - 1, self.value + due, self.direction)
        count, _, value, direction = jax.lax.while_loop(open_, better, start)
        age = jnp.where(due & ~jnp.asarray(rough), 0, self.age + 1)
        return SpectralRadius(value, direction, age, jnp.where(due, size, self.size)), count


def norm(y: Any) -> Float[Array, ""]:
    """The Euclidean norm of all entries of a tree."""
    return jnp.sqrt(jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(y)])))


def _sum(*terms: tuple[Any, Any]) -> Any:
    """The linear combination of trees given as (coefficient, tree)."""

    def add(*leaves: Array) -> Array:
        parts = [c * leaf for (c, _), leaf in zip(terms, leaves, strict=True)]
        return functools.reduce(lambda a, b: a + b, parts)

    return jax.tree.map(add, *[tree for _, tree in terms])


class StabilizedState(eqx.Module):
    """What a stabilised solver keeps between steps: the slope at y, the radius, the work."""

    slope: Any
    radius: SpectralRadius
    work: Work


class AbstractStabilized(diffrax.AbstractAdaptiveSolver):
    """What the stabilised solvers share: the state, the spectral radius, the dense output."""

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.AbstractLocalInterpolation]] = _HERMITE

    @abc.abstractmethod
    def error_order(self, terms: Any) -> int:
        """The power of the step size that the error estimate falls with."""

    @abc.abstractmethod
    def advance(
        self, field: Callable[[Any, Any], Any], h: Array, y0: Any, slope: Any, radius: Array
    ) -> tuple[Any, Any, Int[Array, ""], Int[Array, ""]]:
        """The new y, what the error estimate needs, evaluations and derivatives of the field spent.

        Args:
          field: f(c, y), the vector field at time t0 + c h.
          h: the step size.
          y0: where the step starts.
          slope: f(0, y0).
          radius: the spectral radius to be stable for.
        """

    @abc.abstractmethod
    def estimate(self, partial: Any, h: Array, y0: Any, slope0: Any, y1: Any, slope1: Any) -> Any:
        """The error estimate, from what `advance` left and the slopes at both ends."""

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
        y1, error, slope, fields, more = self.attempt(terms, t0, t1, y0, args, state.slope, radius)
        work = state.work.plus(fields, products + more, radius.value)
        dense = hermite(terms.contr(t0, t1), y0, state.slope, y1, slope)
        state = StabilizedState(slope, radius, work)
        return y1, error, dense, state, diffrax.RESULTS.successful

    def attempt(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, slope: Any, radius: SpectralRadius
    ) -> tuple[Any, Any, Any, Int[Array, ""], Int[Array, ""]]:
        """The new y, its error and slope, and the evaluations and derivatives spent."""
        h = jnp.asarray(terms.contr(t0, t1), radius.value.dtype)
        y1, partial, fields, products = self.advance(
            lambda c, y: terms.vf(t0 + c * h, y, args), h, y0, slope, _SAFETY * radius.value
        )
        slope1 = terms.vf(t1, y1, args)
        error = self.estimate(partial, h, y0, slope, y1, slope1)
        return y1, error, slope1, fields + 1, products

    def after_rejection(self, before: Any, tried: Any) -> Any:
        """The state to try again from: what was spent stays spent, the radius is looked at again."""
        return after_rejection(before, tried)


def after_rejection(before: Any, tried: Any) -> Any:
    """The state before a rejected step, with its work, and with a radius to look at again."""
    radius = eqx.tree_at(lambda r: r.age, tried.radius, jnp.asarray(_RENEW))
    return eqx.tree_at(lambda s: (s.radius, s.work), before, (radius, tried.work))


def slope_after_jump(terms: Any, t0: Any, y0: Any, args: Any, state: Any, made_jump: Any) -> Any:
    """A state with the slope at y0 even where the field has jumped since the last step."""
    if made_jump is False:
        return state
    slope = jax.lax.cond(made_jump, lambda: terms.vf(t0, y0, args), lambda: state.slope)
    return eqx.tree_at(lambda s: s.slope, state, slope)


def hermite(h: Array, y0: Any, slope0: Any, y1: Any, slope1: Any) -> dict[str, Any]:
    """Dense output by cubic Hermite interpolation."""
    return {"y0": y0, "y1": y1, "k0": _sum((h, slope0)), "k1": _sum((h, slope1))}


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

    def advance(
        self, field: Callable[[Any, Any], Any], h: Array, y0: Any, slope: Any, radius: Array
    ) -> tuple[Any, Any, Int[Array, ""], Int[Array, ""]]:
        """See `AbstractStabilized.advance`."""
        # 1.54 = 1 / 0.65; above a million the step is hopeless, and fails at no cost.
        wanted = jnp.sqrt(1 + 1.54 * jnp.abs(h) * radius)
        hopeless = ~(wanted < 1000)
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
        return y1, hopeless, s - 1, jnp.asarray(0)

    def estimate(self, partial: Any, h: Array, y0: Any, slope0: Any, y1: Any, slope1: Any) -> Any:
        """See `AbstractStabilized.estimate`."""
        error = _sum((0.8, y0), (-0.8, y1), (0.4 * h, slope0), (0.4 * h, slope1))
        return _unless(partial, error)


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
    r"""Stabilised method of order 3, stable for h lambda in [-0.38 s^2, 0], damped to 0.6 beyond -4.

    A combination of all stages of a Runge-Kutta-Chebyshev method that overshoots its step; see
    `gradflow.rkc3_coefficients`. Every stage solves the equation to order 2 at its own time, so
    that errors of stiff components are not amplified from stage to stage, as they are in methods
    that end with a polynomial of degree 4. The error estimate has order 4 and is damped likewise.
    From 5 to 500 stages; a step that needs more is refused.

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

    def advance(
        self, field: Callable[[Any, Any], Any], h: Array, y0: Any, slope: Any, radius: Array
    ) -> tuple[Any, Any, Int[Array, ""], Int[Array, ""]]:
        """See `AbstractStabilized.advance`."""
        table = {name: jnp.asarray(array) for name, array in _table().items()}
        row = jnp.searchsorted(table["reach"], jnp.abs(h) * radius)
        hopeless = ~(jnp.abs(h) * radius <= table["reach"][-1])
        row = jnp.where(hopeless, 0, row)
        w0, w1, offset = table["w0"][row], table["w1"][row], table["offset"][row]

        def weights(j: Any) -> tuple[Array, Array, Array, Array]:
            names = ("scale", "chebyshev", "gamma", "delta")
            return tuple(table[name][offset + j] for name in names)  # type: ignore[return-value]

        # e_j = (y_j - y0) / b_j solves the Chebyshev recurrence with h f in the place of z. The
        # first stage sits at y0 itself, where h f(y_1) becomes a derivative.
        zero = jnp.zeros_like(h)
        first = _sum((w1 * h, slope))
        _, second_derivative = jax.jvp(field, (zero, y0), (jnp.ones_like(h), _sum((h, slope))))
        b, _, gamma, delta = weights(2)
        e = _sum((2 * w0, first), (2 * w1 * w0 * h, slope), (2 * w1**2 * h, second_derivative))
        c_first = w1
        c_second = 4 * w1 * w0

        def stage(j: Array, carry: Any) -> Any:
            e_before, e, c_before, c, moved, error = carry
            b, t, _, _ = weights(j - 1)
            _, _, gamma, delta = weights(j)
            k = field(b * c, _sum((1.0, y0), (b, e)))
            new = _sum(
                (2 * w0, e),
                (-1.0, e_before),
                (2 * w1 * h / b, k),
                (2 * w1 * h * (t - 1 / b), slope),
            )
            c_new = 2 * w0 * c - c_before + 2 * w1 * t
            b = weights(j)[0]
            moved = _sum((1.0, moved), (gamma * b, new))
            error = _sum((1.0, error), (delta * b, new))
            return e, new, c, c_new, moved, error

        start = (first, e, c_first, c_second, _sum((gamma * b, e)), _sum((delta * b, e)))
        stages = table["stages"][row]
        *_, moved, error = jax.lax.fori_loop(3, stages + 1, stage, start)
        y1 = _sum((1.0, y0), (1.0, moved))
        return y1, _unless(hopeless, error), stages - 2, jnp.asarray(1)

    def estimate(self, partial: Any, h: Array, y0: Any, slope0: Any, y1: Any, slope1: Any) -> Any:
        """See `AbstractStabilized.estimate`."""
        del h, y0, slope0, y1, slope1
        return partial
