r"""Gidel, Bach and Lacoste-Julien 2019: from a vanishing start modes are learnt in turn.

From layers e^-delta times aligned isometries (multiples of the identity, for a symmetric Sigma), in
the time delta tau, the product tends to the modes with s > 1/tau, the solution of reduced-rank
regression of that rank: a mode of strength s takes delta/s to grow from e^(-2 delta). What is left
of it, or what there is of it before, is of the order e^(-2 delta |s tau - 1|). Steps of a size eta
grow a mode by 1 + eta s each, so that 1/s becomes eta / ln(1 + eta s) (ours).
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim, roundings
from gradflow.claims.hypotheses import Met

from ..saxe2014._networks import Data, aligned_start, data, follow
from .descent import SIMULTANEOUS, descend

DELTAS = (8, 12, 16)
STEP = 4
SMALLEST = 1e-8
"""Of a mode's strength: nearer to its limit than this, float64 does not tell what is left."""
ETA = 0.1
WAYS = {"flow": 0.0, f"steps of {ETA:g}": ETA}


class Learnt(NamedTuple):
    """The strengths of modes at the time delta tau, for each of `DELTAS`.

    Attributes:
      given: the data.
      tau: times over delta.
      strengths: (deltas, taus, modes).
      coarse: the same at a hundredfold tolerance.
      hypotheses: of the runs.
    """

    given: Data
    tau: np.ndarray
    strengths: np.ndarray
    coarse: np.ndarray
    hypotheses: dict[str, Met]


def growth(s: np.ndarray, eta: float) -> np.ndarray:
    """How fast a small mode grows: s for the flow, ln(1 + eta s) / eta for steps."""
    return s if eta == 0 else np.log1p(eta * s) / eta


def decay(s: np.ndarray, eta: float) -> np.ndarray:
    """How fast what is missing of a mode falls, over 2: s, or -ln(1 - 2 eta s) / (2 eta)."""
    return s if eta == 0 else -np.log1p(-2 * eta * s) / (2 * eta)


@cache
def learnt(seed: int, eta: float) -> Learnt:
    """Runs from three starts, looked at before, between and after the times of all modes."""
    rng = np.random.default_rng([seed, 2021])
    s = rng.uniform(1.8, 2.2) * np.array([1.0, 0.5, 0.22])
    given = data(rng, (3, 4), s)
    phases = 1 / growth(s, eta)
    between = np.sqrt(phases[1:] * phases[:-1])
    tau = np.array([0.6 * phases[0], *between, 1.3 * phases[-1]])
    quarter = ETA / 4
    tau = np.round(tau / quarter) * quarter  # delta tau is a whole number of steps
    found, rough, hypotheses = [], [], {}
    for delta in DELTAS:
        start = aligned_start(rng, given, 3, [np.full(3, np.exp(-delta))] * 2)
        if eta == 0:
            run = follow("", given, start, float(delta * tau[-1]))
            tight, coarse = (run.strengths(delta * tau, way) for way in (False, True))
            hypotheses = run.aligned
        else:
            path = descend(given, start, eta, round(delta * tau[-1] / eta))
            at = [path[round(delta * t / eta)] for t in tau]
            tight = np.array([np.sum(given.u * (two @ (one @ given.v)), axis=0) for one, two in at])
            coarse = tight * (1 + 1e-13)  # some thousand steps, each of a few roundings
            hypotheses = {**SIMULTANEOUS, "whitened inputs": given.whitened}
        found.append(tight)
        rough.append(coarse)
    return Learnt(given, tau, np.array(found), np.array(rough), hypotheses)


def reduced_rank(given: Data, rank: int) -> np.ndarray:
    """The least ||Y - W X||_F of a rank: the fit, on its leading left singular vectors."""
    fit = np.linalg.lstsq(given.x.T, given.y.T, rcond=None)[0].T
    lead = np.linalg.svd(fit @ given.x)[0][:, :rank]
    return lead @ lead.T @ fit


@claim(
    "gidel2019.sequence",
    kind="limit",
    where="the theorem on the order in which modes are learnt; the rates and steps are ours",
    statement=r"W_i(0) = e^{-\delta} \times \text{aligned isometries} \Rightarrow "
    r"W(\delta\tau) \to \sum_{s_r > 1/\tau} s_r u_r v_r^\top \text{ as } \delta \to \infty,\quad "
    r"\text{error of a mode} \asymp e^{-2\delta|s_r\tau - 1|};\quad \text{steps of } \eta: "
    r"\tfrac1s \text{ becomes } \frac{\eta}{\ln(1 + \eta s)}",
    control={"late": 1.1},
    control_text="a threshold of 1.1/tau",
    resolution=1e-2,
)
def sequence(settings: Settings, late: float = 1.0) -> Iterator[Case]:
    """What is left of each mode falls by the printed power of e from one delta to the next."""
    for name, eta in WAYS.items():
        found = learnt(settings.seed, eta)
        s, tau = found.given.s, found.tau[:, None]
        grown = tau * growth(s, eta)
        truth = np.abs(found.strengths - np.where(grown > 1, s, 0.0))
        seen = truth[-1] > SMALLEST * s
        left = np.abs(found.strengths - np.where(grown > late, s, 0.0))[:, seen]
        rates, kept = (-np.diff(np.log(x), axis=0) / (2 * STEP) for x in (left, truth[:, seen]))
        above = (tau - late / growth(s, eta)) * decay(s, eta)
        right = np.where(grown > late, above, 1 - grown / late)
        lost = np.abs(found.strengths - found.coarse)[:, seen] / truth[:, seen]
        shown = [(float(found.tau[k]), float(s[r])) for k, r in np.argwhere(seen)]
        yield Case(
            name=name,
            residual=rates[-1] - right[seen],
            floor=np.abs(kept[1] - kept[0]) / 2 + lost.max(axis=0),
            hypotheses={
                **found.hypotheses,
                "delta is large": ByConstruction(f"{', '.join(map(str, DELTAS))}"),
                "no mode has s tau = 1": Measured(float(np.abs(grown - 1).min()), above=0.1),
            },
            size=float(found.given.y.shape[0] * found.given.x.shape[0]),
            witness=lambda at, shown=shown: dict(zip(("tau", "s"), shown[at], strict=True)),
            notes="modes learnt at these times: "
            + ", ".join(f"{k} at tau = {t:.3g}" for k, t in zip(
                np.sum(grown > 1, axis=1), found.tau, strict=True)),
        )  # fmt: skip
    given = learnt(settings.seed, 0.0).given
    for rank in (1, 2):
        modes = (given.u[:, :rank] * given.s[:rank]) @ given.v[:, :rank].T
        yield Case(
            name=f"reduced-rank regression, rank {rank}",
            residual=(modes - reduced_rank(given, rank)).ravel() / given.s[0],
            floor=roundings(1e-13, "a least-squares fit and its singular vectors"),
            hypotheses={"whitened inputs": given.whitened},
            size=float(modes.size),
        )
