r"""Saxe, McClelland and Ganguli 2014: one mode of a two-layer network, from equal layers.

With whitened inputs, loss 1/2 ||Y - W_2 W_1 X||_F^2 and layers that are aligned with Sigma = Y X^T
and equal, the strength a of a mode in W_2 W_1 obeys a' = 2 a (s - a), s that in Sigma: logistic.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

import gradflow as gf
from gradflow.claims import Case, Measured, Settings, claim

from . import _proofs
from ._networks import Run, aligned_start, data, follow

SIZES = (((3, 3), 3), ((4, 5), 3), ((5, 2), 4))
"""(m, n) and hidden neurons; with fewer of these than sides, a mode of Sigma does not start."""
MORE = (((8, 6), 6), ((10, 12), 10))
HORIZON = 12.0
SHARES = np.array([0.01, 0.1, 0.5, 0.9, 0.99])


@cache
def runs(seed: int, full: bool) -> tuple[Run, ...]:
    """Flows from aligned equal layers, all modes from strengths of their own."""
    found = []
    for index, ((m, n), hidden) in enumerate(SIZES + (MORE if full else ())):
        rng = np.random.default_rng([seed, 2014, index])
        values = np.sort(rng.uniform(0.7, 3.0, min(m, n)))[::-1]
        first = 10 ** rng.uniform(-4, -2.2, min(m, n, hidden))
        given = data(rng, (m, n), values)
        start = aligned_start(rng, given, hidden, [np.sqrt(first)] * 2)
        found.append(follow(f"{m}x{n}, {hidden} hidden", given, start, HORIZON))
    return tuple(found)


def logistic(t: np.ndarray, a0: np.ndarray, s: np.ndarray, rate: float = 2.0) -> np.ndarray:
    """The printed solution, with e^(-2st) so that nothing overflows."""
    left = np.exp(-rate * s * t)
    return s / (1 - left + s / a0 * left)


@claim(
    "saxe2014.mode",
    kind="identity",
    where="the time course of a mode in three layers of neurons, from equal weights",
    statement=r"\dot a = 2a(s - a),\quad a(t) = \frac{s\,e^{2st}}{e^{2st} - 1 + s/a_0}",
    control={"rate": 2.2},
    control_text="2.2 instead of 2",
)
def mode(settings: Settings, rate: float = 2.0) -> Iterator[Case]:
    """Flows of all weights, by SciPy; the floor is what a hundredfold tolerance changes."""
    yield _proofs.mode(rate)
    times = np.linspace(0.0, HORIZON, 61)
    for run in runs(settings.seed, settings.full):
        found, error = run.strengths(times), run.error(times)
        a0, s = found[0], run.given.s[: found.shape[1]]
        gaps = found - logistic(times[:, None], a0, s, rate)
        library = found - gf.exact.singular_value_flow(times[:, None], a0, s, depth=2)
        for name, gap in ((run.name, gaps), (f"{run.name}: singular_value_flow", library)):
            yield Case(
                name=name,
                residual=(gap / s).ravel(),
                floor=np.broadcast_to(error / s, gap.shape).ravel(),
                hypotheses=run.equal,
                size=float(run.given.y.shape[0] * run.given.x.shape[0]),
                witness=lambda at, a0=a0, s=s: {
                    "t": float(times[at // s.size]),
                    "a_0": float(a0[at % s.size]),
                    "s": float(s[at % s.size]),
                },
            )


@claim(
    "saxe2014.time",
    kind="identity",
    where="the time that a mode takes in three layers of neurons, from equal weights",
    statement=r"a(t) = a_f \iff t = \frac{1}{2s}\ln\frac{a_f(s - a_0)}{a_0(s - a_f)}",
    control={"rate": 2.2},
    control_text="2.2 instead of 2",
)
def time(settings: Settings, rate: float = 2.0) -> Iterator[Case]:
    """When the strengths of the same flows pass 1 to 99 per cent of their ends."""
    yield _proofs.time(rate)
    for run in runs(settings.seed, settings.full):
        a0 = run.strengths(np.zeros(1))[0]
        s = run.given.s[: a0.size]
        tight, coarse = (passing(run, SHARES, way) for way in (False, True))
        ends = SHARES[:, None] * s
        printed = np.log(ends * (s - a0) / (a0 * (s - ends))) / (rate * s)
        library = gf.exact.time_to_share(SHARES[:, None], a0, s, depth=2)
        for name, right in ((run.name, printed), (f"{run.name}: time_to_share", library)):
            yield Case(
                name=name,
                residual=((tight - right) / tight).ravel(),
                floor=float(np.max(np.abs(tight - coarse) / tight)) + 1e-13,
                hypotheses={
                    **run.equal,
                    "a_0 < a_f < s": Measured(float(np.max(a0 / ends[0])), below=1.0),
                },
                size=float(run.given.y.shape[0] * run.given.x.shape[0]),
                witness=lambda at, s=s: {
                    "share of s": float(SHARES[at // s.size]),
                    "s": float(s[at % s.size]),
                },
            )


def passing(run: Run, shares: np.ndarray, coarse: bool = False) -> np.ndarray:
    """When each mode passes shares of its strength in Sigma: a row for each share."""
    s = run.given.s[: min(len(run.given.s), len(run.start[0]))]
    grid = np.linspace(0.0, run.horizon, 100)
    path = run.strengths(grid, coarse) / s

    def above(t: float, mode: int, share: float) -> float:
        return float(run.strengths(np.array([t]), coarse)[0, mode] / s[mode] - share)

    found = np.empty((len(shares), s.size))
    for k, share in enumerate(shares):
        for mode in range(s.size):
            at = int(np.argmax(path[:, mode] > share))
            ends = grid[at - 1], grid[at]
            root: Any = brentq(above, *ends, args=(mode, share), xtol=1e-14)
            found[k, mode] = root
    return found
