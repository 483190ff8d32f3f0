"""Smooth functions of a symmetric matrix, as NumPy has them: gradient, start, exponents."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float

Residual = Float[np.ndarray, " data"]

LOSSES: dict[str, tuple[Callable[[Residual], float], Callable[[Residual], Residual]]] = {
    "squares": (lambda r: float(np.sum(r**2)) / 2, lambda r: r),
    "fourth powers": (lambda r: float(np.sum(r**4)) / 4, lambda r: r**3),
    "1 - cos, not convex": (lambda r: float(np.sum(1 - np.cos(r))), np.sin),
}
"""Of the residuals <A_i, W> - y_i: the loss and its derivative."""


class Posed(NamedTuple):
    """A function f of symmetric matrices, and a start.

    Attributes:
      name: what it is.
      measurements: (data, size, size) the symmetric A_i.
      labels: the y_i.
      start: A of the start W = alpha A A^T.
      kind: which of `LOSSES`.
    """

    name: str
    measurements: np.ndarray
    labels: np.ndarray
    start: np.ndarray
    kind: str = "squares"

    @no_type_check  # called at every stage of a flow
    def residual(self, w: np.ndarray) -> Residual:
        """<A_i, W> - y_i."""
        return self.measurements.reshape(len(self.labels), -1) @ w.ravel() - self.labels

    def loss(self, w: np.ndarray) -> float:
        """f(W)."""
        return LOSSES[self.kind][0](self.residual(w))

    @no_type_check
    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Its gradient."""
        slopes = LOSSES[self.kind][1](self.residual(w))
        return (slopes @ self.measurements.reshape(len(slopes), -1)).reshape(w.shape)

    def rates(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of -grad f, falling, and their vectors."""
        values, vectors = np.linalg.eigh(-self.gradient(w))
        return values[::-1], vectors[:, ::-1]

    @property
    def power(self) -> float:
        """(lambda_1 - lambda_2) / (2 lambda_1) at W = 0."""
        values, _ = self.rates(np.zeros(self.start.shape[:1] * 2))
        return float((values[0] - values[1]) / (2 * values[0]))


def drawn(rng: np.random.Generator, size: int, count: int, kind: str = "squares") -> Posed:
    """Random symmetric measurements and labels, and a random square start."""
    a = rng.normal(size=(count, size, size))
    a = (a + a.transpose(0, 2, 1)) / 2 / count**0.5
    name = f"{size}x{size}, {count} measurements, {kind}"
    return Posed(name, a, rng.normal(size=count), rng.normal(size=(size, size)), kind)


@cache
def spread(seed: int, full: bool) -> list[Posed]:
    """Problems whose first three rates at 0 are well apart, so that one power of alpha leads."""
    found, rng = [], np.random.default_rng([seed, 2021])
    sizes = [(3, 4), (4, 7), (5, 12)] if full else [(3, 4), (4, 7)]
    for size, count in sizes:
        for kind in LOSSES:
            while True:
                posed = drawn(rng, size, count, kind)
                (one, two, three, *_), _ = posed.rates(np.zeros((size, size)))
                if 0.2 < posed.power < 0.45 and two - three > 1.2 * (one - two):
                    break
            found.append(posed)
    return found


def completion(r: float) -> Posed:
    """Li, Luo and Lyu's 4x4 problem: (1, 3) is 1, (1, 4) and (2, 3) are r; from alpha I."""
    seen = {(0, 2): 1.0, (0, 3): r, (1, 2): r}  # and mirrored: twice each square
    a = np.zeros((3, 4, 4))
    for k, (i, j) in enumerate(seen):
        a[k, i, j] = a[k, j, i] = 2**-0.5
    return Posed(f"4x4, R = {r:g}", a, 2**0.5 * np.array([*seen.values()]), np.eye(4))
