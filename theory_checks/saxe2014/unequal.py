r"""Saxe, McClelland and Ganguli 2014: a mode whose two layers are unequal moves on a hyperbola.

w_2^2 - w_1^2 = c is conserved in each mode, so that with c > 0 the ratio x = w_1/w_2 obeys
x' = s - c x - s x^2; with x = tanh(theta/2), a = w_1 w_2 = (c/2) sinh(theta). c < 0 is the other
way round.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

from gradflow.claims import Case, Measured, Settings, claim

from . import _proofs
from ._networks import Run, aligned_start, data, follow

HORIZON = 5.0
TIMES = np.linspace(0.0, HORIZON, 26)[1:]
FARTHEST = 0.99
"""Modes are timed up to this share of their strength in Sigma; later their digits lose time."""


@cache
def runs(seed: int, full: bool) -> tuple[Run, ...]:
    """Flows from aligned layers, the second the larger in each mode; one starts with a < 0."""
    found = []
    shapes = [((2, 2), 2), ((4, 5), 3)] + [((8, 6), 6)] * full
    for index, ((m, n), hidden) in enumerate(shapes):
        rng = np.random.default_rng([seed, 2015, index])
        modes = min(m, n, hidden)
        given = data(rng, (m, n), np.sort(rng.uniform(0.7, 3.0, min(m, n)))[::-1])
        second = rng.uniform(0.5, 1.5, modes)
        first = second * rng.uniform(0.05, 0.6, modes)
        first[-1] *= -1
        start = aligned_start(rng, given, hidden, [first, second])
        found.append(follow(f"{m}x{n}, {hidden} hidden", given, start, HORIZON))
    return tuple(found)


def weights(run: Run, coarse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Each mode's w_1^2 and w_2^2 at all times: v_r^T W_1^T W_1 v_r and u_r^T W_2 W_2^T u_r."""
    modes = min(len(run.given.s), len(run.start[0]))
    u, v = run.given.u[:, :modes], run.given.v[:, :modes]
    pairs = [run.factors(float(t), coarse) for t in (0.0, *TIMES)]
    return (
        np.array([np.sum((first @ v) ** 2, axis=0) for first, _ in pairs]),
        np.array([np.sum((u.T @ second) ** 2, axis=1) for _, second in pairs]),
    )


@claim(
    "saxe2014.unequal",
    kind="conservation",
    where="the time course of a mode in three layers of neurons, from unequal weights",
    statement=r"w_2^2 - w_1^2 = c \text{ stays};\ c > 0,\ K = \sqrt{c^2 + 4s^2} \Rightarrow "
    r"t = \frac1K\left[\ln\frac{K + c + 2s\,w_1/w_2}{K - c - 2s\,w_1/w_2}\right]_0^t",
    control={"four": 4.4},
    control_text="K^2 = c^2 + 4.4 s^2",
)
def unequal(settings: Settings, four: float = 4.0) -> Iterator[Case]:
    """Along flows of all weights, by SciPy; c and times against the clock."""
    yield _proofs.unequal(four)
    for run in runs(settings.seed, settings.full):
        (one, two), (rough_one, rough_two) = weights(run), weights(run, coarse=True)
        s = run.given.s[: one.shape[1]]
        c = two[0] - one[0]
        hypotheses = {**run.aligned, "c > 0": Measured(float(c.min()), above=0.0)}
        size = float(run.given.y.shape[0] * run.given.x.shape[0])
        error = max(np.abs(one - rough_one).max(), np.abs(two - rough_two).max()) + 1e-15
        yield Case(
            name=f"{run.name}: w_2^2 - w_1^2",
            residual=((two - one - c) / two[0]).ravel(),
            floor=2 * error / float(two[0].min()),
            hypotheses=hypotheses,
            size=size,
        )
        strengths = run.strengths(np.array([0.0, *TIMES]))
        x, rough = strengths / two, run.strengths(np.array([0.0, *TIMES]), coarse=True) / rough_two
        moving = strengths[1:] < FARTHEST * s
        clock = np.broadcast_to(TIMES[:, None], moving.shape)[moving]
        found, coarse = (_clock(ratio, c, s, four)[moving] for ratio in (x, rough))
        yield Case(
            name=f"{run.name}: times",
            residual=(found - clock) / clock,
            floor=float(np.max(np.abs(found - coarse) / clock)) + 1e-13,
            hypotheses=hypotheses,
            size=size,
            witness=lambda at, clock=clock, found=found: {
                "t": float(clock[at]), "formula": float(found[at])
            },
        )  # fmt: skip


def _clock(x: np.ndarray, c: np.ndarray, s: np.ndarray, four: float) -> np.ndarray:
    """The printed time from the first row of ratios to each later one."""
    k = np.sqrt(c**2 + four * s**2)
    with np.errstate(invalid="ignore", divide="ignore"):  # modes that have arrived are left out
        ends = np.log((k + c + 2 * s * x) / (k - c - 2 * s * x)) / k
    return ends[1:] - ends[0]
