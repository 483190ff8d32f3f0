r"""Bah et al. 2022: from a balanced start the rank of the product stays in finite time.

The flow of the product is a Riemannian gradient flow on the manifold of matrices of its rank r, and
it tends to a critical point of the loss on a manifold of some rank k <= r: there U^T G = 0 and
G V = 0 for the singular vectors U, V of the limit.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple, no_type_check

import numpy as np

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles import layers

TIMES = np.geomspace(0.05, 3.0, 8)
"""Later, round-off in the balance has grown, as it does at every point that is no minimum."""
LATE = np.array([200.0, 400.0])


class Run(NamedTuple):
    """A flow of factors of a 4x4 product.

    Attributes:
      name: what it is.
      rank: of the start.
      balance: how far the start is from balanced.
      products: (times, 4, 4) W, at the start first.
      coarse: the same at a hundredfold tolerance.
    """

    name: str
    rank: int
    balance: Measured
    products: np.ndarray
    coarse: np.ndarray


def balanced(rng: np.random.Generator, depth: int, rank: int) -> list[np.ndarray]:
    """Balanced 4x4 factors of a product of some rank."""
    frames = [np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(depth + 1)]
    values = np.diag(np.append(rng.uniform(0.7, 1.2, rank), np.zeros(4 - rank)))
    return [b @ values @ a.T for a, b in zip(frames, frames[1:], strict=False)]


def tilted(rng: np.random.Generator, factors: list[np.ndarray], much: float) -> list[np.ndarray]:
    """All factors but the first changed where those below do not reach: the product is the same."""
    found, below = [factors[0]], factors[0]
    for factor in factors[1:]:
        left, values, _ = np.linalg.svd(below)
        free = left[:, values < 1e-10 * values[0]]
        found.append(factor + much * rng.normal(size=(4, free.shape[1])) @ free.T)
        below = factor @ below
    return found


def follow(
    factors: list[np.ndarray], posed: tuple[np.ndarray, np.ndarray], times: np.ndarray, rtol: float
) -> np.ndarray:
    """Products at the start and at some times of a sensing problem's flow."""
    method = "LSODA" if times[-1] > 50 else "DOP853"
    found = layers.followed(factors, partial(gradient, posed), times, rtol, method=method)
    return np.array([layers.multiplied(ws) for ws in found])


@no_type_check  # called at every stage of a flow
def gradient(posed: tuple[np.ndarray, np.ndarray], w: np.ndarray) -> np.ndarray:
    """Of half the sum of (<A_i, W> - y_i)^2."""
    flat, y = posed
    return ((flat @ w.ravel() - y) @ flat).reshape(4, 4)


