r"""The polar factor U V^T of a matrix W = U S V^T, without its singular value decomposition.

Odd functions f act on singular values: f(W) = U f(S) V^T, if they are made of products and inverses
alone. A few of them, one after the other, bring all singular values of a wide range to 1:

- rational ones, Halley's iteration with the best weights for the range. Each multiplies the
  smallest singular value by thousands but needs a Cholesky factorisation, the first one in twice
  the precision, since it is one of W^T W: the fastest beginning on a CPU; on a GPU, where products
  are cheap, half as fast as polynomials alone, and no more accurate;
- polynomials of degree 9, each the best uniform approximation of 1 on the interval that the one
  before it leaves. They are products of matrices and nothing else.

References:
  Nakatsukasa, Bai and Gygi 2010: Halley's iteration and its weights. Amsel, Persson, Musco and
  Gower 2025: that the composition of best polynomials is best. All coefficients are computed here.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax.linalg import cholesky, triangular_solve
from jaxtyping import Array, Float

from gradflow._util.annotations import AnyArray, Checked
from gradflow._util.validate import positive
from gradflow.linalg.lengths import length_of
from gradflow.linalg.products import product

SMALLEST = 1e-6
"""Singular values down to this share of the Frobenius norm are brought to 1."""
_ACCURACY = 3e-4
"""Of the last polynomial; smaller errors are those of float32 in directions of share 1e-4."""
_MARGIN = 1.02
"""Rounding may bring singular values out of the interval by this; polynomials soar there."""
_POWERS = np.arange(1, 10, 2)
"""Four matrix products give a polynomial of degree 9; of all degrees it gains the most by each."""


class Plan(NamedTuple):
    """What is applied to a matrix of Frobenius norm 1.

    Attributes:
      rational: weights (a, b, c) of x (a + b x^2) / (1 + c x^2), one after the other.
      polynomials: coefficients of x, x^3, ..., x^9, one after the other.
    """

    rational: tuple[tuple[float, float, float], ...]
    polynomials: tuple[tuple[float, ...], ...]


def polar_by_iteration(
    w: Float[AnyArray, "d d_prime"],
    smallest: Checked[float] = SMALLEST,
    rational: int | None = None,
) -> Float[Array, "d d_prime"]:
    r"""The polar factor U V^T, with min(d, d') singular values of 1 where none of W is small.

    Singular values below `smallest` times ||W||_F come out between 0 and 1, in proportion where
    they are far below. At W = 0 the result is 0. In float32, singular values of the result are
    within 3e-4 of 1, and a direction of share s of the norm is off by about 3e-8 / s.

    Args:
      w: a matrix.
      smallest: the share of the Frobenius norm, in (0, 1).
      rational: how many rational functions come first; by default 2 on a CPU with 64-bit numbers
        enabled, else none.

    Raises:
      ValueError: if `smallest` is not above 0 and below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> w = jnp.array([[3.0, 0.0], [0.0, -0.02]])
      >>> jnp.round(polar_by_iteration(w), 3).tolist()
      [[1.0, 0.0], [0.0, -1.0]]
    """
    if positive("smallest", smallest) >= 1:
        raise ValueError(f"smallest must be below 1, but it is {smallest}.")
    if rational is None:
        wide_numbers = jax.dtypes.canonicalize_dtype(jnp.float64) == jnp.float64
        rational = 2 if jax.default_backend() == "cpu" and wide_numbers else 0
    planned = plan(float(smallest), rational)
    wide = w.shape[0] < w.shape[1]
    x = jnp.asarray(w.T if wide else w)
    norm = length_of(x)
    x = x / jnp.where(norm > 0, norm, 1.0)
    for k, weights in enumerate(planned.rational):
        x = _halley(x, weights, jnp.float64 if k == 0 else x.dtype)
    for coefficients in planned.polynomials:
        x = _polynomial(x, coefficients)
    return x.T if wide else x


def _halley(x: Array, weights: tuple[float, float, float], precision: Any) -> Array:
    """X (a + b X^T X) (I + c X^T X)^(-1), as b/c X + (a - b/c) X (I + c X^T X)^(-1).

    The factorisation needs `precision`. Solves in that of X make errors in small directions two to
    six times larger, still no larger than those of an SVD in it. They are from the right, which
    BLAS does faster.
    """
    a, b, c = weights
    precise = x.astype(precision)
    gram = precise.T @ precise
    root = cholesky(jnp.eye(len(gram), dtype=precision) + c * gram, symmetrize_input=False)
    root = root.astype(x.dtype)
    half = triangular_solve(root, x, lower=True, transpose_a=True)
    return (b / c) * x + (a - b / c) * triangular_solve(root, half, lower=True)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    c1, c3, c5, c7, c9 = coefficients
    gram = product(x.T, x)
    square = product(gram, gram)
    eye = jnp.eye(len(gram), dtype=x.dtype)
    high = product(square, c7 * gram + c9 * square)
    return product(x, c1 * eye + c3 * gram + c5 * square + high)


@cache
def plan(smallest: float, rational: int) -> Plan:
    """What brings [smallest, 1] to within `_ACCURACY` of 1.

    Args:
      smallest: the lower end.
      rational: how many rational functions come first.
    """
    low, high = smallest, 1.0
    weights = []
    for _ in range(rational):
        a, b, c = halley_weights(low)
        weights.append((a, b, c))
        low *= (a + b * low**2) / (1 + c * low**2)
    low /= _MARGIN if rational else 1.0
    found: list[tuple[float, ...]] = []
    while True:
        coefficients, error = best_odd(low, high)
        if error < _ACCURACY:
            # Python's numbers: NumPy's would make float64 of float32.
            return Plan(tuple(weights), (*found, tuple(coefficients.tolist())))
        coefficients = coefficients * _MARGIN ** -_POWERS.astype(float)
        found.append(tuple(coefficients.tolist()))
        low, high = float(coefficients @ low**_POWERS), 1 + error


def halley_weights(low: float) -> tuple[float, float, float]:
    """The weights of x (a + b x^2) / (1 + c x^2) that bring [low, 1] nearest to 1 from below.

    References:
      Nakatsukasa, Bai and Gygi 2010, Equation (3.7).
    """
    d = np.cbrt(4 * (1 - low**2) / low**4)
    root = np.sqrt(1 + d)
    a = float(root + np.sqrt(8 - 4 * d + 8 * (2 - low**2) / (low**2 * root)) / 2)
    b = (a - 1) ** 2 / 4
    return a, b, a + b - 1


def best_odd(low: float, high: float) -> tuple[np.ndarray, float]:
    """The best uniform approximation of 1 on an interval by an odd polynomial, and its error.

    By Remez' exchange on a grid: the error takes its largest size, with alternating signs, at one
    point more than there are coefficients.

    Args:
      low: the lower end, above 0.
      high: the upper end.

    Returns:
      The coefficients of x, x^3, ..., x^9, and the largest error.
    """
    count = len(_POWERS) + 1
    share = (1 - np.cos(np.linspace(0, np.pi, 4001))) / 2
    grid = np.union1d(low + (high - low) * share, np.geomspace(low, high, 2000))
    points = low + (high - low) * (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2
    signs = (-1.0) ** np.arange(count)
    coefficients, worst = np.zeros(count - 1), np.inf
    for _ in range(30):
        solution = np.linalg.solve(
            np.column_stack([points[:, None] ** _POWERS, signs]), np.ones(count)
        )
        misfit = 1 - (grid[:, None] ** _POWERS) @ solution[:-1]
        error = max(float(np.max(np.abs(misfit))), abs(float(solution[-1])))
        if error >= worst:
            break
        coefficients, worst = solution[:-1], error
        parts = np.split(np.arange(len(grid)), np.flatnonzero(np.diff(np.sign(misfit))) + 1)
        if len(parts) != count:
            break  # down at round-off
        points = grid[[part[np.argmax(np.abs(misfit[part]))] for part in parts]]
        for _ in range(3):  # to the very extrema: the next interval begins at 1 less the error
            slope = (points[1:-1, None] ** (_POWERS - 1)) @ (_POWERS * coefficients)
            bend = (points[1:-1, None] ** (_POWERS[1:] - 2)) @ (
                _POWERS[1:] * (_POWERS[1:] - 1) * coefficients[1:]
            )
            points[1:-1] = np.clip(points[1:-1] - slope / bend, low, high)
    return coefficients, worst
