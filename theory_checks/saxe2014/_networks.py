r"""Linear networks on whitened data, followed by SciPy's DOP853 and nothing of the library.

The loss is 1/2 ||Y - W_N ... W_1 X||_F^2 with X X^T = I and Sigma = Y X^T = U S V^T. Aligned starts
are W_1 = R_1 D_1 V^T, W_j = R_j D_j R_{j-1}^T, W_N = U D_N R_{N-1}^T with orthonormal columns.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp

from gradflow.claims import ByConstruction, Measured
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles.layers import imbalances

RTOL = 1e-12
"""Relative tolerance; a run at a hundredfold tells the floor."""
Matrices = tuple[np.ndarray, ...]
HYPOTHESES = {
    "gradient flow of 1/2 ||Y - W X||_F^2": ByConstruction("its equations are integrated as such")
}


class Data(NamedTuple):
    """Whitened data with the singular vectors and values of Sigma.

    Attributes:
      x: (n, samples).
      y: (m, samples).
      u: (m, modes).
      s: (modes,) falling.
      v: (n, modes).
    """

    x: np.ndarray
    y: np.ndarray
    u: np.ndarray
    s: np.ndarray
    v: np.ndarray

    @property
    def whitened(self) -> Measured:
        """How far X X^T is from the identity."""
        return Measured(float(np.abs(self.x @ self.x.T - np.eye(len(self.x))).max()), below=1e-12)


def columns(rng: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """Orthonormal columns in no particular direction."""
    return np.linalg.qr(rng.normal(size=(rows, count)))[0]


def data(rng: np.random.Generator, shape: tuple[int, int], values: np.ndarray) -> Data:
    """Whitened inputs, and targets that have a part which no linear map of them reaches.

    Args:
      rng: for everything that is not given.
      shape: (m, n).
      values: the singular values of Sigma.
    """
    (m, n), s = shape, values
    u, v = columns(rng, m, len(s)), columns(rng, n, len(s))
    rows = columns(rng, n + 3, n + 3).T
    x, rest = rows[:n], rows[n:]
    return Data(x, (u * s) @ v.T @ x + rng.normal(size=(m, 3)) @ rest, u, s, v)


def aligned_start(
    rng: np.random.Generator, given: Data, hidden: int, layers: Sequence[np.ndarray]
) -> Matrices:
    """Factors with the singular values of each layer, one for each mode that starts.

    Args:
      rng: for the frames between layers.
      given: the data.
      hidden: neurons of each hidden layer, at least as many as modes that start.
      layers: D_1, ..., D_N, of the first modes.
    """
    modes = len(layers[0])
    inner = [columns(rng, hidden, modes) for _ in layers[1:]]
    frames = [given.v[:, :modes], *inner, given.u[:, :modes]]
    parts = zip(frames[1:], layers, frames[:-1], strict=True)
    return tuple((left * d) @ right.T for left, d, right in parts)


@no_type_check  # called tens of thousands of times
def velocity(factors: Sequence[np.ndarray], given: Data) -> Matrices:
    """Minus the gradient, layer by layer."""
    signals = [given.x]
    for w in factors:
        signals.append(w @ signals[-1])
    back, found = given.y - signals[-1], []
    for w, before in zip(reversed(factors), reversed(signals[:-1]), strict=True):
        found.append(back @ before.T)
        back = w.T @ back
    return tuple(reversed(found))


class Run(NamedTuple):
    """A flow with everything that a case says of it.

    Attributes:
      name: its sizes.
      given: the data.
      start: the factors.
      horizon: where it ends.
      tight: factors at times, as one vector, at the smaller tolerance.
      coarse: at the larger.
    """

    name: str
    given: Data
    start: Matrices
    horizon: float
    tight: Any
    coarse: Any

    def factors(self, t: float, coarse: bool = False) -> list[np.ndarray]:
        """The factors at a time."""
        return _unpacked((self.coarse if coarse else self.tight)(t), self.start)

    def strengths(self, times: np.ndarray, coarse: bool = False) -> np.ndarray:
        """u_r^T W v_r: a row for each time, a column for each mode that starts."""
        points = (self.coarse if coarse else self.tight)(np.atleast_1d(times)).T
        modes = min(len(self.given.s), len(self.start[0]))
        ahead = reduce(lambda w, f: f @ w, _unpacked(points, self.start), self.given.v[:, :modes])
        return np.sum(self.given.u[:, :modes] * ahead, axis=1)

    def error(self, times: np.ndarray) -> np.ndarray:
        """How far the strengths may be off: the larger tolerance's difference, and a rounding."""
        found = self.strengths(times)
        gap = np.abs(found - self.strengths(times, coarse=True))
        return np.max(gap, axis=0) + 1e-15 * self.given.s[: found.shape[1]]

    @property
    def aligned(self) -> dict[str, Met]:
        """Whitened data, and how far W is from U diag V^T along the flow, relative to Sigma."""
        u, v = self.given.u, self.given.v
        worst = 0.0
        for t in np.linspace(0.0, self.horizon, 9):
            w = u.T @ reduce(lambda x, f: f @ x, self.factors(float(t))) @ v
            worst = max(worst, float(np.abs(w - np.diag(np.diag(w))).max()))
        return {
            **HYPOTHESES,
            "whitened inputs": self.given.whitened,
            "singular vectors of Sigma": Measured(worst / float(self.given.s[0]), below=1e-9),
        }

    @property
    def equal(self) -> dict[str, Met]:
        """Aligned, and all neighbouring layers balanced at the start, relative to the first."""
        gap = max(float(np.abs(d).max()) for d in imbalances(self.start))
        share = gap / float(np.abs(self.start[0] @ self.start[0].T).max())
        return {**self.aligned, "equal layers": Measured(share, below=1e-12)}


def follow(
    name: str, given: Data, start: Matrices, horizon: float, rtol: float = RTOL, times: int = 100
) -> Run:
    """The flow at a tolerance, and at so many times that."""
    first = np.concatenate([w.ravel() for w in start])
    least = float(np.min(np.abs(first[first != 0.0])))

    @no_type_check
    def field(_: float, state: np.ndarray) -> np.ndarray:
        return np.concatenate([w.ravel() for w in velocity(_unpacked(state, start), given)])

    found = [
        solve_ivp(
            field, (0.0, horizon), first, "DOP853", rtol=allowed, atol=allowed * min(least, 1.0),
            dense_output=True,
        ).sol
        for allowed in (rtol, times * rtol)
    ]  # fmt: skip
    return Run(name, given, start, horizon, *found)


@no_type_check
def _unpacked(state: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Factors of a vector, or of the rows of a matrix."""
    found, at = [], 0
    for w in like:
        found.append(state[..., at : at + w.size].reshape(state.shape[:-1] + w.shape))
        at += w.size
    return found
