r"""The limit of a vanishing start of columns, from saddle to saddle.

At a saddle Q_k of rank k the small columns S obey dS/dt = F_k S: with mu_1 > mu_2 > ... the
eigenvalues of F_k on the null space of Q_k Q_k^T, the p-th largest column grows like exp(mu_p t),
and its direction tends to v_p. So a plateau lasts until the first is of size 1,

    dtau = e_1 / mu_1,     e_p <- e_p - mu_p dtau,

in units of ln(1/alpha). Then the large columns follow the flow from [Q_k, eps v_1] to the next
saddle, while the others follow the linear equation dS/dt = F(Q(t)) S.
"""

from typing import NamedTuple

import numpy as np

from gradflow.columns import AbstractColumns
from gradflow.saddles.assembly import NULL, Jump, growth_and_decay
from gradflow.saddles.columns import Place, place
from gradflow.saddles.errors import FLOOR, Terms
from gradflow.saddles.flag import SAME, Flag, Pairing, pair, start_flag
from gradflow.saddles.orbit import Orbit, follow, polish
from gradflow.saddles.path import SaddleOutcome
from gradflow.saddles.ways import half_way

EPSILON = 1e-4
"""How large a new column is, relative to what it grows to, when the flow takes over."""
VANISHING = 1e-8
"""Below which part of its column a minor counts as 0."""


class Node(NamedTuple):
    """A saddle.

    Attributes:
      q: (rows, k) its columns.
      place: loss, F and W there.
      rates: eigenvalues of F on the null space, falling.
      modes: their vectors.
      growth: the largest rate of the flow of its own columns; positive at no minimum of its rank.
      decay: the smallest rate at which that flow comes to it; infinite at 0.
    """

    q: np.ndarray
    place: Place
    rates: np.ndarray
    modes: np.ndarray
    growth: float
    decay: float

    @property
    def w(self) -> np.ndarray:
        """W."""
        return self.place.product

    @property
    def rank(self) -> int:
        """Its rank."""
        return self.q.shape[1]

    @property
    def loss(self) -> float:
        """The loss."""
        return float(self.place.loss)


class Walk(NamedTuple):
    """What was found: saddles, jumps between them, exponents of the columns left; how it ended."""

    nodes: list[Node]
    jumps: list[Jump]
    exponents: list[np.ndarray]
    outcome: SaddleOutcome
    reason: str


def walk(
    columns: AbstractColumns, start: np.ndarray, *, convex: bool, most: int, tie: float
) -> Walk:
    """Go from saddle to saddle.

    Args:
      columns: the flow.
      start: Q(0) / sqrt(alpha).
      convex: whether the loss is a convex function of W.
      most: after how many jumps to stop.
      tie: times whose ratio is closer to 1 count as equal.
    """
    flag, width = start_flag(start), start.shape[1]
    nodes = [_node(columns, start[:, :0], width)]
    scale = float(np.max(np.abs(nodes[0].rates)))
    jumps: list[Jump] = []
    exponents: list[np.ndarray] = []
    tau = offset = 0.0  # of the last event: the end of an orbit
    doubts, carried = [Terms()] * flag.columns.shape[1], Terms()
    while True:
        node = nodes[-1]
        exponents.append(flag.exponents)
        paired = pair(flag, node.modes, VANISHING) if flag.columns.shape[1] else None
        end = _end(node, flag, paired, scale, convex, tie, len(jumps), most)
        if end is not None:
            return Walk(nodes, jumps, exponents, *end)
        assert paired is not None
        mu = node.rates[: len(flag.exponents)]
        plateau = flag.exponents[0] / mu[0]
        size = _size(columns, node, width)
        wait = (np.log(EPSILON * size) - paired.logs[0]) / mu[0]
        margin = _margin(flag.exponents, mu)
        rest = jumps[-1].orbit.times[-1] - jumps[-1].half if jumps else None
        small = _grown(flag, paired, node, plateau, wait)
        direction = node.modes[:, 0]
        main = np.concatenate([node.q, EPSILON * size * direction[:, None]], axis=1)
        orbit = follow(columns, main, small.columns, scale=scale, rate=float(mu[0]))
        following = _node(columns, _full_rank(orbit.main), width)
        if not orbit.settled and not _is_near(following, orbit, scale):
            reason = "the way to the next saddle did not come to rest"
            return Walk(nodes, jumps, exponents, SaddleOutcome.SLOW_ORBIT, reason)
        half = half_way(orbit, following.loss)
        doubts = _impure(flag, paired, node, plateau, wait, rest, orbit.lean, doubts)
        own, doubts = _doubted(small, mu, doubts, size, node, half, plateau, wait, jumps)
        carried = carried.with_all(own)
        tau += plateau
        jump_offset = offset + wait + half
        jumps.append(Jump(tau, jump_offset, margin, direction, orbit, half, carried))
        offset += wait + orbit.times[-1]
        flag = Flag(orbit.small, small.exponents, small.logs + orbit.logs)
        nodes.append(following)


