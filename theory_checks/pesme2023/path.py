r"""Pesme and Flammarion 2023: the limit of a vanishing start, whose end has the least l1 norm.

beta = u * v from u = sqrt(2) alpha 1, v = 0; loss ||X beta - y||^2 / 2n; times t = ln(1/alpha) tau.
The dual s = eta / ln(1/alpha) moves along -grad L(beta) with |s_i| <= 1; beta is the least loss
over entries whose s_i is +1 (then >= 0) or -1 (then <= 0); it jumps when another |s_i| comes to 1,
and an entry may leave again.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Measured, Settings, claim

from ..limit import _diagonal
from ..limit._diagonal import Network, Node, apart, flow
from ..limit._library import FLOOR, library_taus

LOGS = (-150.0, -250.0, -350.0)
"""Logarithms of alpha^2, the scale of beta at the start."""
JUMPS = 2


class Run(NamedTuple):
    """A regression, its saddles and what flows do.

    Attributes:
      x: inputs.
      y: targets.
      nodes: the saddles by the paper's algorithm, with times in its units.
      slopes: (2, jumps) differences of times at two alphas, divided by those of ln(1/alpha).
      middles: (alphas, jumps) distance of beta from the saddle in the middle of a plateau.
    """

    x: np.ndarray
    y: np.ndarray
    nodes: list[Node]
    slopes: np.ndarray
    middles: np.ndarray


def network(x: np.ndarray, y: np.ndarray) -> Network:
    """The same in w_+ = (u + v)/2 and w_- = (u - v)/2, at the speed of the loss ||.||^2 / 2.

    There beta = 2 a^2 alpha^2 sinh(4 eta') with a = 1/sqrt(2): eta' = eta / 2, and t' = n t / 2.
    """
    half = np.full(x.shape[1], 2**-0.5)
    return Network(x, y, 2, half, half)


def saddles(x: np.ndarray, y: np.ndarray, leaving: bool = True) -> list[Node]:
    """The algorithm, with times in its units.

    ln(1/alpha) is half ln(1/alpha^2), and 1/4 the threshold of eta' there: t = 2 t' / n.
    """
    nodes = _diagonal.path(network(x, y), leaving=leaving)
    unit = 4 * len(y)
    return [node._replace(tau=unit * node.tau) for node in nodes]


@cache
def runs(seed: int, count: int) -> list[Run]:
    """Random regressions whose first plateaus are well apart."""
    found, rng = [], np.random.default_rng([seed, 488])
    while len(found) < count:
        x, y = rng.normal(size=(3, 5)), rng.normal(size=3)
        nodes = saddles(x, y)
        if not apart(nodes, JUMPS, 0.4):
            continue
        net, losses = network(x, y), np.array([node.loss for node in nodes[: JUMPS + 1]])
        goals, unit = (losses[:-1] + losses[1:]) / 2, 2 / (4 * len(y))
        taus = np.array([node.tau for node in nodes])
        times, middles = [], []
        for log in LOGS:
            clock = -log / 2  # ln(1/alpha)
            end = 1.3 * taus[JUMPS] * clock * unit + 20
            seen, dual = flow(net, log, end, goals)
            times.append(seen / unit)
            halves = (taus[:JUMPS] + taus[1 : JUMPS + 1]) / 2 * clock * unit
            betas = [_diagonal.sides(net, log, dual(t))[0] for t in halves]
            gaps = [np.max(np.abs(b - node.beta)) for b, node in zip(betas, nodes, strict=False)]
            middles.append(gaps)
        slopes = np.diff(times, axis=0) / (-np.diff(LOGS)[:, None] / 2)
        found.append(Run(x, y, nodes, slopes, np.array(middles)))
    return found


@claim(
    "pesme2023.path",
    kind="limit",
    where="the theorem on the limit, and its algorithm",
    statement=r"t = \ln(1/\alpha)\,\tau,\ \alpha \to 0:\quad \frac{ds}{d\tau} = -\nabla L(\beta),\ "
    r"|s_i| \le 1,\quad \beta = \mathrm{argmin}\{L : \beta_i \ge 0 \text{ where } s_i = 1,\ "
    r"\le 0 \text{ where } s_i = -1,\ \text{else } 0\},\quad "
    r"\text{jumps where another } |s_i| \text{ comes to } 1",
    control={"level": 1.1},
    control_text="|s_i| = 1.1",
    resolution=2e-2,
)
def path(settings: Settings, level: float = 1.0) -> Iterator[Case]:
    """The first jumps from alpha = e^-75, e^-125 and e^-175, by SciPy in the dual.

    Times at two alphas give the algorithm's numbers. In the middle of plateaus beta is at the
    saddle. The change from the one before is what is left where each is twice as near. The
    library's path is beside them.
    """
    for run in runs(settings.seed, 4 if settings.full else 2):
        taus = np.array([node.tau for node in run.nodes[1 : JUMPS + 1]])
        changes, flatter = (np.abs(row[-1] - row[-2]) for row in (run.slopes, run.middles))
        name = f"{run.x.shape[0]} data, {run.x.shape[1]} entries"
        scale = max(float(np.max(np.abs(node.beta))) for node in run.nodes)
        yield Case(
            name=name,
            residual=np.append(
                np.abs(run.slopes[-1] / (level * taus) - 1), run.middles[-1] / scale
            ),
            floor=np.append(changes / taus + 1e-6, flatter / scale + 1e-9),
            hypotheses={"u(0) = sqrt(2) alpha, v(0) = 0": ByConstruction("the dual's equations")},
            size=float(run.x.size),
            witness=lambda at, run=run: {"X": run.x.tolist(), "y": run.y.tolist()},
            notes=f"tau: measured {', '.join(f'{s:.6g}' for s in run.slopes[-1])}; by the "
            f"algorithm {', '.join(f'{s:.6g}' for s in taus)}",
        )
        yield _library(run, name, taus, level)


def _library(run: Run, name: str, taus: np.ndarray, level: float) -> Case:
    """The library's path of the same network; its loss and its units are its own."""
    found = library_taus(network(run.x, run.y), JUMPS) * 4 * len(run.y)
    return Case(
        name=f"{name}: the library's path",
        residual=np.abs(found / (level * taus) - 1),
        floor=FLOOR,
        hypotheses={"all jumps": Measured(float(len(found)), above=JUMPS - 0.5)},
        size=float(run.x.size) + 1,
    )


@claim(
    "pesme2023.l1",
    kind="limit",
    where="the theorem on the limit; where it ends",
    statement=r"\lim_{\tau \to \infty} \beta = \mathrm{argmin}\{\|\beta\|_1 : X\beta = y\}",
    control={"leaving": False},
    control_text="entries that have come never leave",
    resolution=1e-6,
)
def least_l1(settings: Settings, leaving: bool = True) -> Iterator[Case]:
    """The ends of many paths against linear programming, with the gap to its dual as the floor."""
    rng = np.random.default_rng([settings.seed, 1])
    for n, size in ((3, 5), (4, 6), (5, 8)):
        excess, floors, rising = [], [], []
        for _ in range(60 if settings.full else 20):
            x, y = rng.normal(size=(n, size)), rng.normal(size=n)
            nodes = saddles(x, y, leaving=leaving)
            least = gf.exact.minimum_l1_norm(gf.LeastSquares(x, y))
            end = nodes[-1].beta
            misfit = float(np.linalg.norm(x @ end - y) / np.linalg.norm(y))
            excess.append(float(np.sum(np.abs(end))) / least.value - 1)
            floors.append(least.gap + 10 * misfit + 1e-12)
            rising.append(np.count_nonzero(end))
        yield Case(
            name=f"{len(excess)} regressions of {n} data, {size} entries",
            residual=np.abs(excess),
            floor=np.array(floors),
            hypotheses={"more entries than data": ByConstruction("their numbers")},
            size=float(n * size),
            notes=f"entries at the end: {min(rising)} to {max(rising)}",
        )
