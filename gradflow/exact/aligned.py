r"""Deep linear flows whose singular vectors are those of the target, at any depth."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gradflow.exact._record import (
    TOLERANCE,
    MatrixStart,
    Times,
    balanced_matrix_start,
    factors_of,
    full_target,
    record_times,
    shared_frames,
    trajectory,
)
from gradflow.exact._rounding import first_apart, kept_values, told_of_rounding, without_rounded
from gradflow.exact.singular_value import value_and_gap
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.observables import Observe
from gradflow.trajectory import Trajectory


def aligned_flow(
    objective: Objective, start: MatrixStart, times: Times, *, observe: Observe | None = None
) -> Trajectory:
    r"""The flow of a fully observed matrix from an aligned balanced start, in closed form.

    The loss is c ||W - M||_F^2 (all entries observed), or c ||X W - Y||^2 with X^T X = kappa I, for
    which M = X^T Y / kappa. If W_0 = U S V^T and M = U D V^T, each singular value moves by itself,

        d sigma_r/dt = N sigma_r^(2-2/N) 2 c kappa (D_rr - sigma_r),

    which `singular_value_flow` solves; D_rr may have any sign. At depth 1 any start will do.

    Args:
      objective: such a problem, with a `MatrixProduct` and no penalty.
      start: balanced factors, or a matrix W_0, which stands for balanced factors of it; multiples
        of the identity are aligned with every symmetric M.
      times: rising times from 0 on; np.inf, last, for the limit. The start is always recorded.
      observe: as for `gradflow.solve_flow`.

    Returns:
      A `Trajectory` with the factors at both ends; loss, gradient norm and singular values are
      right to the last digits also where they have almost vanished. Its stats have the
      misalignment, how far the start is from U S V^T. The rank is the factors'; where rounding of a
      smaller W decides what is seen there is a warning, in stats too.

    Raises:
      ValueError: if entries are missing, inputs are not whitened, the start is not balanced or not
        aligned, there is a penalty, or times do not rise from 0 on.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> target = np.array([[2.0, 1.0], [1.0, 2.0]])
      >>> problem = gf.MatrixCompletion((2, 2), list(np.ndindex(2, 2)), target.ravel())
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth=3))
      >>> run = aligned_flow(
      ...     objective, gf.factorizations.identity_factors((2,) * 4, 1e-3), [0.0, 5.0, np.inf]
      ... )
      >>> run["singular_values"].round(4).tolist()
      [[0.001, 0.001], [3.0, 0.0079], [3.0, 1.0]]

    References:
      Saxe et al. 2014; arora2019, Theorem 3.
    """
    factors = balanced_matrix_start(objective, start)
    problem = objective.problem
    target, rate = full_target(problem)
    grid = record_times(times)
    solve = _of_matrix if len(factors) == 1 else _of_singular_values
    w = np.asarray(objective.product(factors))
    solved = solve(factors, w, target, grid, rate)
    unfitted = float(problem.loss(jnp.asarray(target)))
    return trajectory(
        "aligned",
        problem,
        len(factors),
        grid,
        solved.products,
        known={"loss": solved.excess + unfitted, **solved.known},
        initial={f"W_{k}": f for k, f in enumerate(factors, start=1)},
        final=solved.final,
        observe=observe,
        stats={"misalignment": solved.misalignment, **told_of_rounding(grid, solved.rounded)},
    )


class _Solved(NamedTuple):
    """The solution at the times of a grid.

    Attributes:
      products: W.
      excess: the loss above that of M.
      known: other observables.
      final: the factors at the end.
      misalignment: of W_0 and M.
      rounded: the first time at which rounding of W_0 is seen; None for none.
    """

    products: np.ndarray
    excess: np.ndarray
    known: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    misalignment: float
    rounded: float | None


def _of_matrix(
    factors: Factors, w: np.ndarray, target: np.ndarray, grid: np.ndarray, rate: float
) -> _Solved:
    """Depth 1: W goes straight to M."""
    del factors
    left = np.exp(-rate * grid)
    distance = np.linalg.norm(w - target)
    products = w - np.expm1(-rate * grid)[:, None, None] * (target - w)
    excess = rate / 2 * (distance * left) ** 2
    known = {"gradient_norm": rate * distance * left}
    return _Solved(products, excess, known, {"W_1": products[-1]}, 0.0, None)


def _of_singular_values(
    factors: Factors, w: np.ndarray, target: np.ndarray, grid: np.ndarray, rate: float
) -> _Solved:
    """From depth 2 on: each singular value by itself.

    Raises:
      ValueError: if W_0 and M do not have the same singular vectors.
    """
    depth, frames = len(factors), shared_frames((w, target))
    if frames.error > TOLERANCE:
        raise ValueError(
            f"The start is not aligned with the target (off by {frames.error:.3g} of its norm):"
            " both must have the same singular vectors. Start from U diag(s) V^T with the "
            "target's U and V, or use gradflow.solve_flow."
        )
    begin, ends = kept_values(frames.values[0], factors), frames.values[1]
    s, gap = value_and_gap(grid[:, None], begin, ends, depth, rate)
    other = value_and_gap(grid[:, None], without_rounded(begin), ends, depth, rate)[0]
    known = {
        "gradient_norm": rate * np.sqrt(depth * np.sum(s ** (2 - 2 / depth) * gap**2, axis=1)),
        "singular_values": -np.sort(-s, axis=1),
    }
    return _Solved(
        products=np.einsum("ir,tr,jr->tij", frames.u, s, frames.v),
        excess=rate / 2 * np.sum(gap**2, axis=1),
        known=known,
        final=factors_of(factors, frames._replace(values=np.stack([begin, ends])), s[-1]),
        misalignment=frames.error,
        rounded=first_apart(grid, s, other),
    )
