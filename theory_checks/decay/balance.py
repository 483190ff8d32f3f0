r"""Weight decay: under the loss plus mu/2 sum_j ||W_j||^2 imbalances fall like e^(-2 mu t)."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import no_type_check

import numpy as np
from scipy.integrate import solve_ivp

from gradflow.claims import ByConstruction, Case, Settings, claim
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
def followed(seed: int, depth: int, mu: float, rtol: float) -> list[list[np.ndarray]]:
    """Factors at time 0 and at `TIMES`, of ||W - T||^2 / 2 with decay: SciPy's DOP853."""
    rng = np.random.default_rng([seed, depth, 11])
    sizes = [3, 4, 2, 3, 2][: depth + 1]
    shapes = [(b, a) for a, b in zip(sizes, sizes[1:], strict=False)]
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]
    target = rng.normal(size=(sizes[-1], sizes[0]))
    start = rng.normal(size=sum(a * b for a, b in shapes))

    @no_type_check
    def split(state):
        return [w.reshape(s) for w, s in zip(np.split(state, cuts), shapes, strict=True)]

    @no_type_check
    def field(_, state):
        ws = split(state)
        below = [np.eye(sizes[0])]
        for w in ws:
            below.append(w @ below[-1])
        pulled, slopes = below[-1] - target, []
        for j in range(depth - 1, -1, -1):
            slopes.insert(0, pulled @ below[j].T + mu * ws[j])
            pulled = ws[j].T @ pulled
        return -np.concatenate([s.ravel() for s in slopes])

    found = solve_ivp(
        field, (0, TIMES[-1]), start, "DOP853", t_eval=TIMES, rtol=rtol, atol=1e-3 * rtol
    ).y.T
    return [split(state) for state in (start, *found)]


def imbalances(factors: list[np.ndarray]) -> np.ndarray:
    """W_(j+1)^T W_(j+1) - W_j W_j^T of all j, in a row."""
    pairs = zip(factors, factors[1:], strict=False)
    return np.concatenate([(y.T @ y - x @ x.T).ravel() for x, y in pairs])


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
    yield Case("any layers", proof=proof(rate), hypotheses=ANY, size=1)
    for depth in (2, 3, 4) if settings.full else (2, 3):
        for mu in (0.1, 1.0):
            tight, coarse = (
                np.array([imbalances(ws) for ws in followed(settings.seed, depth, mu, rtol)])
                for rtol in (1e-12, 1e-10)
            )
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