def problem(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """More measurements than entries, flattened, and labels that nothing fits."""
    return rng.normal(size=(20, 16)) / 20**0.5, rng.normal(size=20)


@cache
def runs(seed: int, full: bool, tilt: float) -> list[Run]:
    """Depths 2 and 3, ranks 1 and 2; `tilt` breaks the balance and keeps the product."""
    found = []
    for depth in (2, 3, 4) if full else (2, 3):
        for rank in (1, 2):
            rng = np.random.default_rng([seed, depth, rank])
            posed, factors = problem(rng), balanced(rng, depth, rank)
            if tilt:
                factors = tilted(rng, factors, tilt)
            fine, coarse = (follow(factors, posed, TIMES, rtol) for rtol in (1e-12, 1e-10))
            name = f"4x4, depth {depth}, rank {rank}"
            found.append(Run(name, rank, imbalance(factors), fine, coarse))
    return found


def imbalance(factors: list[np.ndarray]) -> Measured:
    """The largest entry of an imbalance, relative to the largest of a Gram matrix."""
    gap = max(float(np.max(np.abs(d))) for d in layers.imbalances(factors))
    return Measured(gap / max(float(np.max(np.abs(x @ x.T))) for x in factors), below=1e-12)


@claim(
    "bah2022.rank",
    kind="conservation",
    where="the theorem that the rank stays, in finite time",
    statement=r"W_{j+1}^\top W_{j+1} = W_j W_j^\top \text{ at } t = 0 \Rightarrow "
    r"\mathrm{rank}\, W(t) = \mathrm{rank}\, W(0) \text{ for all } t < \infty",
    control={"tilt": 0.1},
    control_text="a start with the same product and an imbalance of a tenth",
    resolution=1e-5,
)
def rank(settings: Settings, tilt: float = 0.0) -> Iterator[Case]:
    """The next singular value stays 0, to the tolerance of SciPy's DOP853; the last does not.

    Factors in floats are balanced to round-off only, which the flow may amplify: so the floor is
    what a hundredfold tolerance changes, and the last value has to be a thousand times that.
    """
    for run in runs(settings.seed, settings.full, tilt):
        values = np.linalg.svd(run.products, compute_uv=False)
        coarse = np.linalg.svd(run.coarse, compute_uv=False)
        own = runs(settings.seed, settings.full, 0.0)
        (known,) = (other for other in own if other.name == run.name)
        floor = np.max(np.abs(known.products - known.coarse), axis=(1, 2)) / values[:, 0] + 1e-12
        hypotheses = {
            "balanced start": ByConstruction("broken on purpose") if tilt else run.balance
        }
        yield Case(
            name=run.name,
            residual=values[1:, run.rank] / values[1:, 0],
            floor=np.maximum.accumulate(floor)[1:],
            hypotheses=hypotheses,
            size=float(run.products[0].size),
            notes=f"sigma_{run.rank} / sigma_1 is at least "
            f"{np.min(values[:, run.rank - 1] / values[:, 0]):.3g}",
            along=("time", TIMES),
        )
        error = np.max(np.abs(values - coarse), axis=1) / values[:, 0] + 1e-12
        yield Case(
            name=f"{run.name}: the last value",
            slack=values[:, run.rank - 1] / values[:, 0] - 1000 * error,
            floor=error,
            hypotheses=hypotheses,
            size=float(run.products[0].size),
            along=("time", np.append(0.0, TIMES)),
        )


@claim(
    "bah2022.critical",
    kind="limit",
    where="the theorem on convergence: the limit is critical on a manifold of rank k <= r",
    statement=r"W_\infty = U\Sigma V^\top \text{ of rank } k \le \mathrm{rank}\, W(0):\quad "
    r"U^\top \nabla\ell(W_\infty) = 0,\ \nabla\ell(W_\infty)\, V = 0",
    control={"extra": 1},
    control_text="one singular vector more",
    resolution=1e-3,
)
def critical(settings: Settings, extra: int = 0) -> Iterator[Case]:
    """Layers of hidden width r, which hold just what a balanced start of rank r can reach.

    By LSODA to late times; how much the flow still moves is the floor.
    """
    for depth in (2, 3, 4) if settings.full else (2, 3):
        for rank in (1, 2):
            rng = np.random.default_rng([settings.seed, depth, rank, 5])
            posed = problem(rng)
            factors = narrow(rng, depth, rank)
            before, w = follow(factors, posed, LATE, 1e-10)[1:]
            g, scale = gradient(posed, w), np.linalg.norm(gradient(posed, 0 * w))
            left, values, right = np.linalg.svd(w)
            count = int(np.sum(values > 1e-3 * values[0]))
            u, v = left[:, : count + extra], right[: count + extra].T
            moved = float(np.linalg.norm(w - before) / values[0])
            sides = [np.linalg.norm(u.T @ g), np.linalg.norm(g @ v)]
            yield Case(
                name=f"4x4, depth {depth}, rank {rank}",
                residual=np.array(sides) / float(scale),
                floor=10 * moved + 1e-10,
                hypotheses={
                    "balanced start of rank r": imbalance(factors),
                    "the limit's rank is at most that of the start": ByConstruction(
                        "hidden width r"
                    ),
                    "the flow has settled": Measured(moved, below=1e-5),
                },
                size=16,
                notes=f"rank {count}, the gradient is {np.linalg.norm(g) / scale:.3g} of that at 0",
            )


def narrow(rng: np.random.Generator, depth: int, rank: int) -> list[np.ndarray]:
    """Balanced factors of hidden width `rank`."""
    root = np.diag(rng.uniform(0.7, 1.2, rank))
    first, last = (np.linalg.qr(rng.normal(size=(4, rank)))[0] for _ in range(2))
    return [root @ first.T, *[root] * (depth - 2), last @ root]
