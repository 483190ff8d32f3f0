"""What may be conjectured of a limit, as margins: 0 or above where it holds.

Own ones are functions of a `Reached`, such as `lambda reached: reached.product.min()`.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import whole
from gradflow.baselines import minimum_nuclear_norm, minimum_trace
from gradflow.conjectures.limits import Reached, Undetermined
from gradflow.exact.potential import minimum_l1_norm
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.regression import LeastSquares
from gradflow.problems.sensing import MatrixSensing

_DENOMINATORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 60, 120)


class Margin(NamedTuple):
    """By how much a claim about a limit holds.

    Attributes:
      value: relative to the sizes of what is compared; below 0 it is violated.
      error: what the value may be off, beyond the error of the limit.
      witness: what shows the violation, in words.
    """

    value: float
    error: float = 0.0
    witness: str = ""


MarginFunction = Callable[[Reached], "Margin | float | None"]
"""None: the conjecture does not speak of this limit, as where it does not fit the data."""


def least_trace(reached: Reached) -> Margin | None:
    """The limit has the least trace, so nuclear norm, of positive semidefinite matrices that fit.

    Minus the relative excess. The witness is a better fit; of completion problems one of rational
    numbers, which were checked without rounding.
    """
    if not reached.fits:
        return None
    problem = _problem(reached, MatrixCompletion, MatrixSensing)
    try:
        least = minimum_trace(problem)
    except ValueError as error:
        raise Undetermined("has nothing to compare with: the least trace was not found") from error
    best, own = float(np.trace(least.product)), float(np.trace(reached.product))
    error = 2 * (least.optimality + least.misfit)
    excess = (own - best) / best
    if not excess > max(error, 1e-5):
        return Margin(-excess, error)
    return Margin(-excess, error, _better_trace(problem, best, own, np.asarray(least.product)))


def least_nuclear_norm(reached: Reached) -> Margin | None:
    """The limit has the least nuclear norm of all matrices that fit; minus the relative excess."""
    if not reached.fits:
        return None
    least = minimum_nuclear_norm(_problem(reached, MatrixCompletion, MatrixSensing))
    best, own = (float(np.linalg.norm(w, "nuc")) for w in (least.product, reached.product))
    witness = (
        f"{_shown(np.asarray(least.product))} fits and has nuclear norm {best:.6g}, not {own:.6g}"
    )
    return Margin((best - own) / best, least.optimality + least.misfit, witness)


def least_l1_norm(reached: Reached) -> Margin | None:
    """The limit has the least l1 norm of all vectors that fit; minus the relative excess."""
    if not reached.fits:
        return None
    least = minimum_l1_norm(_problem(reached, LeastSquares))
    own = float(np.sum(np.abs(reached.product)))
    witness = f"{_shown(least.beta)} fits and has l1 norm {least.value:.6g}, not {own:.6g}"
    return Margin((least.value - own) / least.value, least.gap + least.misfit, witness)


def determinant_sign_kept(reached: Reached) -> Margin:
    """The determinant of a square W has the sign that it had at the start."""
    w = _matrix(reached)
    if w.shape[0] != w.shape[1]:
        raise ValueError(f"A determinant is of a square W, not of one of shape {w.shape}.")
    start = np.asarray(reached.trial.objective.product(reached.trial.start))
    before, after = float(np.linalg.det(start)), float(np.linalg.det(w))
    size = float(np.linalg.norm(w)) ** len(w)
    witness = f"the determinant goes from {before:.6g} to {after:.6g}"
    return Margin(float(np.sign(before)) * after / (size or 1.0), 1e-12, witness)


def rank_at_most(rank: Checked[int]) -> MarginFunction:
    """The limit, where it fits, has at most this rank: minus its next singular value, relatively.

    Args:
      rank: at least 1.
    """
    most = whole("rank", rank)

    def margin(reached: Reached) -> Margin | None:
        if not reached.fits:
            return None
        values = np.linalg.svd(_matrix(reached), compute_uv=False)
        beyond = float(values[most] / values[0]) if len(values) > most else 0.0
        return Margin(-beyond, 1e-12, f"singular values {_shown(values)}")

    return margin


def _problem(reached: Reached, *kinds: type) -> Any:
    """What is fitted; refused where the margin does not know how to compare.

    Raises:
      ValueError: if it is of none of these kinds.
    """
    problem = reached.trial.objective.problem
    if not isinstance(problem, kinds):
        raise ValueError(
            f"This margin is of a {' or a '.join(kind.__name__ for kind in kinds)}, not of a "
            f"{type(problem).__name__}; write one of your own."
        )
    return problem


def _matrix(reached: Reached) -> np.ndarray:
    """W, refused where it is none.

    Raises:
      ValueError: if it is a vector or a tensor.
    """
    if reached.product.ndim != 2:
        raise ValueError(
            f"This margin is of a matrix, not of a W of shape {reached.product.shape}; write one "
            "of your own."
        )
    return reached.product


def _shown(x: np.ndarray) -> str:
    return str((np.round(x, 6) + 0.0).tolist())


def _better_trace(
    problem: MatrixCompletion | MatrixSensing,
    best: float,
    own: float,
    least: Float[np.ndarray, "n n"],
) -> str:
    """A semidefinite fit of smaller trace than `own`, exactly if one is found."""
    said = f"is positive semidefinite, fits and has trace {{}}, not {own:.6g}"
    for share in (0.02, 0.2, 0.5):  # inside the cone, for rounding not to leave it
        if not isinstance(problem, MatrixCompletion):
            break
        between = minimum_trace(problem, rtol=max(share * (own - best) / own, 1e-7))
        found = _rational(problem, np.asarray(between.product), Fraction(own * (1 - 1e-6)))
        if found is not None:
            rows = ", ".join(f"[{', '.join(map(str, row))}]" for row in found)
            return f"[{rows}] {said.format(sum(found[i][i] for i in range(len(found))))}"
    return f"{_shown(least)} {said.format(f'{best:.6g}')}"


def _rational(
    problem: MatrixCompletion, w: Float[np.ndarray, "n n"], below: Fraction
) -> list[list[Fraction]] | None:
    """A semidefinite matrix of small denominators near w that fits integers, of a trace below."""
    mask, target = np.asarray(problem.mask), np.asarray(problem.target)
    size = len(w)

    def entry(i: int, j: int, unit: int) -> Fraction:
        known = mask[i, j] != 0
        return Fraction(float(target[i, j])) if known else Fraction(round(w[i, j] * unit), unit)

    for unit in _DENOMINATORS:
        rounded = [[entry(i, j, unit) for j in range(size)] for i in range(size)]
        small = sum(rounded[i][i] for i in range(size)) < below
        if small and is_semidefinite(rounded):
            return rounded
    return None


def is_semidefinite(w: list[list[Fraction]]) -> bool:
    """Whether a symmetric matrix of rational numbers is positive semidefinite, exactly.

    Example:
      >>> is_semidefinite([[Fraction(1), Fraction(1)], [Fraction(1), Fraction(1)]])
      True
      >>> is_semidefinite([[Fraction(0), Fraction(1)], [Fraction(1), Fraction(2)]])
      False
    """
    left = [list(row) for row in w]
    size = len(left)
    if any(left[i][j] != left[j][i] for i in range(size) for j in range(i)):
        return False
    for k in range(size):
        pivot = left[k][k]
        if pivot < 0 or (pivot == 0 and any(left[k][k:])):
            return False
        for i in range(k + 1, size if pivot else 0):
            ratio = left[i][k] / pivot
            left[i] = [x - ratio * y for x, y in zip(left[i], left[k], strict=True)]
    return True
