r"""The vanishing start of diagonal networks beta = w_+^N - w_-^N of any depth N >= 3 (ours).

With eta = -int G dt and r(w) = w^-(N-2) / (N (N-2)), r(w_+) + eta and r(w_-) - eta stay as they
are. From w = alpha^(1/N) a they are alpha^-(1-2/N) theta with theta = a^-(N-2) / (N (N-2)): in that
unit the dual moves along -G, an entry is 0 while its dual is between -theta_- and theta_+, and the
saddle is the least loss over entries with the signs of the thresholds that their duals are at.
Depth 2 has ln(1/alpha) and 1/4 instead: pesme2023. So from depth 3 on the start decides.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
import sympy
from scipy.integrate import solve_ivp

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.proofs import Proof, chain, prove_identity

from ._diagonal import Network, Node, apart, drawn, flow, path
from ._library import FLOOR, library_taus

LOGS = {3: (-14.0, -18.0, -22.0), 4: (-12.0, -16.0, -20.0), 5: (-12.0, -15.0, -18.0)}
"""Logarithms of alpha, by depth."""
JUMPS = 3
MOVES = 1e-2
"""How far a dual has to go for its flow to say something."""


class Run(NamedTuple):
    """Jumps of a network.

    Attributes:
      net: it.
      nodes: saddles, by the rule.
      slopes: (2, jumps) differences of times at two alphas, divided by those of the clock.
    """

    net: Network
    nodes: list[Node]
    slopes: np.ndarray


@cache
def runs(seed: int, depths: tuple[int, ...], count: int) -> list[Run]:
    """Random networks whose first jumps are well apart."""
    found = []
    for depth in depths:
        logs = LOGS[depth]
        rng = np.random.default_rng([seed, depth])
        for _ in range(count):
            nodes: list[Node] = []
            while not apart(nodes, JUMPS):
                net = drawn(rng, depth, (4, 6))
                nodes = path(net)
            losses = np.array([node.loss for node in nodes[: JUMPS + 1]])
            goals, end = (losses[:-1] + losses[1:]) / 2, 1.5 * nodes[JUMPS].tau
            seen = [flow(net, log, end * net.clock(log) + 50, goals)[0] for log in logs]
            clocks = np.diff([net.clock(log) for log in logs])
            found.append(Run(net, nodes, np.diff(seen, axis=0) / clocks[:, None]))
    return found


def conserved(more: int) -> Proof:
    """The same for N = n + 2 with w^n = q: r = 1 / (N n q), q' = n q w'/w, w' = -N q w G."""
    n, q, g = sympy.symbols("n q G", positive=True)
    depth = n + 2
    rate = n * q * (-depth * q * g)
    room = (1 + sympy.Rational(more, 10)) / (depth * n * q)
    return chain(
        "r(w_+) + eta and r(w_-) - eta are conserved, at every N >= 3",
        prove_identity("of w_+, with eta' = -G", room.diff(q) * rate - g),
        prove_identity("of w_-", room.diff(q) * -rate + g),
        cites=("the gradients of beta = w_+^N - w_-^N are N w^(N-1) G and -N w^(N-1) G",),
    )


@claim(
    "limit.dual",
    kind="conservation",
    where="ours; what diagonal networks conserve beside their dual",
    statement=r"\beta = w_+^N - w_-^N,\ \dot\eta = -G,\ N \ge 3 \Rightarrow \frac{w_\pm^{-(N-2)}}"
    r"{N(N-2)} \pm \eta \text{ stays}",
    control={"more": 1},
    control_text="a tenth more",
)
def dual(settings: Settings, more: int = 0) -> Iterator[Case]:
    """By algebra, for every depth; and along flows of the parameters, by SciPy."""
    yield Case(
        "every depth", proof=conserved(more), whole=True, size=1,
        hypotheses={"N >= 3": ByConstruction("a symbol n = N - 2 above 0")},
    )  # fmt: skip
    for depth in (3, 4, 5) if settings.full else (3, 4):
        rng, fine = np.random.default_rng([settings.seed, depth, 1]), np.zeros((1, 3, 1))
        while np.abs(fine[-1][2]).max() < MOVES:
            net = drawn(rng, depth, (2, 3))
            fine = parameters(net, 1e-12)
        coarse = parameters(net, 1e-10)
        sides, rough = (_kept(rows, depth, 1 + more / 10) for rows in (fine, coarse))
        yield Case(
            name=f"depth {depth}, {net.x.shape[0]} data, {net.x.shape[1]} entries",
            residual=((sides - sides[0]) / sides[0]).ravel(),
            floor=float(np.max(np.abs(sides - rough) / sides[0])) + 1e-14,
            hypotheses={
                "N >= 3": ByConstruction("depths 3 and more"),
                "the dual moves": Measured(float(np.abs(fine[-1][2]).max()), above=MOVES),
            },
            size=float(net.x.size),
        )


