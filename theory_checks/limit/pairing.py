r"""The vanishing start of U U^T: when the flow jumps from saddle to saddle (ours).

Small columns obey a linear equation beside the large ones. At a saddle, let mu_1 > mu_2 > ... be
the eigenvalues of -grad f on its null space, and y_1 <= y_2 <= ... the exponents of alpha of the
small columns when the flow comes there, 1/2 each at the start. Exponents belong to columns: the
p-th smallest goes with the p-th largest rate, whatever direction that rate has. So

    the plateau lasts (y_1 / mu_1) ln(1/alpha),    y_p becomes y_(p+1) - mu_(p+1) y_1 / mu_1.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from gradflow.claims import Case, Measured, Settings, claim

from ..li2021._columns import times
from ..li2021._greedy import Node, chains, pairing
from ..li2021._problems import Posed

LOGS = (-35.0, -50.0, -70.0)
"""Logarithms of alpha. Times differ by the rule's number, as the constants cancel."""


class Jumps(NamedTuple):
    """The first two jumps of a flow.

    Attributes:
      posed: the problem.
      nodes: saddles.
      slopes: (2, jumps) differences of the times at two alphas, divided by those of ln(1/alpha).
    """

    posed: Posed
    nodes: list[Node]
    slopes: np.ndarray


@cache
def jumps(seed: int, count: int) -> list[Jumps]:
    """Of some random problems; a jump is when the loss is half way between two saddles."""
    found = []
    for posed, nodes in chains(seed, count):
        losses = np.array([posed.loss(node.w) for node in nodes[:3]])
        goals = (losses[:-1] + losses[1:]) / 2
        slow = sum(plateau for plateau, _ in pairing(nodes, len(posed.start))[:2])
        seen = [
            times(posed, log, goals, -1.1 * log * slow + 60 / nodes[1].rates[0]) for log in LOGS
        ]
        found.append(Jumps(posed, nodes, np.diff(seen, axis=0) / -np.diff(LOGS)[:, None]))
    return found


@claim(
    "limit.pairing",
    kind="limit",
    where="ours; the times of the limit's jumps",
    statement=r"W(0) = \alpha A A^\top,\ y = (\tfrac12, \dots, \tfrac12):\quad \frac{t_{k+1} - t_k}"
    r"{\ln(1/\alpha)} \to \frac{y_1}{\mu_1},\quad y_p \leftarrow y_{p+1} - \mu_{p+1}"
    r"\frac{y_1}{\mu_1},\quad \mu_1 > \mu_2 > \dots: \text{ eigenvalues of } -\nabla f(W_k) "
    r"\text{ on its null space}",
    control={"again": True},
    control_text="every plateau begins anew at the exponent 1/2",
    resolution=1e-2,
)
def pairs(settings: Settings, again: bool = False) -> Iterator[Case]:
    """Flows from e^-35, e^-50 and e^-70, column by column, by SciPy.

    Half the change between pairs is what is left where the second is three times nearer.
    """
    for posed, nodes, slopes in jumps(settings.seed, 6 if settings.full else 2):
        rule = pairing(nodes, len(posed.start))[:2]
        plateaus = np.array([plateau for plateau, _ in rule])
        shown = np.array([0.5 / node.rates[0] for node in nodes[:2]]) if again else plateaus
        taus, changes = np.cumsum(shown), np.abs(slopes[1] - slopes[0])
        yield Case(
            name=posed.name,
            residual=np.abs(slopes[-1] / taus - 1),
            floor=changes / np.cumsum(plateaus) / 2 + 1e-10,
            hypotheses={
                "the rates are simple": Measured(
                    min(float(np.min(-np.diff(node.rates)) / nodes[0].rates[0])
                        for node in nodes[:2] if len(node.rates) > 1), above=1e-3,
                ),
                "saddles are minima of their rank": Measured(
                    max(node.growth for node in nodes[1:3]), below=1e-12
                ),
            },
            size=float(posed.start.size),
            witness=lambda at, nodes=nodes, slopes=slopes: {
                "rates": [node.rates.tolist() for node in nodes[:2]],
                "measured": slopes[-1].tolist(),
            },
            notes=f"t / ln(1/alpha): measured {', '.join(f'{x:.9g}' for x in slopes[-1])}; by the "
            f"rule {', '.join(f'{x:.9g}' for x in np.cumsum(plateaus))}",
        )  # fmt: skip
