r"""The flow of linear regression, from any start and for any design matrix."""

import numpy as np
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array, require_float64
from gradflow.exact._record import record_times, trajectory
from gradflow.observables import Observe
from gradflow.problems.regression import LeastSquares
from gradflow.trajectory import Trajectory


def least_squares_flow(
    problem: Checked[LeastSquares],
    start: Checked[ArrayLike],
    times: Checked[ArrayLike],
    *,
    observe: Observe | None = None,
) -> Trajectory:
    r"""The flow of least squares at depth 1, in closed form.

    With X = U S V^T, the singular values s_i above round-off, and the loss c ||X W - Y||^2,

        v_i^T W(t) = v_i^T W_0 + (1 - exp(-2 c s_i^2 t)) (u_i^T Y / s_i - v_i^T W_0),

    while the part of W_0 in the kernel of X stays: the limit is the solution nearest to W_0, and
    that of least norm only if W_0 has no such part.

    Args:
      problem: X, Y and the loss convention; Y a vector or a matrix, X of any rank.
      start: W_0, of the shape of the problem.
      times: rising times from 0 on; np.inf, last, for the limit. The start is always recorded.
      observe: as for `gradflow.solve_flow`.

    Returns:
      A `Trajectory`; loss and gradient norm are right to the last digits also where they have
      almost vanished. Its stats have the rank of X.

    Raises:
      ValueError: if the problem is no `LeastSquares`, or on a wrong shape, float32, or times that
        do not rise from 0 on.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> problem = gf.LeastSquares([[1.0, 1.0]], [2.0])
      >>> run = least_squares_flow(problem, np.array([1.0, 0.0]), [1.0, np.inf])
      >>> run.final["W_1"].round(12).tolist()
      [1.5, 0.5]

    References:
      wang2024, Equation (6) and Section 3, with the term of the start that they leave out.
    """
    if not isinstance(problem, LeastSquares):
        raise ValueError(
            f"The closed form is for gradflow.LeastSquares, not a {type(problem).__name__}; "
            "see the other functions of gradflow.exact."
        )
    w = finite_array("start", start)
    if w.shape != problem.shape:
        raise ValueError(f"start has shape {w.shape}, but the problem has shape {problem.shape}.")
    require_float64("A closed form", problem=problem, start=w)
    grid = record_times(times)
    x, y = np.asarray(problem.inputs), np.asarray(problem.targets)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = s > s[0] * max(x.shape) * np.finfo(float).eps
    u, s, vt = u[:, kept], s[kept], vt[kept]
    s_column = s.reshape(len(s), *[1] * (w.ndim - 1))
    gap = u.T @ y / s_column - vt @ w
    with np.errstate(over="ignore"):
        clock = 2 * problem.weight * (np.outer(grid, s) * s)  # s^2 alone may be 0 or infinite
    moved, left = -np.expm1(-clock), np.exp(-clock)
    products = w + np.einsum("tr,r...,rj->tj...", moved, gap, vt)
    unfitted = np.sum((y - u @ (u.T @ y)) ** 2)
    misfit = np.sqrt(np.sum((s_column * gap) ** 2, axis=tuple(range(1, w.ndim))))
    loss = problem.weight * (np.sum((left * misfit) ** 2, axis=1) + unfitted)
    slopes = np.hypot.reduce(2 * problem.weight * (left * misfit) * s, axis=1)
    return trajectory(
        "least squares",
        problem,
        1,
        grid,
        products,
        known={"loss": loss, "gradient_norm": slopes},
        initial={"W_1": w},
        final={"W_1": products[-1]},
        observe=observe,
        stats={"rank": len(s)},
    )
