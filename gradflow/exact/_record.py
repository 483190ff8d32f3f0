"""What the closed forms share: their starts, times and singular frames; and their trajectories."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.provenance import fingerprint, provenance
from gradflow._util.validate import require_float64
from gradflow.coordinates.product import ProductCoordinates
from gradflow.factorizations.balance import relative_unbalancedness
from gradflow.factorizations.base import Factors
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.spectrum import effective_rank_of
from gradflow.objective import Objective
from gradflow.observables import Observable, Observe, default_observables, resolve
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import MatrixCompletion
from gradflow.problems.regression import LeastSquares
from gradflow.start import as_factors
from gradflow.state import State
from gradflow.trajectory import Outcome, Trajectory, named_observables

TOLERANCE = 1e-10
"""How far, relative to its norm, a matrix may be from what a closed form needs it to be."""


Times = Checked[ArrayLike]
MatrixStart = Checked[Factors | ArrayLike]
"""The factors, or the matrix W."""


def record_times(times: Any, first: float = 0.0) -> Float[np.ndarray, " records"]:
    """Check recording times and put the first before them.

    Args:
      times: rising numbers from `first` on; the last may be infinite, which asks for the limit.
      first: where the solution starts.

    Raises:
      ValueError: if they are not.
    """
    try:
        grid = np.asarray(times, float)
    except (TypeError, ValueError):
        grid = np.zeros(0)
    rising = grid.ndim == 1 and grid.size > 0 and bool(np.all(grid[1:] > grid[:-1]))
    if not rising or not grid[0] >= first:
        raise ValueError(
            f"times must be rising numbers from {first:g} on (np.inf, last, for the limit), but "
            f"they are {grid.ravel()[:5].tolist() if grid.size else times!r}."
        )
    return np.concatenate([[first], grid[grid > first]])


def matrix_start(objective: Objective, start: MatrixStart) -> Factors:
    """The factors of a start, checked: a matrix product, no penalty, float64.

    Raises:
      ValueError: if it is not; it names what is wrong and the remedy.
    """
    if not isinstance(objective.factorization, MatrixProduct):
        raise ValueError(
            f"The closed form is for a MatrixProduct, not a "
            f"{type(objective.factorization).__name__}; use gradflow.solve_flow."
        )
    if objective.penalty is not None:
        raise ValueError(
            f"The closed form has no penalty, but the objective has a "
            f"{type(objective.penalty).__name__}; use gradflow.solve_flow."
        )
    factors = as_factors(objective, start)
    require_float64("A closed form", problem=objective.problem, start=factors)
    return factors


def balanced_matrix_start(objective: Objective, start: MatrixStart) -> Factors:
    """The factors of a start, checked as by `matrix_start`, and balanced.

    Raises:
      ValueError: if it is not; it names what is wrong and the remedy.
    """
    factors = matrix_start(objective, start)
    found = float(relative_unbalancedness(factors))
    if found > TOLERANCE:
        raise ValueError(
            f"The factors are not balanced (relative unbalancedness {found:.3g}); start from "
            "gradflow.factorizations.balanced_factors(W, sizes), or use gradflow.solve_flow."
        )
    return factors


def full_target(problem: AbstractProblem) -> tuple[np.ndarray, float]:
    """M and 2 c kappa of a loss that is c kappa ||W - M||^2 up to a constant.

    Raises:
      ValueError: if entries are missing, or inputs are not whitened.
    """
    if isinstance(problem, MatrixCompletion):
        missing = int(np.sum(np.asarray(problem.mask) == 0))
        if missing:
            raise ValueError(
                f"The closed form needs all entries observed, but {missing} of "
                f"{np.asarray(problem.mask).size} are not; use gradflow.solve_flow."
            )
        return np.asarray(problem.target), 2 * problem.weight
    if isinstance(problem, LeastSquares):
        x = np.asarray(problem.inputs)
        gram = x.T @ x
        kappa = float(np.mean(np.diag(gram)))
        off = float(np.max(np.abs(gram - kappa * np.eye(len(gram)))))
        if not off <= TOLERANCE * kappa or kappa == 0:
            raise ValueError(
                f"The closed form needs whitened inputs, X^T X = kappa I, but X^T X is off by "
                f"{off:.3g}; whiten X, or use gradflow.exact.least_squares_flow at depth 1."
            )
        return x.T @ np.asarray(problem.targets) / kappa, 2 * problem.weight * kappa
    raise ValueError(
        f"The closed form is for MatrixCompletion with all entries or whitened LeastSquares, not "
        f"{type(problem).__name__}; use gradflow.solve_flow."
    )


class Frames(NamedTuple):
    """Singular vectors that several matrices share: each is U diag(row of values) V^T.

    Attributes:
      u: (m, k) with k = min(m, n).
      v: (n, k).
      values: (matrices, k); those of the first matrix are not negative.
      error: the largest distance of a matrix from that form, relative to its norm.
    """

    u: np.ndarray
    v: np.ndarray
    values: np.ndarray
    error: float


def shared_frames(matrices: Sequence[np.ndarray]) -> Frames:
    """Singular vectors that all matrices share, if there are such; else `error` says so.

    They are those of a sum with irrational weights, in which distinct sets of values do not meet.

    Args:
      matrices: of one shape.
    """
    norms = [np.linalg.norm(a) or 1.0 for a in matrices]
    golden = (np.sqrt(5) - 1) / 2
    weights = golden ** np.arange(len(matrices)) / norms
    mixed = np.einsum("k,kij->ij", weights, np.array(matrices))
    u, _, vt = np.linalg.svd(mixed, full_matrices=False)
    v = vt.T * np.where(np.einsum("ir,ij,jr->r", u, matrices[0], vt.T) < 0, -1.0, 1.0)
    values = np.array([np.einsum("ir,ij,jr->r", u, a, v) for a in matrices])
    gaps = [
        np.linalg.norm(a - (u * row) @ v.T) / size
        for a, row, size in zip(matrices, values, norms, strict=True)
    ]
    return Frames(u, v, values, float(max(gaps)))


def factors_of(factors: Factors, frames: Frames, values: np.ndarray) -> dict[str, np.ndarray]:
    r"""The factors by name once the singular values are others.

    A balanced flow whose singular vectors stand still keeps the frames of all its factors: W_j =
    Q_j S^(1/N) Q_{j-1}^T with Q_0 = V, and W_j Q_{j-1} = Q_j S^(1/N) gives the next frame.

    Args:
      factors: the start.
      frames: of its product.
      values: (k,) the singular values wanted, 0 where the start's are.
    """
    depth = len(factors)
    if depth == 1:
        return {"W_1": (frames.u * values) @ frames.v.T}
    first = frames.values[0] ** (1 / depth)
    alive = first > 0
    inverse = np.where(alive, 1 / np.where(alive, first, 1.0), 0.0)
    root, frame, found = values ** (1 / depth), frames.v, {}
    for k, factor in enumerate(factors, start=1):
        after = np.asarray(factor) @ frame * inverse
        found[f"W_{k}"] = (after * root) @ frame.T
        frame = after
    return found


_effective_ranks = jax.jit(jax.vmap(effective_rank_of))


@eqx.filter_jit
def _observed(
    coordinates: ProductCoordinates, pairs: tuple[tuple[str, Observable], ...], products: Array
) -> dict[str, Any]:
    """Observables of all products."""
    return jax.vmap(lambda w: {name: of(State(coordinates, w)) for name, of in pairs})(products)


def trajectory(
    solution: str,
    problem: AbstractProblem,
    depth: int,
    times: Float[np.ndarray, " records"],
    products: Float[np.ndarray, "records *shape"],
    *,
    known: Mapping[str, np.ndarray],
    initial: Mapping[str, Any],
    final: Mapping[str, Any],
    observe: Observe | None = None,
    stats: Mapping[str, Any],
) -> Trajectory:
    """A closed form's trajectory.

    Args:
      solution: what the closed form is called.
      problem: what is fitted.
      depth: N.
      times: of the records.
      products: W at these times.
      known: observables that the closed form gives more accurately than the products do.
      initial: the first parameters by name.
      final: the last ones.
      observe: as for `gradflow.solve_flow`; from `known` where it can be, else from the products.
      stats: numbers for the trajectory's stats.

    Raises:
      ValueError: if an observable is unknown or needs factors, which a product does not carry.
    """
    pairs = resolve(default_observables(problem) if observe is None else observe)
    known = dict(known)
    if "singular_values" in known:
        known["effective_rank"] = np.asarray(_effective_ranks(known["singular_values"]))
    asked = not isinstance(observe, Mapping)
    ready = {name: known[name] for name, _ in pairs if asked and name in known}
    rest = tuple(pair for pair in pairs if pair[0] not in ready)
    recorded = (
        _observed(ProductCoordinates(problem, depth), rest, jnp.asarray(products)) if rest else {}
    )
    return Trajectory(
        times=times,
        observables=named_observables([name for name, _ in pairs], recorded | ready),
        initial=initial,
        final=final,
        outcome=Outcome.REACHED_HORIZON,
        stats={"end": times[-1], **stats},
        config={
            "kind": "closed form",
            "solution": solution,
            "depth": depth,
            "problem": type(problem).__name__,
            "shape": problem.shape,
            **problem.details(),
            "data_sha256": fingerprint(problem),
            "observe": [name for name, _ in pairs],
            **provenance(),
        },
    )
