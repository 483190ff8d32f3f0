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

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import (
    finite_array,
    positive,
    same_float_dtype,
    whole,
)
from gradflow.dynamics.base import AbstractDynamics
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.problems.completion import MatrixCompletion
from gradflow.state import State


class AdamFlow(AbstractDynamics):
    r"""Adam's model: dW_j/dt = -g_j / sqrt(g_j^2 + s_j^2 + epsilon^2), entry by entry.

    The gradient g is that of the whole value, penalty included. The value falls along the flow, at
    the rate sum g^2 / sqrt(g^2 + s^2 + epsilon^2). A flow starts only where each variance is above
    0 or the smoothing is.

    Args:
      variance: s_j^2 >= 0, one array or number a factor (see `sampled_variance`), or one number for
        all. None or 0 stands for full batches.
      smoothing: epsilon >= 0, in the unit of the gradient.

    Raises:
      ValueError: if the smoothing is negative or not finite. What the start must be to fit, a flow
        says before it begins: wrong shapes or precisions, a variance that is negative or not
        finite, and a variance of zero without a smoothing above 0.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)))
      >>> start = (jnp.array([[0.0, 1.5], [1.0, 0.0]]),)
      >>> adam = AdamFlow(variance=0.75).prepared(objective, start)
      >>> float(adam.velocity(objective, start)[0][0, 1])  # the gradient there is 0.5
      -0.5

    References:
      zhao2022, Theorem 1 and Equation (15).
    """

    variance: Any
    smoothing: Float[Array, ""]
    name: ClassVar[str] = "adam"
    real_rates: ClassVar[bool] = True

    def __init__(
        self,
        variance: Checked[Sequence[ArrayLike] | ArrayLike | None] = None,
        smoothing: Checked[float | None] = None,
    ):
        self.variance = variance
        self.smoothing = jnp.asarray(positive("smoothing", smoothing) if smoothing else 0.0)

    def velocity(self, objective: Objective, state: Factors, kink_width: Any = None) -> Factors:
        if not isinstance(self.variance, Sequence):
            raise ValueError(
                "AdamFlow does not know yet which variance is whose; give "
                "AdamFlow(...).prepared(objective, factors)."
            )
        return tuple(
            -g / jnp.hypot(g, jnp.hypot(jnp.sqrt(v), self.smoothing))
            for g, v in zip(objective.gradient(state, kink_width), self.variance, strict=True)
        )

    def prepared(self, objective: Objective, factors: Factors) -> "AdamFlow":
        factors = objective.factorization.check(factors)
        dtype = same_float_dtype(objective=objective, factors=factors)
        spread = _variance(self.variance, factors, dtype)
        certain = [j for j, v in enumerate(spread, 1) if not bool(jnp.all(v > 0))]
        if certain and not float(self.smoothing):
            raise ValueError(
                f"The variance of the gradient in W_{certain[0]} is zero in some entries, so the "
                "field is -sign(gradient) there: it jumps where that entry changes sign, and "
                "solutions slide along the jump. smoothing is 0; give one above 0, small next to "
                "the gradient's entries, or a variance above 0 "
                "(gradflow.dynamics.sampled_variance)."
            )
        return AdamFlow(spread, float(self.smoothing))


def _variance(
    variance: Checked[Sequence[ArrayLike] | ArrayLike | None], factors: Factors, dtype: jnp.dtype
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


def adam_chart(
    objective: Objective,
    factors: Factors,
    variance: Sequence[ArrayLike] | ArrayLike | None = None,
    smoothing: float | None = None,
) -> AdamFlow:
    """`AdamFlow(variance, smoothing)`, as it was called before dynamics had a name of their own.

    Args:
      objective: the problem, its factorisation and, if any, its penalty.
      factors: W_1, ..., W_N.
      variance: as for `AdamFlow`.
      smoothing: as for `AdamFlow`.
    """
    return AdamFlow(variance, smoothing).prepared(objective, factors)


def sampled_variance(objective: Objective, factors: Factors, batch: Checked[int]) -> Factors:
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


def smoothed_share(state: State) -> Float[Array, ""]:
    """The share of the factors' entries whose gradient is at most epsilon: where smoothing acts.

    Where it is small, the smoothed field is close to the paper's; where solutions slide, it counts
    the entries that do.

    Args:
      state: a point of a flow of an `AdamFlow`; the function serves as an observable.

    Raises:
      ValueError: in other flows.

    Example:
      >>> import gradflow as gf, jax.numpy as jnp
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)))
      >>> start = (jnp.array([[0.0, 1.5], [1.0, 0.0]]),)
      >>> share = {"share": smoothed_share}
      >>> adam = AdamFlow(smoothing=0.01)
      >>> flow = gf.solve_flow(objective, start, dynamics=adam, horizon=0.1, observe=share)
      >>> float(flow["share"][0])
      0.75
    """
    dynamics = getattr(state.view, "dynamics", None)
    if not isinstance(dynamics, AdamFlow):
        raise ValueError("Only flows of a gradflow.AdamFlow in factors have a smoothing.")
    gradient = state.view.objective.gradient(state.factors)  # type: ignore[attr-defined]
    inside = jnp.concatenate([jnp.ravel(jnp.abs(g) <= dynamics.smoothing) for g in gradient])
    return jnp.mean(inside, dtype=dynamics.smoothing.dtype)
