"""What coordinates of a flow are."""

import abc
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradflow.factorizations.base import Factors
from gradflow.linalg.spectrum import singular_values
from gradflow.problems.base import AbstractProblem

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


def expected_norm(problem: AbstractProblem) -> Float[Array, ""]:
    """About the norm of a product that fits: that of a steepest descent step from zero.

    Args:
      problem: what is fitted; 0 where its loss is not convex at zero along the gradient.
    """
    zero = jnp.zeros(problem.shape, jnp.result_type(float))
    slope = problem.gradient(zero)
    change = jax.jvp(problem.gradient, (zero,), (slope,))[1]
    curvature = jnp.sum(slope * change)
    norm = jnp.sum(slope**2) ** 1.5 / curvature
    return jnp.where((curvature > 0) & jnp.isfinite(norm), norm, 0.0)


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
