r"""Coordinates of a gradient flow, among them ones that keep the determinant's sign.

A chart knows how to start from balanced factors, its velocity dy/dt, and what its coordinates mean:
the product, the loss, singular values and the logarithm of the determinant. Why more than one: at
depth 2 the determinant falls like exp(-1/(4 loss)), round-off in factor coordinates flips its sign
near a loss of 0.01, and what is then computed is no gradient flow any more.
"""

import abc
import dataclasses
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow.factorizations import Factors, MatrixProduct, Objective
from gradflow.initializations import relative_unbalancedness
from gradflow.preconditioners import end_to_end
from gradflow.problems import AbstractProblem
from gradflow.spectrum import singular_values

ChartName = Literal["auto", "factors", "product", "singular", "logdet"]

_STEEPEST = 1e6
"""The largest rise that steps prepare for; a start at zero would rise without end."""


class AbstractChart(eqx.Module):
    """Coordinates y of the flow and their meaning."""

    name: eqx.AbstractClassVar[str]
    log_clock: eqx.AbstractClassVar[bool]
    normwise: eqx.AbstractClassVar[bool]

    @property
    @abc.abstractmethod
    def problem(self) -> AbstractProblem:
        """What is fitted."""

    @abc.abstractmethod
    def velocity(self, y: Any) -> Any:
        """dy/dt along the gradient flow."""

    @abc.abstractmethod
    def product(self, y: Any) -> Array:
        """The product W."""

    @abc.abstractmethod
    def squared_speed(self, y: Any) -> Float[Array, ""]:
        """-d value/dt, the squared norm of the gradient in the (balanced) factors."""

    def loss(self, y: Any) -> Float[Array, ""]:
        """The loss at the product, without a penalty."""
        return self.problem.loss(self.product(y))

    def penalty(self, y: Any) -> Float[Array, ""]:
        """The penalty at the product; 0 in coordinates that have none."""
        return jnp.zeros_like(self.loss(y))

    def value(self, y: Any) -> Float[Array, ""]:
        """The loss + penalty, which falls along the flow."""
        return self.loss(y) + self.penalty(y)

    def smooth(self, y: Any, tolerance: Any = None) -> Bool[Array, ""]:
        """Whether the velocity is defined at y: no kink of a penalty.

        Args:
          y: the coordinates.
          tolerance: relative to the largest, singular values below it count as zero; by default
            working precision.
        """
        del y, tolerance
        return jnp.asarray(True)

    def crossed(self, before: Any, after: Any, tolerance: Any) -> Bool[Array, ""]:
        """Whether a step from one y to another went across a kink of a penalty.

        Args:
          before: the coordinates where the step started.
          after: where it ended.
          tolerance: as for `smooth`.
        """
        del before, after, tolerance
        return jnp.asarray(False)

    def resolving(self, tolerance: Any) -> "AbstractChart":
        """The chart for a solver that follows singular values down to this share of the largest."""
        del tolerance
        return self

    def amplification(self, y: Any) -> Float[Array, ""]:
        """How many times relative errors made at y are expected to grow along the flow."""
        del y
        return jnp.asarray(1.0)

    def factors(self, y: Any) -> Factors | None:
        """The factors, where the coordinates know them."""
        del y
        return None

    def strained(self, y: Any) -> Bool[Array, ""]:
        """Whether y lies where these coordinates are about to fail, so that others must go on."""
        del y
        return jnp.asarray(False)

    def moved_to(self, y: Any) -> tuple["AbstractChart", Any]:
        """A chart that is not strained at the same point, and its coordinates there."""
        return self, y

    def singular_values(self, y: Any) -> Float[Array, " k"]:
        """Singular values of the product, in falling order."""
        return singular_values(self.product(y))

    def slogdet(self, y: Any) -> tuple[Array, Array]:
        """Sign and logarithm of the absolute value of the determinant of a square product."""
        sign, log = jnp.linalg.slogdet(self.product(y))
        return sign, log


