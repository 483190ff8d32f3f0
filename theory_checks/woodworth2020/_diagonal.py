r"""Diagonal networks on least squares, followed by SciPy's DOP853 and nothing of the library.

beta = w_+^D - w_-^D, loss ||X beta - y||^2, w_+ = w_- = alpha at the start.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp

RTOL = 1e-12
"""Relative tolerance; a run at thirty times that tells the floor."""
FITTED = 1e-9
"""Of ||y||: a flow ends where its misfit has fallen to this."""
RECORDS = 13
LONGEST = 1000.0


class Run(NamedTuple):
    """A flow from equal parameters to the fit.

    Attributes:
      x: (n, d) inputs.
      y: (n,) targets.
      alpha: the size of all parameters at the start.
      depth: D.
      times: of the records, the first at the start and the last at the end.
      beta: (records, d).
      coarse: the same at a thirtyfold tolerance.
      misfit: ||X beta - y|| / ||y|| at the end.
    """

    x: np.ndarray
    y: np.ndarray
    alpha: float
    depth: int
    times: np.ndarray
    beta: np.ndarray
    coarse: np.ndarray
    misfit: float

    @property
    def name(self) -> str:
        """Its sizes."""
        return f"{self.x.shape[0]} data, {self.x.shape[1]} entries, alpha = {self.alpha:g}"


def problem(rng: np.random.Generator, data: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with rows that are not far from orthogonal, and targets of norm 1."""
    x = np.linalg.qr(rng.normal(size=(size, data)))[0].T * rng.uniform(0.7, 1.4, (data, 1))
    y = rng.normal(size=data)
    return x, y / np.linalg.norm(y)


def follow(x: np.ndarray, y: np.ndarray, alpha: float, depth: int) -> Run:
    """The flow at both tolerances, at times of which most are in the rise."""
    size = x.shape[1]

    @no_type_check  # called tens of thousands of times
    def field(_: float, state: np.ndarray) -> np.ndarray:
        plus, minus = state[:size], state[size:]
        push = 2 * depth * (x.T @ (y - x @ (plus**depth - minus**depth)))
        return np.concatenate([plus ** (depth - 1) * push, -(minus ** (depth - 1)) * push])

    @no_type_check
    def arrived(_: float, state: np.ndarray) -> float:
        gap = x @ (state[:size] ** depth - state[size:] ** depth) - y
        return float(np.log(np.linalg.norm(gap) / (FITTED * np.linalg.norm(y))))

    ended: Any = arrived
    ended.terminal = True
    first = np.full(2 * size, alpha)
    runs: list[Any] = []
    end = LONGEST
    for rtol, events in ((RTOL, ended), (30 * RTOL, None)):
        runs.append(
            solve_ivp(
                field, (0.0, end), first, "DOP853", rtol=rtol, atol=rtol * alpha,
                dense_output=True, events=events,
            )
        )  # fmt: skip
        end = float(runs[0].t[-1])
    times = end * np.linspace(0.0, 1.0, RECORDS) ** 2
    beta, coarse = (
        (run.sol(times)[:size] ** depth - run.sol(times)[size:] ** depth).T for run in runs
    )
    misfit = float(np.linalg.norm(x @ beta[-1] - y) / np.linalg.norm(y))
    return Run(x, y, alpha, depth, times, beta, coarse, misfit)


def outside(x: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """What of vectors (rows) is not in the range of X^T."""
    return vectors - vectors @ np.linalg.pinv(x) @ x


def height(u: np.ndarray, power: float) -> np.ndarray:
    """h(u) = (1 - u)^-power - (1 + u)^-power."""
    return (1 - u) ** -power - (1 + u) ** -power


def inverse_height(z: np.ndarray, power: float) -> np.ndarray:
    """The u in (-1, 1) with h(u) = z, by bisection in ln(1 - |u|)."""
    size = np.abs(z)
    low, high = np.full(size.shape, -700.0), np.zeros(size.shape)  # of ln(1 - |u|)
    for _ in range(70):
        middle = (low + high) / 2
        with np.errstate(over="ignore"):
            above = np.exp(-power * middle) - (2 - np.exp(middle)) ** -power > size
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.copysign(-np.expm1((low + high) / 2), z)
