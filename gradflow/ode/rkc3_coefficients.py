r"""How the coefficients of `RKC3` are made; `python -m gradflow.ode.rkc3_coefficients` stores them.

The stages are those of a Runge-Kutta-Chebyshev method of order 2 that runs past the end of its step
(to kappa h instead of h),

    P_j(z) = 1 + b_j (T_j(w_0 + w_1 z) - T_j(w_0)),    j = 2, ..., s,

where b_j = T_j''(w_0) / T_j'(w_0)^2 makes each of them a solution of order 2 at its own time c_j h.
Every stage is bounded on the whole stability interval, and so is every combination of stages with
moderate weights. The solution is such a combination, sum_j gamma_j P_j, of order 3. Since the
stages satisfy c_j^2 / 2 = (A c)_j exactly, order 3 asks for four linear conditions only,

    sum gamma_j = 1,  sum gamma_j c_j = 1,  sum gamma_j c_j^2 = 1,  sum gamma_j P_j'''(0) = 1,

and the weights that are left make the stability polynomial small at z < -4. The error estimate is
a second combination, delta, which vanishes to order 3 and equals the error of gamma in the term
z^4. Two more are the solution at one and two thirds of the step, of order 3 again.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DAMPING = 1.25
"""u in w_0 = 1 + u^2 / (2 s^2)."""
OVERSHOOT = 1.5
"""kappa: the last stage's time, in steps."""
RIDGE = 1e-2
"""Weight of |gamma|^2 beside the mean square of the stability polynomial."""
SMALLEST, LARGEST, GROWTH = 5, 700, 1.05
TABLE = Path(__file__).with_name("rkc3.npz")


class Method(NamedTuple):
    """One stage count's method.

    Attributes:
      reach: the length of the stability interval on the negative real axis.
      w0: centre of the Chebyshev variable.
      w1: its slope.
      scale: (s + 1,) b_j.
      chebyshev: (s + 1,) T_j(w_0).
      gamma: (s + 1,) weights of the solution.
      delta: (s + 1,) weights of the error estimate.
      third: (s + 1,) weights of the solution at a third of the step.
      two_thirds: (s + 1,) weights of the solution at two thirds of the step.
    """

    reach: float
    w0: float
    w1: float
    scale: np.ndarray
    chebyshev: np.ndarray
    gamma: np.ndarray
    delta: np.ndarray
    third: np.ndarray
    two_thirds: np.ndarray


def stage_counts() -> list[int]:
    """The stage counts on offer: all small ones, then each about 5% above the one before."""
    counts = [SMALLEST]
    while counts[-1] < LARGEST:
        counts.append(max(counts[-1] + 1, round(counts[-1] * GROWTH)))
    return counts


def method(stages: int) -> Method:
    """The method of a given number of stages (at least 5)."""
    w0 = 1 + DAMPING**2 / (2 * stages**2)
    t, first, second = _chebyshev(stages, w0)
    w1 = OVERSHOOT * first[-1] / second[-1]
    scale = np.zeros(stages + 1)
    scale[2:] = second[2:] / first[2:] ** 2
    weights = _elementary_weights(t, scale, w0, w1)
    reach = (1 + w0) / w1

    angles = (np.arange(8 * stages) + 0.5) * np.pi / (8 * stages)
    z = -reach * (1 - np.cos(angles)) / 2
    values = np.polynomial.chebyshev.chebvander(w0 + w1 * z[z < -4], stages)
    far = 1 + scale * (values - t)
    used = np.r_[0, 2 : stages + 1]
    size = far[:, used].T @ far[:, used] / len(far) + RIDGE * np.eye(len(used))

    conditions = np.column_stack([np.ones(stages + 1), weights])[used].T

    def weights_for(rows: int, values: list[Any]) -> np.ndarray:
        result = np.zeros(stages + 1)
        result[used] = _smallest(size, conditions[:rows], np.array(values))
        return result

    def solution_at(c: float) -> np.ndarray:
        return weights_for(4, [1, c, c**2 / 2, c**3 / 6])

    gamma = solution_at(1.0)
    delta = weights_for(5, [0, 0, 0, 0, gamma @ weights[:, 3] - 1 / 24])
    thirds = solution_at(1 / 3), solution_at(2 / 3)
    return Method(reach, w0, w1, scale, t, gamma, delta, *thirds)


def _chebyshev(degree: int, x: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T_j, T_j' and T_j'' at x for j = 0, ..., degree."""
    t, first, second = [1.0, x], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, degree + 1):
        second.append(4 * first[-1] + 2 * x * second[-1] - second[-2])
        first.append(2 * t[-1] + 2 * x * first[-1] - first[-2])
        t.append(2 * x * t[-1] - t[-2])
    return np.array(t), np.array(first), np.array(second)


def _elementary_weights(t: np.ndarray, scale: np.ndarray, w0: float, w1: float) -> np.ndarray:
    """(s + 1, 4): coefficients of z, ..., z^4 in each P_j (c_j, c_j^2 / 2, ...)."""
    e = np.zeros((len(t), 5))
    e[1, 1] = w1
    for j in range(2, len(t)):
        shifted = np.append(0, e[j - 1][:-1])
        shifted[1] += t[j - 1]
        e[j] = 2 * w0 * e[j - 1] - e[j - 2] + 2 * w1 * shifted
    return (scale[:, None] * e)[:, 1:]


def _smallest(size: np.ndarray, conditions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Minimise x^T size x subject to conditions x = values."""
    norms = np.abs(conditions).max(axis=1)
    rows, values = conditions / norms[:, None], values / norms
    count = len(rows)
    system = np.block([[size, rows.T], [rows, np.zeros((count, count))]])
    x = np.linalg.solve(system, np.append(np.zeros(len(size)), values))[: len(size)]
    return x + np.linalg.lstsq(rows, values - rows @ x, rcond=None)[0]


def write(path: Path = TABLE) -> None:
    """Make all methods and store them; each stage count's arrays follow one another."""
    counts = stage_counts()
    methods = [method(s) for s in counts]
    arrays: dict[str, Any] = {
        "stages": np.array(counts),
        "offset": np.cumsum([0] + [s + 1 for s in counts[:-1]]),
        **{name: np.array([getattr(m, name) for m in methods]) for name in ("reach", "w0", "w1")},
        **{
            name: np.concatenate([getattr(m, name) for m in methods])
            for name in ("scale", "chebyshev", "gamma", "delta", "third", "two_thirds")
        },
    }
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    write()
