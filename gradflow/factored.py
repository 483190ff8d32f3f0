r"""Completion of thin products by their observations: W = left right is never formed.

A matrix product is cut in two at its thinnest hidden size. What the loss needs are the entries
that are observed, and what gradients need are the residuals times rows of either half.
"""

from typing import Any, Literal, TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg import thin_products
from gradflow.penalties.base import AbstractParameterPenalty
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.sparse import SparseCompletion

Path = Literal["auto", "dense", "observations"]
Observed = MatrixCompletion | SparseCompletion

LARGEST = 10**8
"""Entries of W from which on it is not formed of a problem that never needs it."""
_LEAST = 10**5
"""Entries of W below which nothing is to be gained."""
_ENTRY, _PRODUCT, _GATHER = 5.0, 0.1, 25.0
"""What a step costs: by entries of W, by entries and hidden size, by observations and hidden size.
In nanoseconds on one core of a CPU, by half on the safe side; see `benchmarks.ratings`."""


def refusal(problem: Any, model: Any, penalty: Any) -> str | None:
    """Why an objective cannot be had by observations; None if it can.

    Args:
      problem: what is fitted.
      model: how W is made.
      penalty: on W or on the factors, or None.
    """
    if not is_observed(problem):
        return (
            f"{type(problem).__name__} is not a loss of observed entries of a matrix alone; give "
            "MatrixCompletion or SparseCompletion"
        )
    if not isinstance(model, MatrixProduct) or model.depth < 2:
        return (
            f"{model!r} has no thin halves; give a MatrixProduct of depth 2 or more, such as "
            "MatrixProduct.of(problem.shape, depth=2, hidden=10)"
        )
    if penalty is not None and not isinstance(penalty, AbstractParameterPenalty):
        return (
            f"{type(penalty).__name__} is a penalty on the whole of W; give one on the factors: "
            "WeightDecay(weight), whose least value at depth 2 is weight times the nuclear norm"
        )
    return None


def is_observed(problem: Any) -> TypeGuard[Observed]:
    """Whether it is a quadratic loss of observed entries of a matrix."""
    return isinstance(problem, MatrixCompletion | SparseCompletion)


def pays(problem: Observed, model: MatrixProduct) -> bool:
    """Whether gradients by observations are expected to be the faster ones.

    Args:
      problem: what is fitted.
      model: how W is made.
    """
    rows, columns = problem.shape
    hidden = min(model.sizes[1:-1])
    dense = rows * columns * (_ENTRY + _PRODUCT * hidden)
    return rows * columns >= _LEAST and problem.observations * hidden * _GATHER < dense


def see_formed(problem: Any) -> None:
    """See that W may be formed.

    Raises:
      ValueError: if the problem is for a W that is not to be.
    """
    rows, columns, *_ = (*problem.shape, 1)
    if isinstance(problem, SparseCompletion) and rows * columns > LARGEST:
        raise ValueError(
            f"The whole of W, of shape {problem.shape}, has {rows * columns:.1e} entries and is "
            "never formed; record what the factors tell: loss, gradient_norm, singular_values, "
            "effective_rank, test_error on entries held out, factors."
        )


def halves(model: MatrixProduct) -> tuple[MatrixProduct, MatrixProduct]:
    """The models of left and right, cut at the thinnest hidden size."""
    cut = 1 + min(range(model.depth - 1), key=lambda j: model.sizes[1 + j])
    return MatrixProduct(model.sizes[cut:]), MatrixProduct(model.sizes[: cut + 1])


def thin(model: MatrixProduct, factors: Factors) -> tuple[Array, Array]:
    """Left and right."""
    upper, lower = halves(model)
    return upper.product(factors[lower.depth :]), lower.product(factors[: lower.depth])


def loss(problem: Observed, model: MatrixProduct, factors: Factors) -> Float[Array, ""]:
    """The loss at the factors."""
    left, right = thin(model, factors)
    squares = thin_products.squared_misfit(left, right, problem.indices, problem.values)
    return problem.weight * squares


def loss_and_gradient(
    problem: Observed, model: MatrixProduct, factors: Factors
) -> tuple[Array, Factors]:
    """The loss, and its gradient in each factor."""
    upper, lower = halves(model)
    above, below = factors[lower.depth :], factors[: lower.depth]
    (left, partial_above), (right, partial_below) = upper.forward(above), lower.forward(below)
    found = thin_products.misfit(left, right, problem.indices, problem.values)
    slope = 2 * problem.weight
    return problem.weight * found.squares, (
        *lower.pullback(below, partial_below, slope * found.right),
        *upper.pullback(above, partial_above, slope * found.left),
    )


def entries(
    model: MatrixProduct, factors: Factors, indices: Int[Array, "u 2"]
) -> Float[Array, " u"]:
    """Entries of W."""
    return thin_products.entries(*thin(model, factors), indices)


def singular_values(model: MatrixProduct, factors: Factors) -> Float[Array, " k"]:
    """Singular values of W, as many as the sizes allow, in falling order."""
    return thin_products.singular_values(*thin(model, factors))


def change(
    model: MatrixProduct, factors: Factors, velocity: Factors
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The norms of W, and of its derivative where the factors move with a velocity."""
    (left, right), (of_left, of_right) = jax.jvp(
        lambda moving: thin(model, moving), (factors,), (velocity,)
    )
    stacked = (jnp.concatenate([of_left, left], axis=1), jnp.concatenate([right, of_right], axis=0))
    return thin_products.norm(left, right), thin_products.norm(*stacked)
