"""Flows of columns from starts of any size, column by column: NumPy and SciPy alone.

Each column is a unit vector and the logarithm of a length, and a one-sided Jacobi sweep, a rotation
from the right that W does not feel, keeps the columns orthogonal. Nothing of the limit is used.
"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq


def sweep(q, logs):
    """Orthogonal columns of the same Q Q^T."""
    for _ in range(3):
        for i in range(len(logs)):
            for j in range(i + 1, len(logs)):
                a, b = (i, j) if logs[i] >= logs[j] else (j, i)
                p = q[:, a] @ q[:, b]
                if abs(p) < 1e-15:
                    continue
                r = np.exp(logs[b] - logs[a])
                z = (1 - r**2) / (2 * p)
                t = (1 if z >= 0 else -1) / (abs(z) + np.sqrt(r**2 + z**2))
                c = 1 / np.sqrt(1 + (r * t) ** 2)
                q[:, a], q[:, b] = c * (q[:, a] + r**2 * t * q[:, b]), c * (q[:, b] - t * q[:, a])
                for k in (a, b):
                    length = np.linalg.norm(q[:, k])
                    q[:, k] /= length
                    logs[k] += np.log(length)
    return q, logs


def run(operator, loss, start, log_alpha, goals, end, watch=()):
    """When the loss falls below each of the goals; and the nearest distances to some matrices.

    Args:
      operator: F of Q Q^T = sum of e^(2 l) q q^T.
      loss: of the same.
      start: Q(0) / sqrt(alpha).
      log_alpha: the logarithm of alpha.
      goals: falling losses.
      end: when to stop at the latest.
      watch: matrices Q Q^T.
    """
    lengths = np.linalg.norm(start, axis=0)
    q, logs = start / lengths, np.log(lengths) + log_alpha / 2
    q, logs = sweep(q.copy(), logs.copy())
    shape, t, times = q.shape, 0.0, []
    near = np.full(len(watch), np.inf)
    goals = list(goals)
    while t < end and goals:
        weights = np.exp(2 * np.clip(logs, -340, None)) * (logs > -340)

        def gram(y, weights=weights):
            x = y.reshape(shape)
            return (x * weights) @ x.T

        def field(_, y, gram=gram):
            return (operator(gram(y)) @ y.reshape(shape)).ravel()

        step = min(4.0 / np.linalg.norm(operator(gram(q.ravel())), 2), end)
        found = solve_ivp(
            field, (0, step), q.ravel(), "DOP853", rtol=1e-10, atol=1e-12, dense_output=True
        )
        after = loss(gram(found.y[:, -1]))
        while goals and after < goals[0]:
            goal = goals.pop(0)
            first = loss(gram(q.ravel())) - goal
            inside = 0.0 if first <= 0 else brentq(
                lambda s, goal=goal, f=found, g=gram: loss(g(f.sol(s))) - goal, 0, step, xtol=1e-13
            )  # fmt: skip
            times.append(t + inside)
        q = found.y[:, -1].reshape(shape).copy()
        lengths = np.linalg.norm(q, axis=0)
        q, logs = sweep(q / lengths, logs + np.log(lengths))
        t += step
        if len(watch):
            now = (q * np.exp(2 * logs)) @ q.T
            near = np.minimum(near, [np.linalg.norm(now - w) for w in watch])
    return np.array(times), near
