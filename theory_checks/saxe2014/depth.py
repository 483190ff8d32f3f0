r"""Saxe, McClelland and Ganguli 2014: a mode of N equal layers, and how long it takes to be learnt.

a' = N a^(2 - 2/N) (s - a). From a small a_0 the time to a fixed share of s is that which the mode
spends near a_0: 1/(2s) ln(1/a_0) at N = 2, a_0^-(1 - 2/N) / ((N - 2) s) beyond. Their ratio tends
to 1 like 1/ln(1/a_0) at N = 2; the difference of two times is right to order a_0 at every depth.
"""

from collections.abc import Iterator
from functools import cache, reduce

import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Settings, claim, roundings

from ._networks import Run, aligned_start, data, follow, velocity
from .modes import passing

SCALES = (1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths to start from."""
POINTS = np.linspace(0.0, 1.0, 30)
"""Where the velocity is looked at, as shares of a flow's time."""


@cache
def runs(seed: int, depth: int) -> tuple[Run, ...]:
    """Flows of all layers from equal ones, one for each of `SCALES`."""
    rng = np.random.default_rng([seed, 2016, depth])
    values = np.sort(rng.uniform(0.8, 2.0, 2))[::-1]
    given = data(rng, (3, 2), values)
    found = []
    for scale in SCALES:
        layers = [np.full(2, scale ** (1 / depth))] * depth
        start = aligned_start(rng, given, 3, layers)
        horizon = 1.3 * float(gf.exact.time_to_share(0.9, scale, values[-1], depth))
        found.append(follow(f"depth {depth}, a_0 = {scale:g}", given, start, horizon))
    return tuple(found)


@claim(
    "saxe2014.depth",
    kind="limit",
    where="the time course of a mode in a deeper network, from equal weights",
    statement=r"\dot a = N a^{2-2/N}(s - a);\quad T \sim \frac{1}{2s}\ln\frac1{a_0}\ (N = 2),\quad "
    r"T \sim \frac{a_0^{-(1-2/N)}}{(N-2)\,s}\ (N \ge 3) \text{ from } a_0 \to 0 "
    r"\text{ to a share of } s",
    control={"shift": 0.1},
    control_text="the exponent 2.1 - 2/N, in the times, too",
    resolution=1e-3,
)
def depth(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """Velocities by the chain rule, strengths against the library's, and times at four scales."""
    depths = (2, 3) if settings.quick else (2, 3, 4)
    for n in (*depths, 5) if settings.full else depths:
        found = runs(settings.seed, n)
        yield from _motion(found[0], n, shift)
        yield _times(found, n, shift)


def _motion(run: Run, n: int, shift: float) -> Iterator[Case]:
    """The velocity of a mode, and its course beside the library's."""
    times = POINTS * run.horizon
    a, s = run.strengths(times), run.given.s
    speeds = np.array([_speed(run, float(t)) for t in times])
    formula = n * a ** (2 - 2 / n + shift) * (s - a)
    size = n * a ** (2 - 2 / n) * s
    size_of = float(run.given.y.shape[0] * run.given.x.shape[0])
    yield Case(
        name=f"{run.name}: velocity",
        residual=((speeds - formula) / size).ravel(),
        floor=roundings(1e-12, "N matrices whose alignment has the flow's errors"),
        hypotheses=run.equal,
        size=size_of,
    )  # fmt: skip
    library = gf.exact.singular_value_flow(times[:, None], a[0], s, depth=n)
    yield Case(
        name=f"{run.name}: singular_value_flow",
        residual=((a - library) / s).ravel(),
        floor=np.broadcast_to(run.error(times) / s, a.shape).ravel(),
        hypotheses=run.equal,
        size=size_of,
    )


def _speed(run: Run, t: float) -> np.ndarray:
    """The velocities of both modes: of a product, one layer's at a time."""
    factors = run.factors(t)
    total = np.zeros((len(run.given.y), len(run.given.x)))
    for k, moved in enumerate(velocity(factors, run.given)):
        total += reduce(lambda w, f: f @ w, [*factors[:k], moved, *factors[k + 1 :]])
    return np.einsum("ir,ij,jr->r", run.given.u, total, run.given.v)


def _spent(n: int, shift: float) -> np.ndarray:
    """Times from each of `SCALES` as printed, times s; `shift` in the exponent."""
    p, scales = 1 - 2 / n + shift, np.array(SCALES)
    return np.log(1 / scales) / n if p == 0 else scales**-p / (n * p)


def _times(found: tuple[Run, ...], n: int, shift: float) -> Case:
    """Differences of the times to half of s from neighbouring scales, over what is printed."""
    s = found[0].given.s
    printed, spent = _spent(n, 0.0), _spent(n, shift)
    tight, coarse = (
        np.array([passing(run, np.array([0.5]), way)[0] for run in found]) for way in (False, True)
    )
    right = np.diff(spent)[:, None] / s
    ratios, rough = np.diff(tight, axis=0) / right, np.diff(coarse, axis=0) / right
    # Each smaller scale changes the ratio at least three times less than the one before.
    plain = np.abs(np.diff(np.diff(tight, axis=0) / (np.diff(printed)[:, None] / s), axis=0))
    falls = bool(np.all(plain[1] < plain[0] / 3))
    floor = plain[1] / 3 + np.abs(ratios - rough).max() if falls else np.zeros(s.size)
    return Case(
        name=f"depth {n}: differences of times",
        residual=ratios[-1] - 1,
        floor=floor,
        hypotheses={
            **found[-1].equal,
            "a_0 is small": ByConstruction(f"{SCALES[-1]:g}, and s above 0.8"),
        },
        size=float(n),
        notes="T, of the stronger mode, over what is printed: "
        + ", ".join(
            f"{x:.4f} at {a:g}" for x, a in zip(tight[:, 0] / (printed / s[0]), SCALES, strict=True)
        ),
    )
