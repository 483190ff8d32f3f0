r"""Razin and Cohen 2020: cases of the best constants: proofs, extremal and random matrices."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gradflow.claims import ByConstruction, Case, Measured, Settings, roundings
from gradflow.claims.hypotheses import Met
from gradflow.claims.proofs import Proof, chain
from gradflow.claims.proofs.interval import interval, precision

from ._proofs import Matrix, Point, sign_of_determinant

POSITIVE = {"det W > 0": ByConstruction("every such matrix; along a flow Lemma 6 keeps the sign")}
REQUIRED = {
    "det W has the required sign": ByConstruction("every such matrix; Lemma 6 keeps the sign")
}


def proof_case(proof: Proof, hypotheses: Mapping[str, Met], flow: bool = True) -> Case:
    """Of a bound; on single matrices, that at every time of a flow, too, by Lemma 6."""
    whole = proof
    if proof.proved and flow:
        whole = chain(f"{proof.statement}, at every time", proof, sign_of_determinant())
    name = "every matrix, every time" if flow else "proof"
    return Case(name, proof=whole, whole=True, hypotheses=hypotheses, size=4)


def best_case(
    name: str, points: Sequence[Matrix], ratio: Callable[[Point], Any], share: Fraction
) -> Case:
    """Matrices that come within `share` of the bound, so that no constant below that would do."""
    with precision(200):
        found = [ratio(Point(w)) - interval(share) for w in points]
    return Case(
        name=f"no smaller constant: {name}",
        slack=found,
        hypotheses=POSITIVE,
        notes=f"these matrices reach {float(share):.6f} of the bound",
    )


class Drawn(NamedTuple):
    """Random matrices whose determinant has the required sign.

    Attributes:
      w: (n, 2, 2) the matrices.
      observed: (3, n) z, z', epsilon.
      s: (n, 2) singular values.
      root: (n,) sqrt(2 loss).
    """

    w: np.ndarray
    observed: np.ndarray
    s: np.ndarray
    root: np.ndarray


def drawn(settings: Settings, general: bool = False) -> Drawn:
    """For z = z' = 1 and epsilon = 0, or for any: matrices of all sizes, half of them fitted."""
    rng = np.random.default_rng([settings.seed, 3])
    count = 20_000 if settings.full else 4000
    observed = np.tile([[1.0], [1.0], [0.0]], count)
    if general:
        observed = rng.choice([-1, 1], (3, count)) * 10 ** rng.uniform(-1, 1, (3, count))
        observed[2, ::3] = 0
    z, z2, eps = observed
    w = rng.normal(size=(count, 2, 2)) * 10 ** rng.uniform(-3, 2, (count, 1, 1))
    near = np.stack([0 * z, z, z2, eps], axis=1).reshape(-1, 2, 2)
    w[::2] = near[::2] + w[::2] / (1 + np.abs(w[::2]).max(axis=(1, 2))[:, None, None])
    far = np.sign(z * z2) * 10 ** rng.uniform(0, 3, count)
    w[:, 0, 0] += rng.choice([0, 1], count) * far
    kept = np.linalg.det(w) * z * z2 > 0
    w, (z, z2, eps) = w[kept], observed[:, kept]
    root = np.sqrt((w[:, 0, 1] - z) ** 2 + (w[:, 1, 0] - z2) ** 2 + (w[:, 1, 1] - eps) ** 2)
    return Drawn(w, observed[:, kept], np.linalg.svd(w, compute_uv=False), root)


def drawn_case(larger: np.ndarray, smaller: np.ndarray, drawn: Drawn, of: str = "") -> Case:
    z, z2, _ = drawn.observed
    return Case(
        name="matrices drawn at random, in float64" + (f", {of}" if of else ""),
        slack=(larger - smaller) / (np.abs(larger) + np.abs(smaller)),
        floor=roundings(1e-12),
        hypotheses={
            "det W z z' > 0": Measured(float(np.min(np.linalg.det(drawn.w) * z * z2)), above=0)
        },
        size=5,
        witness=lambda k: {
            "W": drawn.w[k].tolist(),
            "z, z', epsilon": drawn.observed[:, k].tolist(),
        },
    )
