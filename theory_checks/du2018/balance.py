r"""Du, Hu and Lee 2018: neighbouring layers under gradient descent.

Of a product A Y X B with the loss's gradient G the layers X and Y have the gradients (A Y)^T G B^T
and A^T G (X B)^T. The flow conserves Y^T Y - X X^T; a step of size e changes it by exactly
e^2 (G_Y^T G_Y - G_X G_X^T), of second order.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np

from gradflow.claims import ByConstruction, Case, Settings, claim
from gradflow.claims.oracles import layers
from gradflow.claims.proofs import Proof, Words, prove_identity

ANY = {"neighbouring layers of a product": ByConstruction("of any sizes, in any loss")}


def gradients() -> tuple[Words, Words, Words, Words]:
    """X, Y and their gradients, as words."""
    a, b, x, y, g = Words.named("A", "B", "X", "Y", "G")
    return x, y, (a @ y).T @ g @ b.T, a.T @ g @ (x @ b).T


def step_proof(weight: Fraction) -> Proof:
    """A step of size 1: a smaller one is one down e G."""
    x, y, first, second = gradients()
    after_x, after_y = x - first, y - second
    change = after_y.T @ after_y - after_x @ after_x.T - y.T @ y + x @ x.T
    wanted = weight * (second.T @ second - first @ first.T)
    return prove_identity(f"a step adds {weight} e^2 (G_Y^T G_Y - G_X G_X^T)", change, wanted)


@cache
def descents(seed: int, depth: int, steps: int) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Factors and their gradients along a descent of ||W - T||^2 / 2, in fractions."""
    rng = np.random.default_rng([seed, depth])
    sizes = [*[3, 2, 3, 2][:depth], 2]

    def whole(*shape: int) -> np.ndarray:
        return np.array([Fraction(int(v)) for v in rng.integers(-2, 3, shape).ravel()]).reshape(
            shape
        )

    factors = [whole(sizes[k + 1], sizes[k]) for k in range(depth)]
    target, found = whole(sizes[-1], sizes[0]), []
    for _ in range(steps + 1):
        slopes = layers.slopes(factors, lambda w: w - target)
        found.append((factors, slopes))
        factors = [w - Fraction(1, 10) * g for w, g in zip(factors, slopes, strict=True)]
    return found


@claim(
    "du2018.discrete",
    kind="identity",
    where="gradient descent instead of the flow; the change that is bounded there, exactly",
    statement=r"W_j^+ = W_j - \eta G_j \Rightarrow \left(W_{j+1}^\top W_{j+1} - W_j W_j^\top"
    r"\right)^+ - \left(W_{j+1}^\top W_{j+1} - W_j W_j^\top\right) = \eta^2 \left(G_{j+1}^\top "
    r"G_{j+1} - G_j G_j^\top\right)",
    control={"weight": Fraction(11, 10)},
    control_text="1.1 eta^2",
)
def discrete(settings: Settings, weight: Fraction = Fraction(1)) -> Iterator[Case]:
    """By algebra; and along descents in fractions, at depths 2 and 3."""
    yield Case("any layers", proof=step_proof(weight), whole=True, hypotheses=ANY, size=1)
    for depth, steps in ((2, 3), (3, 2)) if settings.full else ((2, 2), (3, 1)):
        rows = descents(settings.seed, depth, steps)
        gaps: list[Fraction] = []
        for (now, slopes), (after, _) in zip(rows, rows[1:], strict=False):
            parts = (layers.imbalances(ws) for ws in (after, now, slopes))
            for new, old, second in zip(*parts, strict=True):
                gaps += (new - old - weight * Fraction(1, 100) * second).ravel().tolist()
        yield Case(
            name=f"depth {depth}, {steps} steps of 1/10, in fractions",
            residual=gaps,
            hypotheses=ANY,
            size=float(sum(w.size for w in rows[0][0])),
        )