def _node(columns: AbstractColumns, q: np.ndarray, width: int) -> Node:
    """A saddle from a point close to it."""
    q, curvature = polish(columns, q, width)
    here = place(columns, q, width)
    basis = np.linalg.qr(q, mode="complete")[0][:, q.shape[1] :] if q.shape[1] else np.eye(len(q))
    rates, vectors = np.linalg.eigh(basis.T @ here.operator @ basis)
    return Node(q, here, rates[::-1], basis @ vectors[:, ::-1], *growth_and_decay(curvature))


def _is_near(node: Node, orbit: Orbit, scale: float) -> bool:
    """Whether a slow way has come so close to a last saddle that Newton's method finds it."""
    rest = float(orbit.losses[-1] - node.place.loss)
    slope = np.linalg.norm(node.place.operator @ node.q)
    last = not len(node.rates) or bool(node.rates[0] <= NULL * scale)
    still = bool(slope <= 1e-10 * scale * np.linalg.norm(node.q))
    return last and still and 0 <= rest < 1e-6 * float(orbit.losses[0] - node.place.loss)


def _end(
    node: Node, flag: Flag, paired: Pairing | None, scale: float, convex: bool, tie: float,
    jumps: int, most: int,
) -> tuple[SaddleOutcome, str] | None:  # fmt: skip
    """How the path ends here, and why; None if it goes on."""
    top = float(node.rates[0]) if len(node.rates) else -np.inf
    rank = node.rank
    if node.growth > 1e-6 * scale:
        return SaddleOutcome.NOT_A_MINIMISER, (
            f"the saddle of rank {rank} is no minimum among matrices of its rank: its own columns "
            f"leave it at the rate {node.growth:.3g}"
        )
    if top <= NULL * scale:
        if convex or top < -NULL * scale:
            return SaddleOutcome.MINIMUM, (
                f"no direction grows at the saddle of rank {rank} by more than {NULL:.0e} of the "
                "first rates"
            )
        return SaddleOutcome.ZERO_RATE, (
            f"the largest rate at the saddle of rank {rank} is 0, and the loss is not known to be "
            "convex: what follows, if anything, takes a power of 1/alpha"
        )
    if rank < jumps:
        return SaddleOutcome.RANK_FELL, (
            f"after {jumps} jumps the rank is {rank}, and a direction grows at the rate {top:.3g}"
        )
    if paired is None:
        return SaddleOutcome.OUT_OF_COLUMNS, (
            f"the start has {rank} columns, but a direction still grows at the rate {top:.3g}"
        )
    if paired.vanishing[0]:
        if rank == 0:
            return SaddleOutcome.NO_OVERLAP, (
                "the start has nothing of the direction that grows fastest, to rounding: an exact "
                "flow takes another one, and one in floating point does not"
            )
        return SaddleOutcome.VANISHING_MINOR, (
            f"the {rank + 1}-th leading minor vanishes, to rounding: smaller powers of alpha decide"
        )
    if len(flag.exponents) > 1 and _margin(flag.exponents, node.rates) - 1 < tie:
        return SaddleOutcome.TIE, (
            f"two columns come up at one time, within a ratio of 1 + {tie:.1g}, at the saddle of "
            f"rank {rank}"
        )
    if jumps >= most:
        return SaddleOutcome.OUT_OF_JUMPS, f"at most {most} jumps were asked for"
    return None


def _margin(exponents: np.ndarray, rates: np.ndarray) -> float:
    """The time of the second column against that of the first."""
    if len(exponents) < 2 or rates[1] <= 0:
        return np.inf
    return float(exponents[1] / rates[1] / (exponents[0] / rates[0]))


