r"""Sensing through commuting measurements: the product's flow in terms of m numbers."""

from typing import Any

import numpy as np
from scipy.integrate import DOP853, Radau

from gradflow.exact._record import (
    TOLERANCE,
    MatrixStart,
    Times,
    balanced_matrix_start,
    factors_of,
    record_times,
    shared_frames,
    trajectory,
)
from gradflow.exact._rounding import first_apart, kept_values, told_of_rounding, without_rounded
from gradflow.exact.singular_value import pushed
from gradflow.objective import Objective
from gradflow.observables import Observe
from gradflow.problems.sensing import MatrixSensing
from gradflow.trajectory import Trajectory

_NEAR = 1e-8
"""Relative distance from the limit where a flow is linear: what that neglects is its square."""

_MOVED = 0.1
"""What a step of Newton's method moves of values, relatively, where there is no limit inside."""
_EXPLICIT = 2000
"""Steps of an explicit method before an implicit one takes over."""
_MOST = 8000
"""Steps of both."""


def commuting_flow(
    objective: Objective, start: MatrixStart, times: Times, *, observe: Observe | None = None
) -> Trajectory:
    r"""The flow under measurements A_i that share their singular vectors with W_0.

    Symmetric measurements that commute do so with a multiple of the identity. In the shared frames,
    where all matrices are diagonal, and with s(t) the integral from 0 of 2 c (A(W) - y), at depth N

        W(t) = (W_0^(-(N-2)/N) + (N-2) sum_i s_i A_i)^(-N/(N-2)),

    W_0 exp(-2 sum_i s_i A_i) at depth 2 and W_0 - sum_i s_i A_i at depth 1. With W_0 = alpha^N I
    and c = 1/2 this is Equation (16). The m numbers s follow ds/dt = 2 c (A(W(s)) - y), the
    ascent of a concave function: its maximum, found by Newton's method, is the limit; near it the
    flow is linear; before, these m equations are integrated to 13 digits.

    Args:
      objective: a `MatrixSensing`, with a `MatrixProduct` and no penalty.
      start: balanced factors, such as `gradflow.factorizations.identity_factors`, or a matrix W_0.
      times: rising times from 0 on; np.inf, last, for the limit. The start is always recorded.
      observe: as for `gradflow.solve_flow`.

    Returns:
      A `Trajectory` with the factors at both ends. Its stats have the misalignment, how far the
      matrices are from shared singular vectors, and linear_from, the time from which on the flow
      was linear (the last time if it was not).

    Raises:
      ValueError: if the problem is another one, the measurements and W_0 do not share their
        singular vectors, the start is not balanced, there is a penalty, times do not rise from 0
        on, or the limit is asked for and no matrix of full rank in these frames fits the labels.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> problem = gf.MatrixSensing([np.diag([2.0, 1.0])], [2.0])
      >>> objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth=3))
      >>> run = commuting_flow(
      ...     objective, gf.factorizations.identity_factors((2,) * 4, 1e-6), [1.0, np.inf]
      ... )
      >>> run["singular_values"][-1].round(3).tolist()
      [1.0, 0.0]

    References:
      arora2019, Equations (15) and (16), (42) and (43) for depth 2.
    """
    problem = objective.problem
    if not isinstance(problem, MatrixSensing):
        raise ValueError(
            f"The closed form is for gradflow.MatrixSensing, not a {type(problem).__name__}; "
            "see the other functions of gradflow.exact."
        )
    factors = balanced_matrix_start(objective, start)
    grid, depth = record_times(times), len(factors)
    w, a = np.asarray(objective.product(factors)), np.asarray(problem.measurements)
    frames = shared_frames((w, *a))
    if frames.error > TOLERANCE:
        raise ValueError(
            f"The measurements and W_0 must share their singular vectors, as symmetric ones "
            f"that commute do, but common ones leave {frames.error:.3g} of a norm; start from "
            "gradflow.factorizations.identity_factors if the measurements commute, else use "
            "gradflow.solve_flow."
        )
    begin, diagonals = kept_values(np.maximum(frames.values[0], 0.0), factors), frames.values[1:]
    dual = _Dual(begin, diagonals, np.asarray(problem.labels), depth, 2 * problem.weight)
    s, linear_from = dual.follow(grid)
    values = dual.values(s)
    rounded = first_apart(grid, values, pushed(without_rounded(begin), -(s @ diagonals), depth))
    stats: dict[str, Any] = {"misalignment": frames.error, "linear_from": linear_from}
    products = np.einsum("ir,tr,jr->tij", frames.u, values, frames.v)
    return trajectory(
        "commuting measurements",
        problem,
        depth,
        grid,
        products,
        known={"singular_values": -np.sort(-np.abs(values), axis=1)},
        initial={f"W_{k}": f for k, f in enumerate(factors, start=1)},
        final=factors_of(factors, frames, values[-1]),
        observe=observe,
        stats=stats | (told_of_rounding(grid, rounded) if depth > 1 else {}),
    )


