r"""Li, Luo and Lyu 2021: after the first phase, greedy low-rank learning.

Where the trajectory of rank one ends in a point that is no minimiser, the next phase starts along
the top eigenvector of -grad f there, with one column more. The paper proves the first phase and
leads from each to the next under assumptions; here flows from tiny starts are followed past two.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from gradflow.claims import Case, Measured, Settings, claim

from ._columns import pieces
from ._greedy import Node, chains, pairing
from ._problems import Posed

LOGS = (-45.0, -70.0)
"""Logarithms of alpha."""
LEAVING = -9.0
"""The logarithm of the second column's length at which its direction is looked at."""


class Passage(NamedTuple):
    """What flows from two alphas do at the first two points that greedy learning visits.

    Attributes:
      posed: the problem.
      nodes: the points.
      distances: (alphas, 2) nearest distances, relative to the points' norms.
      angles: (alphas, 2) sines of the angle between the second column, as it leaves, and the top
        eigenvector of -grad f at the first point; and that at 0.
    """

    posed: Posed
    nodes: list[Node]
    distances: np.ndarray
    angles: np.ndarray


def _passage(posed: Posed, nodes: list[Node], log_alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Nearest distances and angles at one alpha."""
    lengths = [plateau for plateau, _ in pairing(nodes, len(posed.start))]
    end = -log_alpha * sum(lengths[:2]) + 25 / nodes[1].rates[0] + 20 / nodes[2].decay
    points = [node.w for node in nodes[1:3]]
    near, angles, before = np.full(2, np.inf), np.full(2, np.nan), np.inf
    stale = nodes[1].vectors @ nodes[1].vectors.T @ nodes[0].vectors[:, 1]
    goals = [nodes[1].vectors[:, 0], stale / np.linalg.norm(stale)]
    for piece in pieces(posed, log_alpha, min(end, 2 * -log_alpha * sum(lengths[:2]))):
        for since in (piece.length / 2, piece.length):
            w = piece.gram(since)
            near = np.minimum(near, [np.linalg.norm(w - x) / np.linalg.norm(x) for x in points])
            q, logs = piece.columns(since)
            if logs[0] > -1 and before < LEAVING <= logs[1]:
                own = nodes[1].vectors.T @ q[:, 1]
                own = nodes[1].vectors @ own / np.linalg.norm(own)
                sides = [np.linalg.norm(own - (own @ goal) * goal) for goal in goals]
                angles = np.array(sides)
            before = logs[1]
    return near, angles


@cache
def passages(seed: int, count: int) -> list[Passage]:
    """Of some random problems."""
    found = []
    for posed, nodes in chains(seed, count):
        seen = [_passage(posed, nodes, log) for log in LOGS]
        near, angles = (np.array(part) for part in zip(*seen, strict=True))
        found.append(Passage(posed, nodes, near, angles))
    return found


@claim(
    "li2021.glrl",
    kind="limit",
    where="the algorithm, and its phases beyond the first",
    statement=r"W(0) = \alpha A A^\top,\ \alpha \to 0:\quad \text{the flow comes arbitrarily near "
    r"to } W_0 = 0, W_1, W_2, \dots \text{ and leaves } W_k \text{ along the top eigenvector of } "
    r"-\nabla f(W_k);\ W_{k+1}: \text{ the end of the flow of rank } k + 1 \text{ from there}",
    control={"stale": True},
    control_text="the second eigenvector at 0 instead of the first at W_1",
    resolution=1e-2,
)
def glrl(settings: Settings, stale: bool = False) -> Iterator[Case]:
    """Flows from e^-45 and e^-70, column by column, against a flow whose rank grows.

    Both by SciPy's DOP853. A ninth of the change is what is left where the smaller is ten times
    nearer.
    """
    for passage in passages(settings.seed, 6 if settings.full else 2):
        posed, nodes = passage.posed, passage.nodes
        angles = passage.angles[:, 0]
        gaps = np.column_stack([passage.distances, angles])
        shown = np.append(passage.distances[1], passage.angles[1, int(stale)])
        rates = nodes[1].rates
        # The integration's tolerance; the column that leaves moves others by its length squared.
        rest = np.array([1e-11, 1e-11, np.exp(2 * LEAVING)])
        yield Case(
            name=f"{posed.name}, rank {', '.join(str(node.u.shape[1]) for node in nodes)}",
            residual=shown,
            floor=np.abs(gaps[0] - gaps[1]) / 9 + rest,
            hypotheses={
                "W_1 and W_2 are minima of their rank": Measured(
                    max(node.growth for node in nodes[1:]), below=1e-12
                ),
                "W_1 is no minimiser: a rate above 0": Measured(float(rates[0]), above=0.0),
                "its largest rate is simple": Measured(float(1 - rates[1] / rates[0]), above=1e-2),
            },
            size=float(posed.start.size),
            witness=lambda at, passage=passage: {
                "W_1": passage.nodes[1].w.tolist(), "rates there": passage.nodes[1].rates.tolist(),
            },
            notes="relative distances from W_1 and W_2, and the sine of the angle: "
            + "; ".join(f"{a:.1g}, {b:.1g}, {c:.1g}" for a, b, c in gaps)
            + " at alpha = e^-45 and e^-70",
        )  # fmt: skip
