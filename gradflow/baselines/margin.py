r"""The largest margin of a linear classifier, among W of norm 1: small convex programs.

A datum and a class that is not its own give a matrix A, (e_own - e_other) x^T, and the margin is
the least <A, W>. With weights p over these pairs

    max_{||W|| <= 1} min <A, W>  =  min_p ||sum p A||_*,

in the dual norm: any weights bound every margin from above.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from gradflow._util.annotations import Checked
from gradflow.baselines.semidefinite import minimum_trace
from gradflow.problems.classification import Classification
from gradflow.problems.sensing import MatrixSensing

MarginNorm = Literal["max", "frobenius", "spectral"]
_NONE = 1e-7
"""A bound below this share of the largest ||A|| is none: the data are not separated."""


class LargestMargin(NamedTuple):
    """How large a margin can be.

    Attributes:
      value: no W of norm 1 has a larger margin: the dual norm of the weighted sum, as it is.
      gap: by what share of it the largest margin may be smaller, by a classifier or its dual.
      weights: p, of every datum and class; 0 at a datum's own. Those above 0 belong to pairs that
        the margin hangs on.
    """

    value: float
    gap: float
    weights: Float[np.ndarray, "n classes"]


def largest_margin(problem: Checked[Classification], norm: Checked[MarginNorm]) -> LargestMargin:
    r"""The largest margin min_i min_{c != y_i} (W x_i)_{y_i} - (W x_i)_c among W of norm 1.

    In the largest entry by linear programming, in the Frobenius norm by non-negative least squares,
    in the spectral norm as a least trace (`minimum_trace`), for n (classes - 1) up to some hundred.

    Args:
      problem: data and labels.
      norm: "max", the largest absolute entry; "frobenius"; or "spectral", the largest singular
        value.

    Returns:
      The margin, as a bound that holds whatever the programs did, and how near it is.

    Raises:
      ValueError: on another problem or norm, or if no W separates the data.

    Example:
      >>> problem = Classification([[3.0, 4.0], [-3.0, -4.0]], [0, 1])
      >>> [round(largest_margin(problem, norm).value, 6) for norm in ("max", "frobenius")]
      [14.0, 7.071068]

    References:
      fan2025 (Fan, Schmidt and Thrampoulidis, arXiv 2502.04664).
    """
    if not isinstance(problem, Classification):
        raise ValueError(
            "largest_margin takes a gradflow.problems.Classification, but the problem is a "
            f"{type(problem).__name__}; build one."
        )
    if norm not in get_args(MarginNorm):
        raise ValueError(f"norm must be one of {', '.join(get_args(MarginNorm))}, not {norm!r}.")
    x, labels = np.asarray(problem.inputs, float), np.asarray(problem.labels)
    others = labels[:, None] != np.arange(problem.classes)
    datum, other = np.nonzero(others)
    signs = np.eye(problem.classes)[labels[datum]] - np.eye(problem.classes)[other]
    unit = float(np.max(np.abs(x))) or 1.0  # whose square has a size
    pairs = signs[:, :, None] * (x / unit)[datum][:, None, :]
    size = float(np.max(np.linalg.norm(pairs, axis=(1, 2)), initial=0.0))
    weights, least = {"max": _max, "frobenius": _frobenius, "spectral": _spectral}[norm](
        pairs / (size or 1.0)
    )
    value = dual_norm(np.tensordot(weights, pairs, 1), norm)
    if not value > _NONE * size:
        raise ValueError(
            "No W separates the data: a weighted mean of the differences between classes is 0, or "
            f"below {_NONE:.0e} of the largest. Leave data out, or give inputs more entries."
        )
    placed = np.zeros(others.shape)
    placed[datum, other] = weights
    return LargestMargin(unit * value, max(1 - least * size / value, 0.0), placed)


def dual_norm(w: Float[np.ndarray, "classes d"], norm: MarginNorm) -> float:
    """The sum of absolute entries, the Frobenius norm, or the nuclear norm."""
    if norm == "max":
        return float(np.sum(np.abs(w)))
    return float(np.linalg.norm(w, "fro" if norm == "frobenius" else "nuc"))


Pairs = Float[np.ndarray, "m classes d"]
Weighted = tuple[Float[np.ndarray, " m"], float]
"""Weights, at least 0 and of sum 1, and a margin that is had, or bounds the optimum from below."""


def _max(pairs: Pairs) -> Weighted:
    """The largest t with <A, W> >= t for all pairs and entries of W between -1 and 1."""
    from scipy.optimize import linprog  # half a second to import

    flat = pairs.reshape(len(pairs), -1)
    cost = np.append(np.zeros(flat.shape[1]), -1.0)
    rows = np.hstack([-flat, np.ones((len(flat), 1))])
    bounds = [(-1, 1)] * flat.shape[1] + [(None, None)]
    found = linprog(cost, A_ub=rows, b_ub=np.zeros(len(flat)), bounds=bounds)
    if found.status != 0:
        raise ValueError(f"The linear program was not solved ({found.message}); scale the inputs.")
    return _simplex(-found.ineqlin.marginals), float(np.min(flat @ found.x[:-1]))


def _frobenius(pairs: Pairs) -> Weighted:
    """The point of the pairs' convex hull that is nearest to 0; W is its direction."""
    from scipy.optimize import nnls

    flat = pairs.reshape(len(pairs), -1)
    # ||A^T u||^2 + (sum u - 1)^2 is s^2 ||A^T p||^2 + (s - 1)^2 at u = s p: least at the least p.
    system = np.vstack([flat.T, np.ones(len(flat))])
    weights = _simplex(nnls(system, np.append(np.zeros(flat.shape[1]), 1.0))[0])
    mean = weights @ flat
    length = float(np.linalg.norm(mean))
    return weights, float(np.min(flat @ mean)) / length if length else 0.0


def _spectral(pairs: Pairs) -> Weighted:
    """The least nuclear norm of sum p A: half the least trace of [[P, M], [M^T, Q]]."""
    count, rows, columns = pairs.shape
    both = rows + columns
    conditions = np.zeros((rows * columns + 1, both + count, both + count))
    along = both + np.arange(count)
    for k, (i, j) in enumerate(np.ndindex(rows, columns)):  # M_ij is the weighted sum
        conditions[k, i, rows + j] = 1.0
        conditions[k, along, along] = -pairs[:, i, j]
    conditions[-1, along, along] = 1.0
    labels = np.append(np.zeros(rows * columns), 1.0)
    found = minimum_trace(MatrixSensing(conditions, labels), rtol=1e-9)
    trace = float(np.trace(found.product))
    weights = _simplex(np.diagonal(np.asarray(found.product))[along])
    return weights, (trace * (1 - found.optimality) - 1) / 2


def _simplex(weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Without what rounding puts below 0, and of sum 1."""
    kept = np.maximum(weights, 0.0)
    return kept / (np.sum(kept) or 1.0)
