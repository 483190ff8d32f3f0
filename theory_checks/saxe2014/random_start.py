r"""Saxe, McClelland and Ganguli 2014: small random starts, as a limit with its rate (ours).

From factors alpha A_1, alpha A_2 the weights of mode r grow along p_r = (W_2^T u_r + W_1 v_r) / 2,
less what lies along those of the stronger modes, which have taken these neurons: with that
remainder q_r, a_r(t) tends to the logistic curve from |q_r|^2, uniformly in time, and the error is
of the order alpha^kappa, kappa = 2 min_r (1 - s_(r+1)/s_r). The plain |p_r|^2 would shift all modes
but the strongest by a time that does not vanish.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim

from ._networks import HYPOTHESES, data, follow
from .modes import logistic

SCALES = (1e-5, 1e-6, 1e-7)
OVERLAP = 0.3
"""Neighbours overlap by that at least, and a remainder is that long: what is left falls faster."""
OFFSETS = np.linspace(-5.0, 5.0, 81)
"""Around the time at which a mode appears, times its strength."""


class Seen(NamedTuple):
    """The largest errors at each scale, over modes and times.

    Attributes:
      errors: from the remainders' squared lengths.
      plain: from |p_r|^2.
      coarse: the first at a thirtyfold tolerance.
      sparse: the first with every second time left out.
      whitened: of the data.
      rest: the shortest remainder beside its p_r.
      overlap: the smallest cosine between p_r and p_(r+1).
    """

    errors: np.ndarray
    plain: np.ndarray
    coarse: np.ndarray
    sparse: np.ndarray
    whitened: Measured
    rest: float
    overlap: float


@cache
def seen(seed: int, ratio: float, modes: int) -> Seen:
    """Flows from one direction at all scales; strengths fall by a ratio from mode to mode."""
    rng = np.random.default_rng([seed, 2017, int(100 * ratio), modes])
    m, n, hidden = modes, modes + 1, modes + 1
    s = rng.uniform(1.5, 3.0) * ratio ** np.arange(modes)
    given = data(rng, (m, n), s)
    while True:
        first, second = rng.normal(size=(hidden, n)), rng.normal(size=(m, hidden))
        along = (second.T @ given.u + first @ given.v) / 2
        lengths = np.abs(np.diag(np.linalg.qr(along)[1]))
        unit = along / np.linalg.norm(along, axis=0)
        overlap = float(np.min(np.abs(np.sum(unit[:, 1:] * unit[:, :-1], axis=0))))
        rest = float(np.min(lengths / np.linalg.norm(along, axis=0)))
        if overlap > OVERLAP and rest > OVERLAP:
            break
    begin = np.stack([lengths, np.linalg.norm(along, axis=0)]) ** 2
    found: list[list[float]] = [[], [], [], []]
    for scale in SCALES:
        clock = (np.log(1 / scale) / s[:, None] + OFFSETS / s[:, None]).ravel()
        start = (scale * first, scale * second)
        run = follow("", given, start, float(clock.max()) + 0.1, rtol=3e-14, times=30)
        exact, plain = (logistic(clock[:, None], scale**2 * a0, s) for a0 in begin)
        tight, coarse = (run.strengths(clock, way) for way in (False, True))
        gaps = tight - exact, tight - plain, coarse - exact, (tight - exact)[::2]
        for k, gap in enumerate(gaps):
            found[k].append(float(np.max(np.abs(gap))) / s[0])
    errors, plain, coarse, sparse = (np.array(row) for row in found)
    return Seen(errors, plain, coarse, sparse, given.whitened, rest, overlap)


@claim(
    "saxe2014.random_start",
    kind="limit",
    where="ours; the paper's approximation from small random weights, with its rate",
    statement=r"W_i(0) = \alpha A_i,\ p_r = \tfrac12(W_2^\top u_r + W_1 v_r),\ q_r = p_r \text{ "
    r"less its part along } p_1, \dots, p_{r-1} \Rightarrow \max_{t,r}\left|a_r(t) - "
    r"a^{\mathrm{logistic}}_{s_r, |q_r|^2}(t)\right| \asymp \alpha^{2\min_r(1 - s_{r+1}/s_r)}",
    control={"plain": True},
    control_text="|p_r|^2 instead of |q_r|^2",
    resolution=3e-2,
)
def random_start(settings: Settings, plain: bool = False) -> Iterator[Case]:
    """The order between neighbouring scales; what changes it from pair to pair is the floor."""
    cases = [(0.5, 2), (0.65, 2), (0.5, 3)] + [(0.6, 2), (0.4, 3)] * settings.full
    for ratio, modes in cases[:1] if settings.quick else cases:
        found = seen(settings.seed, ratio, modes)
        steps = np.diff(np.log(found.errors)) / np.diff(np.log(SCALES))
        orders = np.diff(np.log(found.plain)) / np.diff(np.log(SCALES)) if plain else steps
        # Half as many times miss the largest error by four times as much.
        missed = np.abs(found.sparse - found.errors) / 3
        lost = (np.abs(found.coarse - found.errors) + missed) / found.errors
        yield Case(
            name=f"{modes} modes, each {ratio:g} of the one before",
            residual=orders[-1] - 2 * (1 - ratio),
            floor=float(2 * abs(steps[1] - steps[0]) + lost.max()),
            hypotheses={
                **HYPOTHESES,
                "whitened inputs": found.whitened,
                "random factors, at least as many neurons as modes": ByConstruction(
                    "entries of both are normal numbers times alpha"
                ),
                "the remainders do not vanish": Measured(found.rest, above=1e-3),
                "neighbouring p_r are not orthogonal": Measured(found.overlap, above=1e-3),
            },
            size=float(modes),
            notes="largest error: "
            + ", ".join(f"{x:.2g} at {a:g}" for x, a in zip(found.errors, SCALES, strict=True))
            + "; from |p_r|^2: "
            + ", ".join(f"{x:.2g}" for x in found.plain),
        )
