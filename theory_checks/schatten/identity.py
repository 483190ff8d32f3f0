r"""The least sum of squared norms of N factors of W is N ||W||_(S_2/N)^(2/N), at balanced ones.

So weight decay on the factors is a Schatten quasi-norm of the product as a penalty (Srebro, Rennie
and Jaakkola 2004 at N = 2, Shang et al. 2016 beyond): at depth 2 twice the nuclear norm.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import Best, ByConstruction, Case, Measured, Settings, claim, roundings
from gradflow.claims.proofs import Proof, Words, chain, counterexample, prove_identity
from gradflow.factorizations import relative_unbalancedness
from gradflow.factorizations.starts import balanced_factors


def proof(factor: Fraction) -> Proof:
    """N = 2: with the singular vectors U, V of W, ||W_2^T U - W_1 V||^2 >= 0."""
    statement = f"||W_1||^2 + ||W_2||^2 >= {2 * factor} ||W||_*"
    broken = counterexample(statement, 2 * factor - 2, {"W_1, W_2": "1, 1"})
    if broken is not None:
        return broken
    u, v, w1, w2 = Words.named("U", "V", "W_1", "W_2")
    square = (w2.T @ u - w1 @ v).T @ (w2.T @ u - w1 @ v)
    parts = u.T @ w2 @ w2.T @ u + v.T @ w1.T @ w1 @ v
    mixed = u.T @ w2 @ w1 @ v
    return chain(
        statement,
        prove_identity("||W_2^T U - W_1 V||^2, as a trace", square, parts - mixed - mixed.T),
        cites=(
            "tr U^T W V = ||W||_* for the singular vectors of W",
            "||W_2^T U|| <= ||W_2|| and ||W_1 V|| <= ||W_1|| for orthonormal columns",
        ),
    )


def deformed(rng: np.random.Generator, factors: list[np.ndarray], much: float) -> list[np.ndarray]:
    """Other factors of the same product: an invertible matrix and its inverse between layers."""
    found = list(factors)
    for j in range(len(found) - 1):
        size = found[j].shape[0]
        between = np.eye(size) + much * rng.normal(size=(size, size)) / size**0.5
        found[j] = between @ found[j]
        found[j + 1] = found[j + 1] @ np.linalg.inv(between)
    return found


def quasi_norm(w: np.ndarray, depth: int) -> float:
    """||W||_(S_2/N)^(2/N): the sum of the singular values' powers 2/N."""
    return float(np.sum(np.linalg.svd(w, compute_uv=False) ** (2 / depth)))


@claim(
    "schatten.identity",
    kind="inequality",
    where="folklore; of any number of factors",
    statement=r"\min_{W_N \cdots W_1 = W} \sum_{j=1}^N \|W_j\|_F^2 = N\, \|W\|_{S_{2/N}}^{2/N},"
    r"\quad \text{at balanced factors}",
    control={"factor": Fraction(11, 10)},
    control_text="1.1 N instead of N",
    best=(Best("N", "N", "proved", "Attained by balanced factors of every W."),),
)
def identity(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """A proof at N = 2; at N = 2 to 5 random factors against the norm, and balanced ones at it."""
    hypotheses = {"factors of W": ByConstruction("W is their product")}
    yield Case("two factors", proof=proof(factor), whole=False, hypotheses=hypotheses, size=1)
    rng = np.random.default_rng([settings.seed, 2004])
    for depth in (2, 3, 4, 5):
        slacks, residuals, floors, uneven = [], [], [], []
        for k in range(60 if settings.full else 20):
            shape = (3, 4) if k % 2 else (4, 4)
            w = rng.normal(size=shape)
            sizes = (shape[1], *[min(shape)] * (depth - 1), shape[0])
            balanced = [np.asarray(f) for f in balanced_factors(w, sizes)]
            uneven.append(float(relative_unbalancedness(tuple(balanced))))
            bound = float(factor) * depth * quasi_norm(w, depth)
            residuals.append(sum(np.sum(f**2) for f in balanced) / bound - 1)
            product = np.linalg.multi_dot(balanced[::-1])
            floors.append(1e-14 + float(np.linalg.norm(product - w) / np.linalg.norm(w)))
            for much in (0.0, 1e-3, 0.1, 1.0):
                others = (
                    deformed(rng, balanced, much)
                    if much
                    else [rng.normal(size=f.shape) for f in balanced]
                )
                bound = float(factor) * depth * quasi_norm(np.linalg.multi_dot(others[::-1]), depth)
                slacks.append(sum(np.sum(f**2) for f in others) / bound - 1)
        yield Case(
            name=f"{depth} factors",
            slack=np.array(slacks),
            floor=roundings(1e-12, "powers of the smallest singular values"),
            hypotheses=hypotheses,
            size=float(depth),
            notes=f"the least excess over the norm is {min(slacks):.2g}",
        )
        yield Case(
            name=f"{depth} balanced factors",
            residual=np.array(residuals),
            floor=np.array(floors) * 10,
            hypotheses={"balanced": Measured(max(uneven), below=1e-12)},
            size=float(depth),
        )
