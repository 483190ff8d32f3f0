"""Flows dU/dt = -grad f(U U^T) U from starts of any size, column by column: NumPy and SciPy alone.

Each column is a unit vector and the logarithm of its length. Rotations from the right, which W does
not feel, keep the columns orthogonal, so that the large never drown the small in one float.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from ._problems import Posed

TINY = -340.0
"""Below this logarithm the square of a length is no float: such a column moves nothing."""


class Piece(NamedTuple):
    """A stretch of a flow.

    Attributes:
      begin: its time.
      length: how long it is.
      solution: columns, not normalised, as a function of the time since `begin`.
      logs: logarithms of the lengths that go with them.
      size: rows.
    """

    begin: float
    length: float
    solution: Any
    logs: np.ndarray
    size: int

    def gram(self, since: float) -> np.ndarray:
        """W."""
        return _gram(self.solution(since).reshape(self.size, -1), self.logs)

    def columns(self, since: float) -> tuple[np.ndarray, np.ndarray]:
        """Unit columns and the logarithms of their lengths, the longest first."""
        q = self.solution(since).reshape(self.size, -1)
        lengths = np.linalg.norm(q, axis=0)
        logs = self.logs + np.log(lengths)
        order = np.argsort(-logs)
        return (q / lengths)[:, order], logs[order]


def pieces(posed: Posed, log_alpha: float, end: float, rtol: float = 1e-11) -> Iterator[Piece]:
    """The flow from alpha A A^T, in stretches during which no column grows much."""
    lengths = np.linalg.norm(posed.start, axis=0)
    q, logs = _orthogonal(posed.start / lengths, np.log(lengths) + log_alpha / 2)
    shape, t = q.shape, 0.0
    while t < end:
        step = min(4.0 / float(np.linalg.norm(posed.gradient(_gram(q, logs)), 2)), end - t)
        found = solve_ivp(
            lambda _, y, logs=logs: (
                -posed.gradient(_gram(y.reshape(shape), logs)) @ y.reshape(shape)
            ).ravel(),
            (0, step), q.ravel(), "DOP853", rtol=rtol, atol=1e-2 * rtol, dense_output=True,
        )  # fmt: skip
        yield Piece(t, step, found.sol, logs, shape[0])
        q = found.y[:, -1].reshape(shape)
        lengths = np.linalg.norm(q, axis=0)
        q, logs = _orthogonal(q / lengths, logs + np.log(lengths))
        t += step


def times(posed: Posed, log_alpha: float, goals: np.ndarray, end: float) -> np.ndarray:
    """When the loss falls below each of some falling levels; NaN where it does not by the end."""
    found: list[float] = []
    for piece in pieces(posed, log_alpha, end):
        while len(found) < len(goals):

            def above(s: float, piece: Piece = piece, goal: float = goals[len(found)]) -> float:
                return posed.loss(piece.gram(s)) - goal

            if above(piece.length) >= 0:
                break
            inside: Any = 0.0
            if above(0.0) > 0:
                inside = brentq(above, 0, piece.length, xtol=1e-13)
            found.append(piece.begin + inside)
        if len(found) == len(goals):
            break
    return np.array(found + [np.nan] * (len(goals) - len(found)))


@no_type_check  # called at every stage of a flow
def _gram(q: np.ndarray, logs: np.ndarray) -> np.ndarray:
    weights = np.where(logs > TINY, np.exp(2 * np.maximum(logs, TINY)), 0.0)
    return (q * weights) @ q.T


@no_type_check
def _orthogonal(q: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal columns of the same W: one-sided Jacobi rotations."""
    q, logs = q.copy(), logs.copy()
    for _ in range(3):
        for i in range(len(logs)):
            for j in range(i + 1, len(logs)):
                large, small = (i, j) if logs[i] >= logs[j] else (j, i)
                inner = q[:, large] @ q[:, small]
                if abs(inner) < 1e-15:
                    continue
                ratio = np.exp(logs[small] - logs[large])
                z = (1 - ratio**2) / (2 * inner)
                t = np.copysign(1.0, z) / (abs(z) + np.hypot(ratio, z))
                cosine = 1 / np.hypot(1, ratio * t)
                a, b = q[:, large].copy(), q[:, small].copy()
                q[:, large] = cosine * (a + ratio**2 * t * b)
                q[:, small] = cosine * (b - t * a)
                for k in (large, small):
                    length = np.linalg.norm(q[:, k])
                    q[:, k] /= length
                    logs[k] += np.log(length)
    return q, logs
