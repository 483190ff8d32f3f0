r"""Weight decay: under the loss plus mu/2 sum_j ||W_j||^2 imbalances fall like e^(-2 mu t)."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np

from gradflow.claims import ByConstruction, Case, Settings, claim
from gradflow.claims.oracles import layers
from gradflow.claims.proofs import Proof, prove_identity

from ..du2018.balance import ANY, gradients

TIMES = np.array([0.3, 1.0, 2.0, 4.0])


def proof(rate: Fraction) -> Proof:
    """In the unit of time in which mu = 1; G, which is any, takes the factor."""
    x, y, first, second = gradients()
    rates = {"X": -first - x, "Y": -second - y}
    imbalance = y.T @ y - x @ x.T
    return prove_identity(
        f"the imbalance's derivative is -{rate} mu times it", imbalance.derivative(rates),
        -rate * imbalance, cites=("only 0 times e^(-2 mu t) solves D' = -2 mu D from 0",),
    )  # fmt: skip


@cache
def runs(seed: int, depth: int, mu: float, rtol: float) -> np.ndarray:
    """Imbalances at time 0 and at `TIMES`, of ||W - T||^2 / 2 with decay: a row for each time."""
    rng = np.random.default_rng([seed, depth, 11])
    sizes = [3, 4, 2, 3, 2][: depth + 1]
    target = rng.normal(size=(sizes[-1], sizes[0]))
    start = [rng.normal(size=(b, a)) for a, b in zip(sizes, sizes[1:], strict=False)]
    found = layers.followed(start, lambda w: w - target, TIMES, rtol, decay=mu)
    return np.array([np.concatenate([d.ravel() for d in layers.imbalances(ws)]) for ws in found])


@claim(
    "decay.balance",
    kind="identity",
    where="folklore; du2018's conservation with weight decay",
    statement=r"\dot W_j = -\nabla_{W_j} \ell - \mu W_j \Rightarrow W_{j+1}^\top W_{j+1} - "
    r"W_j W_j^\top = e^{-2\mu t}\left(W_{j+1}^\top W_{j+1} - W_j W_j^\top\right)\big|_{t=0}",
    control={"rate": Fraction(22, 10)},
    control_text="e^(-2.2 mu t)",
)
def balance(settings: Settings, rate: Fraction = Fraction(2)) -> Iterator[Case]:
    """By algebra; and along flows at depths 2 to 4 by SciPy, from starts that are not balanced."""
    yield Case("any layers", proof=proof(rate), whole=True, hypotheses=ANY, size=1)
    for depth in (2, 3, 4) if settings.full else (2, 3):
        for mu in (0.1, 1.0):
            tight, coarse = (runs(settings.seed, depth, mu, rtol) for rtol in (1e-12, 1e-10))
            wanted = np.exp(-float(rate) * mu * TIMES)[:, None] * tight[0]
            size = np.max(np.abs(tight[1:]), axis=1)
            yield Case(
                name=f"depth {depth}, mu = {mu:g}",
                residual=np.max(np.abs(tight[1:] - wanted), axis=1) / size,
                floor=np.max(np.abs(tight - coarse)) / size + 1e-14,
                hypotheses={
                    "the flow of the loss with decay": ByConstruction("its equations, by SciPy")
                },
                size=float(tight.shape[1]),
                along=("time", TIMES),
            )
