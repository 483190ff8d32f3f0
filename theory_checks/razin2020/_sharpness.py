"""How sharp the constants of razin2020's Theorem 1 are: the worst matrices that a search finds.

Every matrix of positive determinant is a product at time 0 that meets the theorem's hypotheses.
What is found is numerical evidence, no proof.
"""

from functools import cache
from typing import Any

import numpy as np

from gradflow.claims import Settings
from gradflow.claims.oracles.search import Draw, largest_ratio


def entropy_rank(first: Any, second: Any) -> Any:
    """The effective rank minus one, from two singular values, without cancellation."""
    q = second / (first + second)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(q > 0, -q * np.log(q), 0.0) - (1 - q) * np.log1p(-q)
    return np.expm1(entropy)


def _draw() -> Draw:
    def points(rng: np.random.Generator, count: int) -> np.ndarray:
        step = rng.normal(size=(count, 3)) * 10 ** rng.uniform(-4, 1.5, (count, 1))
        return np.concatenate([step, rng.uniform(-30, 5, (count, 1))], axis=1)

    return points


def _matrix(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W, both singular values and the loss, from w_12 - 1, w_21 - 1, w_22 and log det."""
    w12, w21, w22, det = 1 + x[:, 0], 1 + x[:, 1], x[:, 2], np.exp(np.clip(x[:, 3], -300, 300))
    w = np.stack([np.stack([(det + w12 * w21) / w22, w12], -1), np.stack([w21, w22], -1)], -2)
    square = np.sum(w**2, axis=(1, 2))
    root = np.sqrt(np.maximum((square - 2 * det) * (square + 2 * det), 0))
    first = np.sqrt((square + root) / 2)
    return w, np.stack([first, det / first], -1), np.sum(x[:, :3] ** 2, axis=1) / 2


@cache
def _note(what: str, settings: Settings) -> str:
    def ratio(x: np.ndarray) -> np.ndarray:
        w, s, loss = _matrix(x)
        root = np.sqrt(loss)
        if what == "erank":
            return entropy_rank(s[:, 0], s[:, 1]) / root
        if what == "irank":
            return s[:, 1] / root
        # The b that a = 1/sqrt(2) needs under the Frobenius norm, as a ratio: exp(a/root - ||W||).
        return np.exp(np.clip(1 / np.sqrt(2 * loss) - np.linalg.norm(w, axis=(1, 2)), -50, 50))

    value, point, evaluations = largest_ratio(ratio, _draw(), settings)
    at = _matrix(point[None])[0][0].tolist()
    effort = f"{evaluations} evaluations over matrices of positive determinant, worst at W = {at}"
    if what == "erank":
        return (
            f"numerical evidence: the printed 2 sqrt(12) / ln 2 = 9.995 could be {value:.4f} "
            f"({effort})"
        )
    if what == "irank":
        return (
            f"numerical evidence: the printed 3 sqrt(2) = 4.243 could be {value:.4f}; sqrt(2) "
            "follows from the segment from W to its projection onto the solutions, where the "
            f"determinant changes sign ({effort})"
        )
    return (
        "numerical evidence, Frobenius norm: a = 1/sqrt(2) is sharp, and with it b = 8 could be "
        f"{max(np.log(value), 0.0):.4f} ({effort})"
    )


def theorem1_note(what: str, settings: Settings) -> str:
    """What a search says about the best constant in Theorem 1: "norm", "erank" or "irank"."""
    return _note(what, settings)
