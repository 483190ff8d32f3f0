r"""The gradient flow of 2x2 factors in long fixed-point arithmetic, by Taylor series.

An independent witness where float64 gives up: nothing here knows of product matrices' flows or of
determinants. The right side is a polynomial, so the series' coefficients follow from Cauchy
products; numbers are Python integers scaled by 2^BITS.
"""

from typing import NamedTuple

import mpmath
import numpy as np

from gradflow.claims.oracles.high_precision import Matrix, Real, balanced_factors, precise
from gradflow.problems import MatrixCompletion

BITS = 220
ORDER = 40


class Witness(NamedTuple):
    """The end of a run.

    Attributes:
      product: the product matrix, in mpmath numbers of BITS bits.
      det: its determinant.
      loss: the half-sum loss.
      time: when.
      steps: Taylor steps taken.
    """

    product: Matrix
    det: Real
    loss: Real
    time: Real
    steps: int


def follow(
    problem: MatrixCompletion, w: np.ndarray, depth: int, stop_loss: float, tail: int = 120
) -> Witness:
    """Integrate dW_j/dt = -d loss/dW_j from balanced factors until the loss is at most `stop_loss`.

    The factors are made in long arithmetic: those of float64 are balanced to 1e-17 only, and the
    true flow from them changes the determinant's sign.

    Args:
      problem: a completion problem with the half-sum loss.
      w: the 2x2 product to start from, taken as the exact numbers that it holds.
      depth: N.
      stop_loss: where to stop; the last step ends below it.
      tail: the series is cut where its last terms are below 2^-tail.

    Returns:
      The state at the end.
    """
    with mpmath.workprec(BITS + 40):
        factors = balanced_factors(precise(w), depth)
    return follow_factors(problem, factors, stop_loss, tail)


def follow_factors(
    problem: MatrixCompletion, factors: list[Matrix], stop_loss: float, tail: int
) -> Witness:
    """The same from any 2x2 factors W_1, ..., W_N, balanced or not.

    Args:
      problem: 2x2 completion.
      factors: where to start.
      stop_loss: as for `follow`.
      tail: as for `follow`.
    """
    one = 1 << BITS
    mask = np.asarray(problem.mask).astype(int).astype(object)
    target = _scaled(precise(problem.target))
    with mpmath.workprec(BITS + 40):
        now = [_scaled(factor) for factor in factors]
    time, steps, step = 0, 0, one >> 4
    while True:
        loss = sum(int(x) ** 2 for x in (mask * (_chain(now) - target)).ravel())
        if loss <= 2 * stop_loss * one * one:
            break
        series = _series(now, mask, target, step)
        last = max(abs(int(x)) for f in series for x in f[ORDER].ravel())
        # Terms fall like (step / radius)^k: choose the step for the last to be 2^-tail.
        wanted = step * 2.0 ** ((BITS - tail - last.bit_length()) / ORDER)
        if last.bit_length() > BITS - tail + 4:
            step = int(min(wanted, step / 1.5))
            continue
        now = [np.sum(f, axis=0) for f in series]
        time, steps = time + step, steps + 1
        step = int(min(0.95 * wanted, 1.5 * step))
    with mpmath.workprec(BITS):
        w = mpmath.matrix([[mpmath.mpf(int(x)) / one for x in row] for row in _chain(now)])
        return Witness(
            w, mpmath.det(w), mpmath.mpf(loss) / (2 * one * one), mpmath.mpf(time) / one, steps
        )


def _scaled(w: Matrix) -> np.ndarray:
    """Numbers as integers times 2^BITS."""
    rows = [[int(mpmath.ldexp(w[i, j], BITS)) for j in (0, 1)] for i in (0, 1)]
    return np.array(rows, dtype=object)


def _chain(factors: list[np.ndarray]) -> np.ndarray:
    result = factors[0]
    for factor in factors[1:]:
        result = np.matmul(factor, result) >> BITS
    return result


def _series(
    factors: list[np.ndarray], mask: np.ndarray, target: np.ndarray, step: int
) -> list[np.ndarray]:
    """Taylor terms c_0, ..., c_ORDER of every factor, each term already times step^k."""
    depth = len(factors)
    terms = [np.zeros((ORDER + 1, 2, 2), dtype=object) for _ in range(depth)]
    for series, factor in zip(terms, factors, strict=True):
        series[0] = factor
    # below[j] = W_j ... W_1 and pulled[j] = (W_N ... W_{j+1})^T residual, as series.
    below = [terms[0], *(np.zeros_like(terms[0]) for _ in range(depth - 1))]
    pulled = [np.zeros_like(terms[0]) for _ in range(depth)]
    for k in range(ORDER):
        for j in range(1, depth):
            below[j][k] = _cauchy(terms[j], below[j - 1], k)
        residual = below[-1][k] - target if k == 0 else below[-1][k]
        pulled[-1][k] = mask * residual
        for j in range(depth - 2, -1, -1):
            pulled[j][k] = _cauchy(terms[j + 1].transpose(0, 2, 1), pulled[j + 1], k)
        for j in range(depth):
            slope = pulled[j][k]
            if j > 0:
                slope = _cauchy(pulled[j], below[j - 1].transpose(0, 2, 1), k)
            terms[j][k + 1] = -((slope * step) >> BITS) // (k + 1)
    return terms


def _cauchy(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """The k-th term of the product of two matrix series."""
    return np.sum(np.matmul(a[: k + 1], b[k::-1]), axis=0) >> BITS