class _Dual:
    """The m numbers s: how they move, where they end, and the eigenvalues of W that they give."""

    def __init__(
        self, begin: np.ndarray, diagonals: np.ndarray, labels: np.ndarray, depth: int, rate: float
    ):
        self.begin, self.diagonals, self.labels = begin, diagonals, labels
        self.depth, self.rate = depth, rate

    def values(self, s: np.ndarray) -> np.ndarray:
        """Eigenvalues of W; infinite outside of the domain of s."""
        return pushed(self.begin, -(s @ self.diagonals), self.depth)

    def velocity(self, s: np.ndarray) -> np.ndarray:
        """ds/dt."""
        return self.rate * (self.diagonals @ self.values(s) - self.labels)

    def jacobian(self, s: np.ndarray) -> np.ndarray:
        """Of the velocity: symmetric, no eigenvalue above 0."""
        slope = -self.depth * self.values(s) ** (2 - 2 / self.depth) * self.rate
        return (self.diagonals * slope) @ self.diagonals.T

    def height(self, s: np.ndarray) -> float:
        """The concave function whose gradient is the velocity, up to a constant."""
        n, push = self.depth, -(s @ self.diagonals)
        value = self.values(s)
        if not np.all(np.isfinite(value)):
            return -np.inf
        if n == 1:
            parts = -push * (self.begin + push / 2)
        elif n == 2:
            parts = -value / 2
        else:
            parts = -(value ** (2 / n)) / 2
        return float(self.rate * (np.sum(parts) - self.labels @ s))

    def limit(self) -> np.ndarray | None:
        """S at infinity by damped Newton steps; None if none is found."""
        s = np.zeros(len(self.labels))
        for _ in range(300):
            slope, height = self.velocity(s), self.height(s)
            step = np.linalg.lstsq(-self.jacobian(s), slope, rcond=1e-13)[0]
            # Round-off hides a rise near the maximum, but not that the slope shrinks.
            sizes = (0.5**k for k in range(60))
            better = (s + size * step for size in sizes)
            after = next((x for x in better if self._improves(x, height, slope)), None)
            if after is None:
                break
            s = after
        scale = np.abs(self.diagonals) @ self.values(s) + np.abs(self.labels)
        fits = np.abs(self.velocity(s)) <= 1e-12 * self.rate * np.max(scale)
        return s if np.all(fits) and self._rests(s) else None

    def _rests(self, s: np.ndarray) -> bool:
        """Whether a step of Newton's method leaves all values nearly what they are.

        Where one has to vanish each step takes a share of it, however well the labels fit. By a
        root of the Jacobian, in which small values still count.
        """
        if self.depth == 1:
            return True
        values = self.values(s)
        root = np.sqrt(self.depth * values ** (2 - 2 / self.depth))
        step = np.linalg.lstsq(self.diagonals * root, self.velocity(s) / self.rate, rcond=1e-13)[0]
        share = self.depth * values ** (1 - 2 / self.depth) * np.abs(step)
        return bool(np.all(share <= _MOVED * root))

    def _relative(self, s: np.ndarray, step: np.ndarray) -> float:
        """By which share values change along a small step; of depth 1, whose flow is linear, 0."""
        if self.depth == 1:
            return 0.0
        scale = self.depth * self.values(s) ** (1 - 2 / self.depth)
        return float(np.max(np.abs(scale * (step @ self.diagonals))))

    def _improves(self, s: np.ndarray, height: float, slope: np.ndarray) -> bool:
        here = self.height(s)
        with np.errstate(over="ignore"):  # far too long a step
            flatter = np.linalg.norm(self.velocity(s)) < 0.5 * np.linalg.norm(slope)
        return here > height or bool(np.isfinite(here) and flatter)

    def follow(self, grid: np.ndarray) -> tuple[np.ndarray, float]:
        """All s, and the time from which on they moved linearly."""
        end = self.limit()
        if end is None and np.isinf(grid[-1]):
            raise ValueError(
                "The limit was asked for, but no matrix of full rank with the shared singular "
                f"vectors fits the labels {self.labels[:5].tolist()}; leave np.inf out of times."
            )
        s, now, at = np.zeros((len(grid), len(self.labels))), np.zeros(len(self.labels)), 0.0
        for k, t in enumerate(grid):
            at, now = self._advance(at, now, float(t), end)
            s[k] = now
            if end is not None and at < t:
                rates, basis = np.linalg.eigh(self.jacobian(end))
                decay = np.exp(np.minimum(rates, 0.0) * (grid[k:] - at)[:, None])
                s[k:] = end + (decay * (basis.T @ (now - end))) @ basis.T
                break
        return s, at

    def _advance(
        self, at: float, s: np.ndarray, to: float, end: np.ndarray | None
    ) -> tuple[float, np.ndarray]:
        """Integrate on, to a time or to where the flow is linear."""
        top = float(np.max(self.begin)) or 1.0
        unit = top ** (2 / self.depth - 1) / float(np.max(np.abs(self.diagonals)))
        if at == to or self._linear(s, end):
            return at, s
        fine = {"rtol": 1e-13, "atol": 1e-14 * unit}

        def field(t: float, s: np.ndarray) -> np.ndarray:
            return self.velocity(s)

        solver, steps = DOP853(field, at, s, to, **fine), 0
        while solver.status == "running" and not self._linear(solver.y, end):
            message, steps = solver.step(), steps + 1
            if solver.status == "failed" or steps == _MOST:
                raise ValueError(
                    f"The m equations could not be followed beyond the time {solver.t:.6g} "
                    f"({message or 'too many steps'}); ask for earlier times."
                )
            if steps == _EXPLICIT and to > solver.t:  # what is at rest holds explicit steps back
                jac: Any = lambda t, s: self.jacobian(s)  # noqa: E731
                solver = Radau(field, solver.t, solver.y, to, jac=jac, **fine)
        return float(solver.t), solver.y

    def _linear(self, s: np.ndarray, end: np.ndarray | None) -> bool:
        """Whether s is where the flow is linear."""
        if end is None:
            return False
        return self._relative(end, s - end) <= _NEAR
