r"""Adam's continuous-time model as a flow of the factors, and the minibatch variance it needs.

With g_j the gradient in W_j, s_j^2 its elementwise variance over minibatches and all operations
entry by entry, Adam with slow moments moves like

    dW_j/dt = -g_j / sqrt(g_j^2 + s_j^2 + epsilon^2),

where epsilon = 0 in the paper. With full batches, s_j = 0 and epsilon = 0, the right-hand side is
-sign(g_j): it jumps where an entry of the gradient changes sign. Solutions exist in Filippov's
sense only and slide along g_j = 0 there, where a solver with an error estimate hardly advances. A
smoothing epsilon > 0 replaces the jump by a layer of about |g| <= epsilon. As epsilon falls, the
solution at a fixed time converges, as a rule like O(epsilon), and what slides gets stiff: explicit
steps are limited to about epsilon.

Unlike gradient flow, this flow does not conserve W_{j+1}^T W_{j+1} - W_j W_j^T: a balanced start
does not stay balanced.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from gradflow._util.validate import finite_array, positive, same_float_dtype, whole
from gradflow.coordinates.base import AbstractChart
from gradflow.coordinates.factors import FactorChart, ramp_for
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import MatrixCompletion


class AdamChart(AbstractChart):
    r"""y = (W_1, ..., W_N), moving by Adam's model. Made and checked by `adam_chart`.

    The gradient g is that of the whole value, penalty included. The value falls along the flow, at
    the rate sum g^2 / sqrt(g^2 + s^2 + epsilon^2), which is what `squared_speed` gives. So the
    observable `gradient_norm` is the root of this rate here, and not the norm of the gradient.

    Attributes:
      objective: the problem, its factorisation and its penalty.
      variance: s_j^2, one array of the shape of W_j a factor.
      smoothing: epsilon.
      ramp: as for `FactorChart`.

    References:
      zhao2022, Theorem 1 and Equation (15).
    """

    objective: Objective
    variance: Factors
    smoothing: Float[Array, ""]
    ramp: Float[Array, ""] | None = None
    name: ClassVar[str] = "adam"
    log_clock: ClassVar[bool] = False
    normwise: ClassVar[bool] = True

    @property
    def problem(self) -> AbstractProblem:
        return self.objective.problem

    def _scaled(self, gradient: Factors) -> Factors:
        return tuple(
            g / jnp.hypot(g, jnp.hypot(jnp.sqrt(v), self.smoothing))
            for g, v in zip(gradient, self.variance, strict=True)
        )

    def velocity(self, y: Factors) -> Factors:
        return tuple(-d for d in self._scaled(self.objective.gradient(y, self.ramp)))

    def product(self, y: Factors) -> Array:
        return self.objective.product(y)

    def squared_speed(self, y: Factors) -> Float[Array, ""]:
        gradient = self.objective.gradient(y, self.ramp)
        parts = zip(gradient, self._scaled(gradient), strict=True)
        return jnp.sum(jnp.stack([jnp.sum(g * d) for g, d in parts]))

    def penalty(self, y: Factors) -> Float[Array, ""]:
        return self.objective.penalty_at(y)

    def smooth(self, y: Factors, tolerance: Any = None) -> Bool[Array, ""]:
        return self.objective.smooth(y, tolerance)

    def crossed(self, before: Factors, after: Factors, tolerance: Any) -> Bool[Array, ""]:
        return self.objective.crossed(before, after, tolerance)

    def resolving(self, tolerance: Any) -> "AdamChart":
        return dataclasses.replace(self, ramp=ramp_for(self.objective, tolerance))

    def factors(self, y: Factors) -> Factors:
        return y

    def slogdet(self, y: Factors) -> tuple[Array, Array]:
        return FactorChart(self.objective).slogdet(y)


def adam_chart(
    objective: Objective,
    factors: Factors,
    variance: Sequence[ArrayLike] | ArrayLike | None = None,
    smoothing: float | None = None,
) -> AdamChart:
    r"""Adam's model as coordinates of a flow, checked against the factors it will start from.

    Args:
      objective: the problem, its factorisation and, if any, its penalty.
      factors: W_1, ..., W_N.
      variance: s_j^2 >= 0, one array or number a factor (see `sampled_variance`), or one number for
        all. None or 0 stands for full batches.
      smoothing: epsilon >= 0, in the unit of the gradient. It must be given, above 0, where a
        variance is zero; 0 otherwise, if nothing is given.

    Returns:
      An `AdamChart`, whose coordinates are the factors.

    Raises:
      ValueError: on wrong shapes or precisions, a number that is negative or not finite, and where
        a variance is zero without a smoothing above 0.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> objective = gf.Objective(gf.norm_blowup(), gf.MatrixProduct((2, 2)))
      >>> start = (jnp.array([[0.0, 1.5], [1.0, 0.0]]),)
      >>> chart = adam_chart(objective, start, variance=0.75)
      >>> float(chart.velocity(start)[0][0, 1])  # the gradient there is 0.5
      -0.5

    References:
      zhao2022, Theorem 1 and Equation (15).
    """
    factors = objective.factorization.check(
        [finite_array(f"factors[{k}]", f) for k, f in enumerate(factors)]
    )
    dtype = same_float_dtype(objective=objective, factors=factors)
    spread = _variance(variance, factors, dtype)
    if smoothing is not None and smoothing != 0:
        positive("smoothing", smoothing)
    certain = [j for j, v in enumerate(spread, 1) if not bool(jnp.all(v > 0))]
    if certain and not smoothing:
        raise ValueError(
            f"The variance of the gradient in W_{certain[0]} is zero in some entries, so the field "
            "is -sign(gradient) there: it jumps where that entry changes sign, and solutions slide "
            f"along the jump. smoothing is {smoothing}; give one above 0, small next to the "
            "gradient's entries, or a variance above 0 (gradflow.sampled_variance)."
        )
    return AdamChart(objective, spread, jnp.asarray(smoothing or 0.0, dtype))


def _variance(
    variance: Sequence[ArrayLike] | ArrayLike | None, factors: Factors, dtype: jnp.dtype
) -> Factors:
    """One array a factor, of its shape."""
    given = [0.0 if variance is None else variance] * len(factors)
    if isinstance(variance, Sequence):
        given = list(variance)
    if len(given) != len(factors):
        raise ValueError(
            f"There are {len(given)} variances but {len(factors)} factors; give one for each."
        )
    spread = []
    for k, (value, factor) in enumerate(zip(given, factors, strict=True)):
        array = finite_array(f"variance[{k}]", value)
        if array.ndim != 0 and array.shape != factor.shape:
            raise ValueError(
                f"variance[{k}] has shape {array.shape} but W_{k + 1} has shape {factor.shape}; "
                "give an array of that shape, or a number."
            )
        if array.min() < 0:
            raise ValueError(f"variance[{k}] must be 0 or more, but it holds {array.min()}.")
        spread.append(jnp.broadcast_to(jnp.asarray(array, dtype), factor.shape))
    return tuple(spread)


def sampled_variance(objective: Objective, factors: Factors, batch: int) -> Factors:
    r"""Elementwise variance of a minibatch gradient over all batches of observed entries.

    A batch is drawn without replacement from the n observed entries, and its gradient scaled by
    n / batch, so that its mean is the full gradient. Entry (k, l) contributes
    c_kl = 2 c r_kl A^T e_k e_l^T B^T to the gradient in W_j, with the residual r, the factor c of
    the loss convention, A = W_N ... W_{j+1} and B = W_{j-1} ... W_1, so that

        s_j^2 = n (n - batch) / (batch (n - 1)) * (sum c_kl^2 - (sum c_kl)^2 / n),
        sum c_kl^2 = (A^2)^T (4 c^2 r^2) (B^2)^T,    squares entry by entry.

    A penalty does not depend on the batch and adds nothing.

    Args:
      objective: a matrix completion problem with a matrix product.
      factors: W_1, ..., W_N, where the variance is wanted.
      batch: the number of observed entries in a batch, from 1 to n.

    Returns:
      One array of the shape of W_j a factor; zero if the batch holds all entries.

    Raises:
      ValueError: on another problem or factorisation, wrong shapes, or a batch out of range.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> problem = gf.MatrixCompletion((1, 2), [[0, 0], [0, 1]], [1.0, 3.0])
      >>> objective = gf.Objective(problem, gf.MatrixProduct((2, 1)))
      >>> sampled_variance(objective, (jnp.zeros((1, 2)),), batch=1)[
      ...     0
      ... ].tolist()  # of -2, 0 and of 0, -6
      [[1.0, 9.0]]

    References:
      zhao2022, Equation (14).
    """
    problem, model = objective.problem, objective.factorization
    if not isinstance(problem, MatrixCompletion) or not isinstance(model, MatrixProduct):
        raise ValueError(
            "sampled_variance is for MatrixCompletion with a MatrixProduct, but the objective has "
            f"{type(problem).__name__} and {type(model).__name__}; give the variance as arrays."
        )
    factors = model.check(factors)
    n, batch = problem.observations, whole("batch", batch)
    if batch > n:
        raise ValueError(
            f"batch must be at most the number of observed entries, {n}, but it is {batch}."
        )
    if batch == n:
        return tuple(jnp.zeros_like(f) for f in factors)
    w, partial = model.forward(factors)
    contribution = problem.gradient(w)
    share = n * (n - batch) / (batch * (n - 1))
    total = model.pullback(factors, partial, contribution)
    return tuple(
        share * jnp.maximum((a**2).T @ contribution**2 @ (b**2).T - t**2 / n, 0.0)
        for a, b, t in zip(*model.neighbours(factors), total, strict=True)
    )
