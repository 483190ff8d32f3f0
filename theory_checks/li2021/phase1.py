r"""Li, Luo and Lyu 2021: the first phase, from a vanishing start to a trajectory of rank one.

W = U U^T, dU/dt = -grad f(W) U, from W(0) = alpha A A^T. With lambda_1 > lambda_2 >= ... the
eigenvalues of -grad f(0), lambda_1 > 0 and c = u_1^T A A^T u_1 > 0, the flow seen from the time
T = ln(1 / (alpha c)) / (2 lambda_1) on tends to the trajectory of rank one that leaves 0 along u_1.
The distance falls like alpha^((lambda_1 - lambda_2) / (2 lambda_1)): ours, and measured.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp

from gradflow.claims import Case, Measured, Settings, claim

from ._problems import Posed, spread

STEPS = (1e-4, 1e-5, 1e-6)
"""What alpha^((lambda_1 - lambda_2) / (2 lambda_1)) is to be."""
MOMENTS = np.array([-1.0, 0.0, 1.0, 2.0])
"""Times after T, in units of 1 / lambda_1."""
RTOL = 1e-12


class Phase(NamedTuple):
    """Flows at several alphas beside their limit.

    Attributes:
      posed: the problem.
      rates: eigenvalues of -grad f(0), falling.
      overlap: c.
      alphas: of the flows.
      flows: (alphas, moments, size, size) W at T + t.
      limit: (moments, size, size) the trajectory of rank one.
    """

    posed: Posed
    rates: np.ndarray
    overlap: float
    alphas: np.ndarray
    flows: np.ndarray
    limit: np.ndarray

    def distances(self) -> np.ndarray:
        """The largest distance of a flow from the limit, relative to the limit's largest norm."""
        return self._largest(self.flows - self.limit)

    def changes(self) -> np.ndarray:
        """The same of each flow from that of the next alpha."""
        return self._largest(np.diff(self.flows, axis=0))

    def _largest(self, gaps: np.ndarray) -> np.ndarray:
        sizes = np.linalg.norm(gaps, axis=(2, 3)).max(axis=1)
        return sizes / np.linalg.norm(self.limit, axis=(1, 2)).max()


def flow(posed: Posed, u: np.ndarray, begin: float, times: np.ndarray) -> np.ndarray:
    """W at some times of dU/dt = -grad f(U U^T) U: SciPy's DOP853, without the library."""
    size = len(u)

    @no_type_check
    def field(_: float, y: np.ndarray) -> np.ndarray:
        now = y.reshape(size, -1)
        return -(posed.gradient(now @ now.T) @ now).ravel()

    found = solve_ivp(
        field, (begin, times[-1]), u.ravel(), "DOP853", t_eval=times, rtol=RTOL,
        atol=RTOL * float(np.abs(u).max()),
    )  # fmt: skip
    us = found.y.T.reshape(len(times), size, -1)
    return us @ us.transpose(0, 2, 1)


@cache
def phases(settings: Settings, factor: float) -> list[Phase]:
    """Of every problem; T with `factor` times c."""
    found = []
    for posed in spread(settings.seed, settings.full):
        size = len(posed.start)
        rates, vectors = posed.rates(np.zeros((size, size)))
        first = vectors[:, :1]
        moments = MOMENTS / rates[0]
        # From e^(-18): the cubic terms of the flow, relative to it, are e^(-36) there.
        limit = flow(posed, np.exp(-18.0) * first, -18 / rates[0], moments)
        overlap = float(np.sum((posed.start.T @ first) ** 2))
        alphas = np.array(STEPS) ** (1 / posed.power)
        flows = []
        for alpha in alphas:
            wait = np.log(1 / (alpha * factor * overlap)) / (2 * rates[0])
            flows.append(flow(posed, np.sqrt(alpha) * posed.start, 0.0, wait + moments))
        found.append(Phase(posed, rates, overlap, alphas, np.array(flows), limit))
    return found


@claim(
    "li2021.phase1",
    kind="limit",
    where="the theorem on the first phase, for U of any width",
    statement=r"\lambda_1 > \lambda_2,\ \lambda_1 > 0,\ c = u_1^\top A A^\top u_1 > 0 \Rightarrow "
    r"W\Big(\tfrac{1}{2\lambda_1}\ln\tfrac{1}{\alpha c} + t\Big) \to w(t)\,w(t)^\top,\quad "
    r"\dot w = -\nabla f(w w^\top)\, w,\ w(t) e^{-\lambda_1 t} \to u_1 \text{ as } t \to -\infty",
    control={"factor": 1.1},
    control_text="1.1 c in the time",
    resolution=1e-3,
)
def phase1(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """At alphas where the law of the error says 1e-4, 1e-5, 1e-6.

    The floor is half the last change: what is left where each alpha is three times nearer.
    Both sides by SciPy's DOP853: the flow from alpha A A^T, and one column from e^(-18) u_1.
    """
    for phase in phases(settings, factor):
        gaps = phase.distances()
        one, two = phase.rates[:2]
        yield Case(
            name=phase.posed.name,
            residual=gaps[-1],
            floor=float(phase.changes()[-1]) / 2,
            hypotheses={
                "lambda_1 > 0": Measured(float(one), above=0.0),
                "lambda_1 > lambda_2": Measured(float((one - two) / one), above=0.1),
                "c > 0": Measured(phase.overlap, above=0.0),
            },
            size=float(phase.posed.start.size),
            witness=lambda at, phase=phase: {
                "alpha": float(phase.alphas[-1]), "c": phase.overlap,
                "rates": phase.rates.tolist(),
            },
            notes="distance "
            + ", ".join(f"{g:.3g} at {a:.2g}" for g, a in zip(gaps, phase.alphas, strict=True)),
        )  # fmt: skip


@claim(
    "li2021.rate",
    kind="limit",
    where="ours; how fast the first phase's limit is reached from a generic start",
    statement=r"\|W\Big(\tfrac{1}{2\lambda_1}\ln\tfrac{1}{\alpha c} + t\Big) - w(t)\,w(t)^\top"
    r"\| = \alpha^{(\lambda_1 - \lambda_2)/(2\lambda_1) + o(1)},\quad "
    r"u_2^\top A A^\top u_1 \neq 0",
    control={"more": 0.1},
    control_text="an exponent that is 0.1 larger",
    resolution=1e-2,
)
def rate(settings: Settings, more: float = 0.0) -> Iterator[Case]:
    """The exponent between the two smallest alphas; the one before says how far that may be off."""
    for phase in phases(settings, 1.0):
        slopes = np.diff(np.log(phase.distances())) / np.diff(np.log(phase.alphas))
        rates, vectors = phase.posed.rates(np.zeros(phase.limit.shape[1:]))
        mixed = phase.posed.start.T @ vectors[:, :2]
        yield Case(
            name=phase.posed.name,
            residual=abs(slopes[-1] - phase.posed.power - more),
            # The flow's tolerance beside the smallest distance is a millionth.
            floor=abs(float(slopes[-1] - slopes[-2])) + 1e-5,
            hypotheses={
                "lambda_1 > lambda_2": Measured(float(1 - rates[1] / rates[0]), above=0.1),
                "the third rate is further off": Measured(
                    float((rates[1] - rates[2]) / (rates[0] - rates[1])), above=1.2
                ),
                "u_2^T A A^T u_1 is not 0": Measured(
                    float(abs(mixed[:, 0] @ mixed[:, 1])), above=1e-3
                ),
            },
            size=float(phase.posed.start.size),
            notes=f"measured {slopes[-1]:.6f}, predicted {phase.posed.power:.6f}",
        )
