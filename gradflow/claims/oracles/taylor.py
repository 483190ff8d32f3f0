r"""The gradient flow of matrix factors in long fixed-point arithmetic, by Taylor series.

An independent witness where float64 gives up: nothing here knows of product matrices' flows or of
determinants. The right side is a polynomial, so the series' coefficients follow from Cauchy
products; numbers are Python integers scaled by a power of two.
"""

from fractions import Fraction
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
      product: the product matrix, in mpmath numbers.
      det: its determinant; NaN if it is not square.
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
    problem: MatrixCompletion,
    w: np.ndarray | Matrix,
    depth: int,
    stop_loss: float | None = None,
    tail: int = 120,
    *,
    stop_time: float | None = None,
    bits: int = BITS,
) -> Witness:
    """Integrate dW_j/dt = -d loss/dW_j from balanced factors until a loss or a time.

    The factors are made in long arithmetic: those of float64 are balanced to 1e-17 only, and the
    true flow from them changes the determinant's sign.

    Args:
      problem: a completion problem with the half-sum loss.
      w: the product to start from, taken as the exact numbers that it holds.
      depth: N.
      stop_loss: where to stop; the last step ends below it.
      tail: the series is cut where its last terms are below 2^-tail, or that share of the largest
        entry if all are below 1.
      stop_time: where to stop at the latest; the last step ends there.
      bits: after the point; tiny starts and determinants need more.

    Returns:
      The state at the end.
    """
    with mpmath.workprec(bits + 40):
        exact = w if isinstance(w, mpmath.matrix) else precise(w)
        factors = balanced_factors(exact, depth)
    return follow_factors(problem, factors, stop_loss, tail, stop_time=stop_time, bits=bits)


def follow_factors(
    problem: MatrixCompletion,
    factors: list[Matrix],
    stop_loss: float | None,
    tail: int,
    *,
    stop_time: float | None = None,
    bits: int = BITS,
) -> Witness:
    """The same from any factors W_1, ..., W_N, balanced or not.

    Args:
      problem: matrix completion with the half-sum loss.
      factors: where to start.
      stop_loss: as for `follow`.
      tail: as for `follow`.
      stop_time: as for `follow`.
      bits: as for `follow`.
    """
    one = 1 << bits
    mask = np.asarray(problem.mask).astype(int).astype(object)
    target = _scaled(precise(problem.target), bits)
    floor = -1 if stop_loss is None else int(2 * Fraction(stop_loss) * one * one)
    last_time = None if stop_time is None else int(Fraction(stop_time) * one)
    with mpmath.workprec(bits + 40):
        now = [_scaled(factor, bits) for factor in factors]
    time, steps, step = 0, 0, one >> 4
    while True:
        loss = sum(int(x) ** 2 for x in (mask * (_chain(now, bits) - target)).ravel())
        if loss <= floor or time == last_time:
            break
        if last_time is not None:
            step = min(step, last_time - time)
        series = _series(now, mask, target, step, bits)
        last = max(abs(int(x)) for f in series for x in f[ORDER].ravel())
        # Terms fall like (step / radius)^k: choose the step for the last to be 2^-tail.
        size = max(abs(int(x)) for f in now for x in f.ravel()).bit_length()
        aim = min(size, bits) - tail
        growth = Fraction(min(2.0 ** ((aim - last.bit_length()) / ORDER), 2.0))
        if last.bit_length() > aim + 4:
            step = int(step * min(growth, Fraction(2, 3)))
            continue
        now = [np.sum(f, axis=0) for f in series]
        time, steps = time + step, steps + 1
        step = int(step * min(growth * Fraction(19, 20), Fraction(3, 2)))
    with mpmath.workprec(bits):
        w = mpmath.matrix([[mpmath.mpf(int(x)) / one for x in row] for row in _chain(now, bits)])
        det = mpmath.det(w) if w.rows == w.cols else mpmath.nan
        return Witness(w, det, mpmath.mpf(loss) / (2 * one * one), mpmath.mpf(time) / one, steps)


def _scaled(w: Matrix, bits: int) -> np.ndarray:
    """Numbers as integers times 2^bits."""
    return np.array(
        [[int(mpmath.ldexp(w[i, j], bits)) for j in range(w.cols)] for i in range(w.rows)],
        dtype=object,
    )


def _chain(factors: list[np.ndarray], bits: int) -> np.ndarray:
    result = factors[0]
    for factor in factors[1:]:
        result = np.matmul(factor, result) >> bits
    return result


def _series(
    factors: list[np.ndarray], mask: np.ndarray, target: np.ndarray, step: int, bits: int
) -> list[np.ndarray]:
    """Taylor terms c_0, ..., c_ORDER of every factor, each term already times step^k."""
    depth = len(factors)
    terms = [np.zeros((ORDER + 1, *factor.shape), dtype=object) for factor in factors]
    for series, factor in zip(terms, factors, strict=True):
        series[0] = factor
    # below[j] = W_j ... W_1 and pulled[j] = (W_N ... W_{j+1})^T residual, as series.
    columns = target.shape[1]
    below = [terms[0], *(_nothing(factor.shape[0], columns) for factor in factors[1:])]
    pulled = [_nothing(factor.shape[0], columns) for factor in factors]
    for k in range(ORDER):
        for j in range(1, depth):
            below[j][k] = _cauchy(terms[j], below[j - 1], k, bits)
        residual = below[-1][k] - target if k == 0 else below[-1][k]
        pulled[-1][k] = mask * residual
        for j in range(depth - 2, -1, -1):
            pulled[j][k] = _cauchy(terms[j + 1].transpose(0, 2, 1), pulled[j + 1], k, bits)
        for j in range(depth):
            slope = pulled[j][k]
            if j > 0:
                slope = _cauchy(pulled[j], below[j - 1].transpose(0, 2, 1), k, bits)
            terms[j][k + 1] = -((slope * step) >> bits) // (k + 1)
    return terms


def _nothing(rows: int, columns: int) -> np.ndarray:
    return np.zeros((ORDER + 1, rows, columns), dtype=object)


def _cauchy(a: np.ndarray, b: np.ndarray, k: int, bits: int) -> np.ndarray:
    """The k-th term of the product of two matrix series."""
    return np.sum(np.matmul(a[: k + 1], b[k::-1]), axis=0) >> bits
