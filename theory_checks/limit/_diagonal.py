r"""Diagonal networks beta = w_+^N - w_-^N: the path of a vanishing start, and flows from any start.

NumPy and SciPy alone. Loss ||X beta - y||^2 / 2; the dual is eta = -int G dt, of which w_+ and w_-
are functions, entry by entry.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import nnls


class Network(NamedTuple):
    """A regression with a diagonal network and the sizes of its start.

    Attributes:
      x: inputs.
      y: targets.
      depth: N.
      plus: w_+(0) / alpha^(1/N).
      minus: likewise.
    """

    x: np.ndarray
    y: np.ndarray
    depth: int
    plus: np.ndarray
    minus: np.ndarray

    @property
    def name(self) -> str:
        """What it is."""
        return f"depth {self.depth}, {self.x.shape[0]} data, {self.x.shape[1]} entries"

    def clock(self, log_alpha: float) -> float:
        """ln(1/alpha), or alpha^-(1 - 2/N)."""
        return -log_alpha if self.depth == 2 else float(np.exp(-(1 - 2 / self.depth) * log_alpha))

    def thresholds(self, more: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Of w_+ and w_-: 1/4, or a^-(N-2) / (N (N-2)); `more` in the exponent."""
        low = self.depth - 2
        if low == 0:
            return np.full(len(self.plus), 0.25), np.full(len(self.plus), 0.25)
        sides = [size ** (more - low) / (self.depth * low) for size in (self.plus, self.minus)]
        return sides[0], sides[1]


class Node(NamedTuple):
    """A saddle: when the path comes there, in units of the clock; beta; its loss and -G."""

    tau: float
    beta: np.ndarray
    loss: float
    drift: np.ndarray


def path(net: Network, more: float = 0.0, leaving: bool = True, most: int = 60) -> list[Node]:
    """The saddles: the dual moves along -G, and the loss is least over the entries at a threshold.

    Args:
      net: the network.
      more: in the exponent of the thresholds.
      leaving: whether an entry may leave again; without, only the signs of the first time count.
      most: how many jumps.
    """
    plus, minus = net.thresholds(more)
    size = net.x.shape[1]
    dual, beta, tau = np.zeros(size), np.zeros(size), 0.0
    seen = np.zeros(size)
    nodes = [_node(net, 0.0, beta)]
    first = np.max(np.abs(nodes[0].drift))
    for _ in range(most):
        drift = nodes[-1].drift
        moving = (beta == 0) & (np.abs(drift) > 1e-10 * first)
        moving &= leaving | (seen == 0)
        if not np.any(moving):
            break
        room = np.where(drift > 0, plus - dual, minus + dual)
        waits = np.where(moving, room / np.where(moving, np.abs(drift), 1.0), np.inf)
        step = float(np.min(waits))
        dual, tau = dual + step * np.where(moving, drift, 0.0), tau + step
        signs = np.where(dual >= plus * (1 - 1e-12), 1.0, 0.0)
        signs = np.where(dual <= -minus * (1 - 1e-12), -1.0, signs)
        seen = np.where(seen == 0, signs, seen)
        active = np.flatnonzero(signs if leaving else seen)
        columns = net.x[:, active] * (signs if leaving else seen)[active]
        found = (
            nnls(columns, net.y)[0] if leaving else np.linalg.lstsq(columns, net.y, rcond=None)[0]
        )
        inside = found > 1e-13 * np.max(found) if leaving else np.ones(len(found), bool)
        beta = np.zeros(size)
        fitted = np.linalg.lstsq(columns[:, inside], net.y, rcond=None)[0]
        beta[active[inside]] = (signs if leaving else seen)[active[inside]] * fitted
        nodes.append(_node(net, tau, beta))
    return nodes


def _node(net: Network, tau: float, beta: np.ndarray) -> Node:
    gap = net.x @ beta - net.y
    return Node(tau, beta, float(gap @ gap) / 2, -net.x.T @ gap)


@no_type_check  # called at every stage of a flow
def sides(net: Network, log_alpha: float, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entries beta, and their derivatives by the dual."""
    depth, low = net.depth, net.depth - 2
    if low == 0:
        a = np.exp(np.minimum(log_alpha + 2 * np.log(net.plus) + 4 * eta, 300.0))
        b = np.exp(np.minimum(log_alpha + 2 * np.log(net.minus) - 4 * eta, 300.0))
        return a - b, 4 * (a + b)
    scale = np.exp(-low / depth * log_alpha)
    a = scale * net.plus**-low - depth * low * eta
    b = scale * net.minus**-low + depth * low * eta
    power = -depth / low
    return a**power - b**power, depth**2 * (a ** (power - 1) + b ** (power - 1))


def flow(
    net: Network, log_alpha: float, end: float, goals: np.ndarray, rtol: float = 1e-10
) -> tuple[np.ndarray, Any]:
    """When the loss falls below some levels, NaN where it does not; and the dual in time.

    SciPy's Radau in the dual, in which no start is too small.
    """

    @no_type_check
    def field(_: float, eta: np.ndarray) -> np.ndarray:
        return -net.x.T @ (net.x @ sides(net, log_alpha, eta)[0] - net.y)

    def level(goal: float) -> Any:
        def event(_: float, eta: Any) -> Any:
            gap = net.x @ sides(net, log_alpha, eta)[0] - net.y
            return np.log(gap @ gap / 2 / goal)

        event.terminal = goal == goals[-1]  # pyright: ignore[reportFunctionMemberAccess]
        return event

    found = solve_ivp(
        field, (0, end), np.zeros(net.x.shape[1]), "Radau",
        jac=lambda _, eta: -net.x.T @ net.x * sides(net, log_alpha, eta)[1],
        rtol=rtol, atol=rtol, events=[level(float(goal)) for goal in goals], dense_output=True,
    )  # fmt: skip
    times = [float(at[0]) if len(at) else np.nan for at in found.t_events]
    return np.array(times), found.sol


def drawn(rng: np.random.Generator, depth: int, shape: tuple[int, int]) -> Network:
    """A random regression with starts of sizes between 1/2 and 2."""
    x, y = rng.normal(size=shape) / shape[0] ** 0.5, rng.normal(size=shape[0])
    plus, minus = rng.uniform(0.5, 2.0, (2, shape[1]))
    return Network(x, y, depth, plus, minus)


def apart(nodes: list[Node], jumps: int, ratio: float = 0.25) -> bool:
    """Whether plateaus differ by no more than a factor and nothing else comes soon after a jump."""
    if len(nodes) <= jumps + 1:
        return False
    steps = np.diff([node.tau for node in nodes[: jumps + 1]])
    falls = -np.diff([node.loss for node in nodes[: jumps + 1]])
    return bool(np.min(steps) > ratio * np.max(steps) and np.min(falls) > 0.02 * np.max(falls))
