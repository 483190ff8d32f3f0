r"""Diagonal networks of depth 2 where entries move by themselves, in closed form."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradflow._util.annotations import Checked
from gradflow.exact._diagonal_start import positive_start
from gradflow.exact._record import TOLERANCE, Times, record_times, trajectory
from gradflow.factorizations.base import Factors
from gradflow.objective import Objective
from gradflow.observables import Observe
from gradflow.problems.regression import LeastSquares
from gradflow.trajectory import Trajectory


def diagonal_flow(
    objective: Objective,
    start: Checked[Factors],
    times: Times,
    *,
    observe: Observe | None = None,
) -> Trajectory:
    r"""The flow of beta = w_+^2 - w_-^2 on least squares with orthogonal inputs, in closed form.

    With X^T X diagonal, r_i = 2 c (X^T X)_ii and m_i = (X^T y)_i / (X^T X)_ii, every entry moves by
    itself: p = w_+ w_- is conserved, and with the ratio E = w_+ / w_-

        beta = p (E - 1/E) = 2 p sinh(ln E),    dE/dt = 4 r (p + m E - p E^2),

    a Riccati equation, whose solution moves from E(0) to (m + (m^2 + 4 p^2)^(1/2)) / (2 p) at the
    rate 4 r (m^2 + 4 p^2)^(1/2). An entry with r_i = 0 stays.

    Args:
      objective: a `LeastSquares` of a vector whose inputs have orthogonal columns, with a
        `DiagonalNetwork` of depth 2 and no penalty.
      start: the parameters (w_+, w_-), all above 0.
      times: rising times from 0 on; np.inf, last, for the limit. The start is always recorded.
      observe: as for `gradflow.solve_flow`.

    Returns:
      A `Trajectory` with the parameters at both ends; loss and gradient norm are right to the last
      digits also where they have almost vanished.

    Raises:
      ValueError: on another problem or depth, columns that are not orthogonal, a parameter that is
        not above 0, a penalty, float32, or times that do not rise from 0 on.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> problem = gf.LeastSquares([[1.0, 0.0], [0.0, 2.0]], [1.0, -1.0])
      >>> objective = gf.Objective(problem, gf.DiagonalNetwork(2, 2))
      >>> run = diagonal_flow(objective, objective.factorization.identity(1e-20), [20.0, np.inf])
      >>> run["loss"].round(4).tolist()
      [1.0, 0.5, 0.0]

    References:
      Woodworth et al. 2020, Section 4; Pesme and Flammarion 2023 for the hyperbolic sine.
    """
    problem = objective.problem
    plus, minus = _parameters(objective, start)
    assert isinstance(problem, LeastSquares)
    grid = record_times(times)
    x, y = np.asarray(problem.inputs), np.asarray(problem.targets)
    squares = np.sum(x**2, axis=0)
    seen = squares > 0
    target = np.where(seen, x.T @ y / np.where(seen, squares, 1.0), 0.0)
    rate = 2 * problem.weight * squares
    sides, gap = _sides_and_gap(grid[:, None], plus, minus, target, rate)
    products = (sides[0] - sides[1]) * (sides[0] + sides[1])
    products = np.where(np.abs(gap) < 0.5 * np.abs(target), target - gap, products)
    slopes = 2 * rate * gap * np.hypot(*sides)
    unfitted = float(problem.loss(jnp.asarray(target)))
    return trajectory(
        "diagonal",
        problem,
        2,
        grid,
        products,
        known={
            "loss": gap**2 @ rate / 2 + unfitted,
            "gradient_norm": np.linalg.norm(slopes, axis=1),
        },
        initial={"W_1": plus, "W_2": minus},
        final={f"W_{k}": side[-1] for k, side in enumerate(sides, start=1)},
        observe=observe,
        stats={"rank": int(np.sum(seen))},
    )


def _sides_and_gap(
    t: Float[np.ndarray, "records 1"],
    plus: Float[np.ndarray, " size"],
    minus: Float[np.ndarray, " size"],
    target: Float[np.ndarray, " size"],
    rate: Float[np.ndarray, " size"],
) -> tuple[tuple[np.ndarray, np.ndarray], Float[np.ndarray, "records size"]]:
    r"""(w_+, w_-) and m - beta, of sums of positive numbers alone.

    The larger parameter at the end, of a at the start beside b, is w = (x / z)^(1/2) with

        x = e + b^2 (1 - h^2 a^2) + p^2 h^2 a^2 / e,    z = b^2 / e + 1 - h^2 a^2 + e h^2,

    e = (|m| + (m^2 + 4 p^2)^(1/2)) / 2 and h = exp(-2 r (m^2 + 4 p^2)^(1/2) t) / a. No start is so
    small that anything overflows.
    """
    large, other = np.where(target >= 0, (plus, minus), (minus, plus))
    scale = plus * minus
    root = np.hypot(target, 2 * scale)
    end = (np.abs(target) + root) / 2
    moving = (rate > 0) & (end > np.finfo(float).tiny)  # what is smaller stays
    end = np.where(moving, end, 1.0)
    with np.errstate(invalid="ignore"):
        clock = np.where(moving, 2 * rate * root * t, 0.0)
    left, gone = np.exp(-2 * clock), -np.expm1(-2 * clock)
    part = scale / end
    fallen = np.sqrt(end) * np.exp(-clock - np.log(large))
    top = end + other**2 * gone + scale * part * left
    below = np.hypot(np.sqrt(other * (part / large) + gone), fallen)
    grown = np.where(moving, np.sqrt(top) / below, large)
    shrunk = other * (large / grown)
    apart = (fallen / below) ** 2 * (1 - large * (large / end)) * (end + scale * part)
    gap = np.copysign(1.0, target) * apart * (1 + shrunk**2 / end)
    gap = np.where(moving, gap, target - plus**2 + minus**2)
    sides = np.where(target >= 0, (grown, shrunk), (shrunk, grown))
    return (sides[0], sides[1]), gap


def _parameters(objective: Objective, start: Any) -> tuple[np.ndarray, np.ndarray]:
    """The start's, checked."""
    problem, _, plus, minus = positive_start(objective, start, "The closed form", depth=2)
    inputs = np.asarray(problem.inputs)
    gram = inputs.T @ inputs
    squares = np.diag(gram)
    # Entry j moves what i tends to by (X^T X)_ij / (X^T X)_ii of itself: the shorter column counts.
    off, allowed = np.abs(gram - np.diag(squares)), TOLERANCE * np.minimum.outer(squares, squares)
    if np.any(off > allowed):
        i, j = np.unravel_index(np.argmax(off - allowed), off.shape)
        raise ValueError(
            f"The closed form needs orthogonal columns of the inputs, but X^T X has {off[i, j]:.3g}"
            f" off its diagonal, beside {squares[i]:.3g} and {squares[j]:.3g} on it; use "
            "gradflow.solve_flow, or gradflow.exact.minimum_potential for the limit."
        )
    return plus, minus
