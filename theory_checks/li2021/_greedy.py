"""Greedy low-rank learning in the limit: phase after phase, each with one column more.

NumPy and SciPy alone: nothing here is the library's. A phase starts along the top eigenvector of
-grad f at the point where the one before has ended.
"""

from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp

from ._problems import Posed, drawn

SMALL = 1e-7
"""The new column's length."""
SLOW = 0.15
"""Phases that would begin at less than this part of the first rate are left out."""


class Node(NamedTuple):
    """Where a phase ends.

    Attributes:
      u: (size, rank) its columns.
      rates: eigenvalues of -grad f on the null space of U^T, falling.
      vectors: their vectors.
      decay: the slowest rate at which the flow of these columns comes there; infinite at 0.
      growth: the largest rate at which it leaves it; 0 or less at a minimum of its rank.
    """

    u: np.ndarray
    rates: np.ndarray
    vectors: np.ndarray
    decay: float
    growth: float

    @property
    def w(self) -> np.ndarray:
        """The matrix."""
        return self.u @ self.u.T


def phases(posed: Posed, most: int = 2) -> list[Node]:
    """From 0, so many phases; fewer where little grows any more or the rank fails to rise."""
    nodes = [_node(posed, np.zeros((len(posed.start), 0)))]
    while len(nodes) <= most and nodes[-1].rates[0] > SLOW * nodes[0].rates[0]:
        last = nodes[-1]
        u = _phase(posed, np.column_stack([last.u, SMALL * last.vectors[:, 0]]), last.rates[0])
        if u is None or len(u) == u.shape[1]:
            break
        nodes.append(_node(posed, u))
    return nodes


def _phase(posed: Posed, u: np.ndarray, rate: float) -> np.ndarray | None:
    """The minimum that the flow of these columns comes to, to the last digits, if that is one."""
    shape = u.shape

    @no_type_check
    def field(_: float, y: np.ndarray) -> np.ndarray:
        now = y.reshape(shape)
        return -(posed.gradient(now @ now.T) @ now).ravel()

    end = (np.log(1 / SMALL) + 20) / rate
    found = solve_ivp(field, (0, end), u.ravel(), "DOP853", rtol=1e-8, atol=1e-12).y[:, -1]

    u = found.reshape(shape)
    for _ in range(60):  # Newton's method; rotations from the right move nothing
        slopes, gap = _slopes(posed, u), posed.gradient(u @ u.T) @ u
        step = np.linalg.lstsq(slopes, gap.ravel(), rcond=1e-9)[0].reshape(shape)
        u = u + step
        if np.linalg.norm(step) < 1e-14 * np.linalg.norm(u):
            break
    values = np.linalg.svd(u, compute_uv=False)
    near = np.linalg.norm(u - found.reshape(shape)) < 0.1 * values[0]
    return u if near and values[-1] > 1e-2 * values[0] else None


def _node(posed: Posed, u: np.ndarray) -> Node:
    size, rank = u.shape
    left, _, _ = np.linalg.svd(u, full_matrices=True)
    null = left[:, rank:] if rank else np.eye(size)
    rates, turned = np.linalg.eigh(-null.T @ posed.gradient(u @ u.T) @ null)
    own = np.linalg.eigvalsh(_slopes(posed, u)) if rank else np.zeros(1)
    growth = float(own[-1]) if own[-1] > 1e-6 * abs(own[0]) else 0.0
    decay = decay_at(posed, u) if rank else np.inf
    return Node(u, rates[::-1], (null @ turned)[:, ::-1], decay, growth)


def decay_at(posed: Posed, u: np.ndarray) -> float:
    """The slowest rate at which the flow of these columns comes to u, a point of rest."""
    own = np.linalg.eigvalsh(_slopes(posed, u))
    return float(-np.max(own[own < -1e-6 * np.max(np.abs(own))]))


def _slopes(posed: Posed, u: np.ndarray) -> np.ndarray:
    """The Jacobian of the flow of these columns: of squares, exactly."""
    rank = u.shape[1]
    inner = 2 * (posed.measurements @ u).reshape(len(posed.labels), -1)
    gradient = posed.gradient(u @ u.T)
    return -(np.kron(gradient, np.eye(rank)) + inner.T @ inner / 2)


def pairing(nodes: list[Node], columns: int, start: float = 0.5) -> list[tuple[float, np.ndarray]]:
    """The lengths of the plateaus in units of ln(1/alpha), and the exponents when they begin.

    The p-th smallest exponent goes with the p-th largest rate.
    """
    levels, found = np.full(columns, start), []
    for node in nodes[:-1]:
        plateau = float(levels[0] / node.rates[0])
        found.append((plateau, levels))
        rest = node.rates[1 : len(levels)]
        levels = np.sort(levels[1 : 1 + len(rest)] - rest * plateau)
    return found


@cache
def chains(seed: int, count: int) -> list[tuple[Posed, list[Node]]]:
    """Random problems whose chain of phases has three points at least, and times well apart."""
    found, rng = [], np.random.default_rng([seed, 876])
    for k in range(1000):
        size, number = ((3, 5), (4, 9), (5, 13))[k % 3]
        if len(found) == count:
            break
        posed = drawn(rng, size, number)
        nodes = phases(posed) if posed.rates(np.zeros((size, size)))[0][0] > 0.5 else []
        if len(nodes) >= 3 and _apart(nodes, size) and _short(nodes, size):
            found.append((posed, nodes))
    return found


def _apart(nodes: list[Node], columns: int) -> bool:
    """Whether corrections at the first two jumps are high enough powers of alpha."""
    for k, (plateau, levels) in enumerate(pairing(nodes, columns)[:2]):
        node = nodes[k]
        mu = node.rates
        powers = [(mu[0] - mu[1]) * plateau] if len(mu) > 1 else []
        if len(mu) > 2 and k == 0:
            powers.append((mu[1] - mu[2]) * plateau)
        if k:
            powers += [2 * levels[0] * node.decay / (node.decay + 2 * mu[0])]
            powers += [node.decay * plateau]
        if len(levels) > 1 and k:
            powers.append(2 * (levels[1] - levels[0]))
        if min(powers) < 0.22 or node.growth > 0:
            return False
    return True


def _short(nodes: list[Node], columns: int) -> bool:
    """Whether the second jump and its end come soon enough to be followed in a moment."""
    first, taus = nodes[0].rates[0], [plateau for plateau, _ in pairing(nodes, columns)]
    return bool(sum(taus[:2]) * first < 3 and nodes[2].decay > 0.1 * first)