class FactorChart(AbstractChart):
    """y = (W_1, ..., W_N): the flow as it is defined; any factorisation, balanced or not.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      ramp: None, or up to which share of the largest singular value a penalty with a kink is
        smoothed; see `AbstractPenalty.gradient`.
      goal: None, or the expected norm of the product at the end.
    """

    objective: Objective
    ramp: Float[Array, ""] | None = None
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "factors"
    log_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = True

    @property
    def problem(self) -> AbstractProblem:
        return self.objective.problem

    def velocity(self, y: Factors) -> Factors:
        return tuple(-g for g in self.objective.gradient(y, self.ramp))

    def product(self, y: Factors) -> Array:
        return self.objective.product(y)

    def squared_speed(self, y: Factors) -> Float[Array, ""]:
        gradient = self.objective.gradient(y, self.ramp)
        return jnp.sum(jnp.stack([jnp.sum(g**2) for g in gradient]))

    def penalty(self, y: Factors) -> Float[Array, ""]:
        return self.objective.penalty_at(y)

    def smooth(self, y: Factors, tolerance: Any = None) -> Bool[Array, ""]:
        return self.objective.smooth(y, tolerance)

    def crossed(self, before: Factors, after: Factors, tolerance: Any) -> Bool[Array, ""]:
        return self.objective.crossed(before, after, tolerance)

    def resolving(self, tolerance: Any) -> "FactorChart":
        return dataclasses.replace(
            self, ramp=ramp_for(self.objective, tolerance), goal=expected_norm(self.problem)
        )

    def amplification(self, y: Factors) -> Float[Array, ""]:
        return growth_of_errors(self.goal, self.product(y), len(y))

    def factors(self, y: Factors) -> Factors:
        return y

    def slogdet(self, y: Factors) -> tuple[Array, Array]:
        square = all(f.ndim == 2 and f.shape[0] == f.shape[1] for f in y)
        if not (square and isinstance(self.objective.factorization, MatrixProduct)):
            return super().slogdet(y)
        parts = [jnp.linalg.slogdet(f) for f in y]
        sign = jnp.prod(jnp.stack([p[0] for p in parts]))
        return sign, jnp.sum(jnp.stack([p[1] for p in parts]))


class ProductChart(AbstractChart):
    """y = W: the flow of the product of balanced factors, dW/dt = -P_W[gradient].

    Attributes:
      fitted: the problem.
      depth: N.
      goal: None, or the expected norm of the product at the end.

    References:
      arora2019, Lemma 3.
    """

    fitted: AbstractProblem
    depth: int = eqx.field(static=True)
    goal: Float[Array, ""] | None = None
    name: ClassVar[str] = "product"
    log_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = True

    @property
    def problem(self) -> AbstractProblem:
        return self.fitted

    def velocity(self, y: Array) -> Array:
        return -end_to_end(y, self.fitted.gradient(y), self.depth)

    def product(self, y: Array) -> Array:
        return y

    def resolving(self, tolerance: Any) -> "ProductChart":
        del tolerance
        return dataclasses.replace(self, goal=expected_norm(self.fitted))

    def amplification(self, y: Array) -> Float[Array, ""]:
        return growth_of_errors(self.goal, y, self.depth)

    def squared_speed(self, y: Array) -> Float[Array, ""]:
        gradient = self.fitted.gradient(y)
        return jnp.sum(gradient * end_to_end(y, gradient, self.depth))