def _size(columns: AbstractColumns, node: Node, width: int) -> float:
    """The size at which a new column begins to feel itself: v^T F v falls to 0 there."""
    v = node.modes[:, :1]
    step = 1e-3 * max(1e-3, float(np.linalg.norm(node.q)))
    moved = place(columns, np.concatenate([node.q, step * v], axis=1), width).operator
    fall = node.rates[0] - float((v.T @ moved @ v)[0, 0])
    size = step * np.sqrt(node.rates[0] / fall) if fall > 0 else np.inf
    return float(min(size, max(1.0, np.linalg.norm(node.q)) * 1e2))


def _full_rank(q: np.ndarray) -> np.ndarray:
    """Fewer columns of the same Q Q^T, if some have vanished."""
    u, s, _ = np.linalg.svd(q, full_matrices=False)
    kept = s > 1e-4 * s[0]
    return (u * s)[:, kept] if not np.all(kept) else q


def _grown(flag: Flag, paired: Pairing, node: Node, plateau: float, wait: float) -> Flag:
    """All columns but the first, at the end of a plateau: each a mode, or those of one rate."""
    count = len(flag.exponents)
    mu, top = node.rates[:count], float(np.max(np.abs(node.rates)))
    same = np.abs(node.rates[:, None] - mu) < SAME * top
    directions = node.modes @ np.where(same, paired.mixed, 0.0)
    exponents, logs = flag.exponents - mu * plateau, paired.logs + mu * wait
    gone = np.flatnonzero(paired.vanishing)
    last = int(gone[0]) + 1 if len(gone) else count  # the column that vanishes ends the path later
    return Flag(directions[:, 1:last], exponents[1:last], logs[1:last])


def _impure(
    flag: Flag, paired: Pairing, node: Node, plateau: float, wait: float, rest: float | None,
    lean: np.ndarray, doubts: list[Terms],
) -> list[Terms]:  # fmt: skip
    """What the logarithms of columns are in doubt by, at the end of a plateau.

    A column's part in a slower mode falls like exp(-(mu_p - mu_j) t) beside its own, from what it
    was at the jump (`rest` before the orbit's end, and at most 1: what is left at the end may be
    rounding), and counts by what the way makes of it. The next column took part in its pivot by the
    square of its relative size.
    """
    count, rates = len(flag.exponents), node.rates
    top, since, found = float(np.max(np.abs(rates))), wait + (rest or 0.0), []
    for p, doubt in enumerate(doubts[: len(lean) + 1]):
        for j in range(p + 1, len(rates)):
            gap, part = rates[p] - rates[j], abs(paired.mixed[j, p])
            if gap < SAME * top or part == 0:
                continue
            log = np.log(part) if rest is None else min(np.log(part) + gap * rest, 0.0)
            if p > 0 and j <= len(lean):
                log += np.log(max(abs(lean[p - 1, j - 1]), 1.0))
            doubt = doubt.plus(log - gap * since, gap * plateau)
        for i in range(max(p - 1, 0), min(p + 1, count - 1)):  # the one's gain is the other's loss
            apart = flag.exponents[i + 1] - flag.exponents[i]
            doubt = doubt.plus(2 * paired.corrections[i], 2 * apart)
        found.append(doubt)
    return found


def _doubted(
    small: Flag, mu: np.ndarray, doubts: list[Terms], size: float, node: Node, half: float,
    plateau: float, wait: float, jumps: list[Jump],
) -> tuple[Terms, list[Terms]]:  # fmt: skip
    """The error of a jump's time, in excess of that of the one before; and those of the rest."""
    first = doubts[0].plus(np.log(FLOOR), 0.0)
    if len(small.exponents):  # the next column, when this one is large
        growth = mu[1] * (half if mu[1] > 0 else 0.0)
        log = 2 * (small.logs[0] + growth - np.log(size))
        first = first.plus(log, 2 * small.exponents[0])
    if jumps:  # what was left of the way to the saddle, which the operator felt
        off = np.linalg.norm(jumps[-1].orbit.operator - node.place.operator, 2) / node.decay
        if off > 0:
            first = first.plus(np.log(off) - node.decay * (wait + half), node.decay * plateau)
    own = first.times(1 / mu[0])
    rest = [doubt.with_all(own.times(abs(m))) for doubt, m in zip(doubts[1:], mu[1:], strict=False)]
    return own, rest