def parameters(net: Network, rtol: float) -> np.ndarray:
    """(records, 3, entries): w_+, w_- and eta of a flow from sizes `net.plus` and `net.minus`."""
    depth, size = net.depth, net.x.shape[1]

    @no_type_check
    def field(_: float, state: np.ndarray) -> np.ndarray:
        a, b = state[:size], state[size : 2 * size]
        g = net.x.T @ (net.x @ (a**depth - b**depth) - net.y)
        return np.concatenate([-depth * a ** (depth - 1) * g, depth * b ** (depth - 1) * g, -g])

    start, times = np.concatenate([net.plus, net.minus, np.zeros(size)]), np.linspace(0, 0.5, 6)
    found = solve_ivp(
        field, (0, times[-1]), start, "DOP853", t_eval=times, rtol=rtol, atol=1e-3 * rtol
    ).y.T
    return found.reshape(len(times), 3, size)


def _kept(rows: np.ndarray, depth: int, share: float) -> np.ndarray:
    """What is to stay of w_+ and of w_-, with `share` of the first term."""
    room = share * rows[:, :2] ** -(depth - 2.0) / (depth * (depth - 2))
    return room + np.array([1.0, -1.0])[:, None] * rows[:, 2:]


@claim(
    "limit.thresholds",
    kind="limit",
    where="ours; diagonal networks of depth 3 and more",
    statement=r"w_\pm(0) = \alpha^{1/N} a_\pm,\ N \ge 3:\quad t_k\, \alpha^{1-2/N} \to \tau_k,"
    r"\frac{d\eta}{d\tau} = -G(\beta),\ -\theta_- \le \eta \le \theta_+,\quad "
    r"\theta_\pm = \frac{a_\pm^{-(N-2)}}{N(N-2)},\quad "
    r"\beta = \mathrm{argmin}\{\ell : \beta_i \ge 0 "
    r"\text{ where } \eta_i = \theta_{+,i},\ \le 0 \text{ where } -\theta_{-,i},\ \text{else } 0\}",
    control={"more": 0.1},
    control_text="exponents of the start that are 0.1 off",
    resolution=1e-2,
)
def thresholds(settings: Settings, more: float = 0.0) -> Iterator[Case]:
    """The first three jumps at depths 3 and 4 (in full 5), by SciPy's Radau in the dual.

    At three alphas: times at two of them give the rule's numbers, as constants cancel. Half the
    change between pairs is what is left where the second is three times nearer. The library's path
    is beside them.
    """
    depths, count = ((3, 4, 5), 3) if settings.full else ((3, 4), 1)
    for run in runs(settings.seed, depths, count):
        net = run.net
        taus, shown = (
            np.array([node.tau for node in nodes[1 : JUMPS + 1]])
            for nodes in (run.nodes, path(net, more))
        )
        hypotheses = {
            "N >= 3": ByConstruction("depths 3 and more"),
            "all parameters above 0": Measured(
                float(min(net.plus.min(), net.minus.min())), above=0.0
            ),
        }
        yield Case(
            name=net.name,
            residual=np.abs(run.slopes[-1] / shown - 1),
            floor=np.abs(run.slopes[1] - run.slopes[0]) / taus / 2 + 1e-7,
            hypotheses=hypotheses,
            size=float(net.x.size),
            notes=f"t alpha^(1-2/N): measured {', '.join(f'{x:.7g}' for x in run.slopes[-1])}; by "
            f"the rule {', '.join(f'{x:.7g}' for x in taus)}",
        )  # fmt: skip
        found = library_taus(net, JUMPS)
        yield Case(
            name=f"{net.name}: the library's path",
            residual=np.abs(found / shown - 1),
            floor=FLOOR,
            hypotheses=hypotheses | {"all jumps": Measured(float(len(found)), above=JUMPS - 0.5)},
            size=float(net.x.size) + 1,
        )