class SingularChart(AbstractChart):
    r"""y = (log s, U, V), W = U diag(s) V^T: singular values keep their sign by construction.

    d log s_r/dt = -N s_r^(1-2/N) g_rr and, off the diagonal of U^T dU/dt and V^T dV/dt,

        -(s_s g_rs + s_r g_sr) / (s_s^(2/N) - s_r^(2/N)),
        -(s_r g_rs + s_s g_sr) / (s_s^(2/N) - s_r^(2/N)),

    with g = U^T gradient V. Singular where two singular values meet, so it needs distinct ones.

    References:
      arora2019, Theorem 3 and Lemma 2.
    """

    fitted: AbstractProblem
    depth: int = eqx.field(static=True)
    name: ClassVar[str] = "singular"
    log_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = False

    @property
    def problem(self) -> AbstractProblem:
        return self.fitted

    def _parts(self, y: Factors) -> tuple[Array, Array, Array]:
        log_s, u, v = y
        gradient = self.fitted.gradient(self.product(y))
        return jnp.exp(log_s), gradient, u.T @ gradient @ v

    def velocity(self, y: Factors) -> Factors:
        log_s, u, v = y
        s, gradient, g = self._parts(y)
        d_log_s = -self.depth * s ** (1 - 2 / self.depth) * jnp.diagonal(g)
        powers = jnp.exp(2 / self.depth * log_s)
        gap = powers[None, :] - powers[:, None]
        inverse = jnp.where(jnp.eye(s.size, dtype=bool), 0.0, 1 / jnp.where(gap == 0, 1.0, gap))
        inverse = jnp.where((gap == 0) & ~jnp.eye(s.size, dtype=bool), jnp.inf, inverse)
        d_u = -u @ (inverse * (g * s[None, :] + s[:, None] * g.T))
        d_v = -v @ (inverse * (s[:, None] * g + g.T * s[None, :]))
        root = s ** (1 - 2 / self.depth)
        if u.shape[0] > u.shape[1]:
            d_u = d_u - (gradient @ v - u @ g) * root
        if v.shape[0] > v.shape[1]:
            d_v = d_v - (gradient.T @ u - v @ g.T) * root
        return d_log_s, d_u, d_v

    def product(self, y: Factors) -> Array:
        log_s, u, v = y
        return (u * jnp.exp(log_s)) @ v.T

    def squared_speed(self, y: Factors) -> Float[Array, ""]:
        w = self.product(y)
        gradient = self.fitted.gradient(w)
        return jnp.sum(gradient * end_to_end(w, gradient, self.depth))

    def singular_values(self, y: Factors) -> Float[Array, " k"]:
        return -jnp.sort(-jnp.exp(y[0]))

    def slogdet(self, y: Factors) -> tuple[Array, Array]:
        log_s, u, v = y
        sign = jnp.linalg.slogdet(u)[0] * jnp.linalg.slogdet(v)[0]
        return sign, jnp.sum(log_s)


def expected_norm(problem: AbstractProblem) -> Float[Array, ""]:
    """About the norm of a product that fits: that of a steepest descent step from zero.

    Args:
      problem: what is fitted.
    """
    zero = jnp.zeros(problem.shape, jnp.result_type(float))
    slope = problem.gradient(zero)
    change = jax.jvp(problem.gradient, (zero,), (slope,))[1]
    curvature = jnp.sum(slope * change)
    return jnp.where(curvature > 0, jnp.sum(slope**2) ** 1.5 / curvature, 0.0)


def growth_of_errors(goal: Array | None, product: Array, depth: int) -> Float[Array, ""]:
    """How many times relative errors grow while a product rises to the norm `goal`.

    In the rise d|W|/dt is proportional to |W|^(2-2/N), so an error is a shift in time, and relative
    to |W| it grows like |W|^(1-2/N): at depths 1 and 2 not at all.

    Args:
      goal: the expected norm; None where there is none.
      product: W.
      depth: N.
    """
    if goal is None or depth <= 2:
        return jnp.asarray(1.0)
    size = jnp.linalg.norm(product.ravel())
    rise = jnp.clip(goal / jnp.where(goal > 0, size, 1.0), 1.0, _STEEPEST)
    return rise ** (1 - 2 / depth)


def ramp_for(objective: Objective, tolerance: Any) -> Any:
    """The tolerance, if the objective's penalty has a kink to be smoothed at this scale."""
    penalty = objective.penalty
    return tolerance if penalty is not None and penalty.exponent <= 1 else None


def balanced_start(objective: Objective, factors: Factors) -> MatrixProduct:
    """Check that a start has what the product's own flow needs: a matrix product, balanced.

    Raises:
      ValueError: if not, or if there is a penalty; it names the unbalancedness and the remedy.
    """
    model = objective.factorization
    if objective.penalty is not None:
        raise ValueError(
            f"The objective has a penalty, {type(objective.penalty).__name__}, and coordinates "
            "other than 'factors' have none; use coordinates='factors'."
        )
    if not isinstance(model, MatrixProduct):
        raise ValueError(
            f"{type(model).__name__} has no flow of the product alone; use coordinates='factors'."
        )
    found = float(relative_unbalancedness(factors))
    if found > 1e-10:
        raise ValueError(
            f"The factors are not balanced (relative unbalancedness {found:.3g}), so the product "
            "alone does not determine the flow; use coordinates='factors', or start from "
            "gradflow.balanced_factors(W, sizes)."
        )
    if len(model.sizes) > 2 and min(model.sizes[1:-1]) < min(model.shape):
        raise ValueError(
            f"Hidden size {min(model.sizes[1:-1])} limits the rank of a {model.shape} product; "
            "its flow needs coordinates='factors'."
        )
    return model
