r"""Razin and Cohen 2020: the best constants of Theorems 1 and 2, proved. They are ours.

Printed are 2 sqrt(12) / ln 2 = 9.995 for 1 in (9), b = 8 for 1/sqrt(2) in (8) under the Frobenius
norm, 3 sqrt(2) for sqrt(2) in (10), 16 for 1/sqrt(2) in (16), and 4 and more for 1 in (17).
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import sympy

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim, roundings
from gradflow.claims.proofs import Proof, chain
from gradflow.claims.proofs.interval import interval, iv, precision

from . import _proofs, _proofs_theorem2
from ._effective_rank import entropy_rank
from ._enclosed import PERTURBED_FLOWS, SPARED, along
from ._proofs import Matrix, Point, sign_of_determinant

POSITIVE = {"det W > 0": ByConstruction("every such matrix; along a flow Lemma 6 keeps the sign")}
REQUIRED = {
    "det W has the required sign": ByConstruction("every such matrix; Lemma 6 keeps the sign")
}


def _proof_case(proof: Proof, hypotheses: dict[str, ByConstruction]) -> Case:
    """The bound at every time: on every matrix, and Lemma 6."""
    whole = proof
    if proof.proved:
        whole = chain(f"{proof.statement}, at every time", proof, sign_of_determinant())
    return Case("every matrix, every time", proof=whole, hypotheses=hypotheses, size=4)


def _best_case(
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


class _Drawn(NamedTuple):
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


def _drawn(settings: Settings, general: bool = False) -> _Drawn:
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
    return _Drawn(w, observed[:, kept], np.linalg.svd(w, compute_uv=False), root)


def _drawn_case(larger: np.ndarray, smaller: np.ndarray, drawn: _Drawn) -> Case:
    z, z2, _ = drawn.observed
    return Case(
        name="matrices drawn at random, in float64",
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


@claim(
    "razin2020.thm1.norm.sharp",
    kind="inequality",
    where="Theorem 1, Equation (8), for the Frobenius norm",
    statement=r"\|W(t)\|_F \ge \frac1{\sqrt{2\ell(t)}} - \frac1{\sqrt2}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 / sqrt(2)",
)
def norm(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; the best b for the printed a, which W = I / 1000 shows."""
    b = sympy.Rational(share) / sympy.sqrt(2)
    yield _proof_case(_proofs.norm_bound(b), POSITIVE)
    yield from along(lambda at: (at.norm, 1 / at.s - interval(b)))
    if share == 1:
        yield _best_case(
            "b", [_proofs.NEAR_ZERO],
            lambda at: (1 / at.s - at.norm) * iv.sqrt(iv.mpf(2)), Fraction(99, 100),
        )  # fmt: skip
    drawn = _drawn(settings)
    yield _drawn_case(np.linalg.norm(drawn.w, axis=(1, 2)), 1 / drawn.root - float(b), drawn)


@claim(
    "razin2020.thm1.erank.sharp",
    kind="inequality",
    where="Theorem 1, Equation (9)",
    statement=r"\mathrm{erank}(W(t)) \le 1 + \sqrt{\ell(t)}",
    control={"constant": Fraction(99, 100)},
    control_text="0.99 sqrt(loss)",
)
def erank(settings: Settings, constant: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, from 2 det W <= loss |W|^2; the best constant, approached at W = c I as c -> 0."""
    yield _proof_case(_proofs.rank_bound(constant), POSITIVE)
    root = iv.sqrt(iv.mpf(2))
    yield from along(lambda at: (1 + interval(constant) * at.s / root, at.rank), SPARED)
    if constant == 1:
        yield _best_case(
            "I / 1000", [_proofs.NEAR_ZERO],
            lambda at: (at.rank - 1) * iv.sqrt(iv.mpf(2)) / at.s, Fraction(99999, 100000),
        )  # fmt: skip
    drawn = _drawn(settings)
    right = float(constant) * drawn.root / np.sqrt(2)
    yield _drawn_case(right, entropy_rank(*drawn.s.T), drawn)


@claim(
    "razin2020.thm1.irank.sharp",
    kind="inequality",
    where="Theorem 1, Equation (10)",
    statement=r"D(W(t), \mathcal M_1) \le \sqrt{2\ell(t)}",
    control={"constant": Fraction(99, 100)},
    control_text="0.99 sqrt(2 loss)",
)
def irank(settings: Settings, constant: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, by the segment from W to P; the best constant, approached as w_11 grows."""
    yield _proof_case(_proofs.distance_bound(constant), POSITIVE)
    yield from along(lambda at: (interval(constant) * at.s, at.second))
    if constant == 1:
        yield _best_case(
            "((1000, 1), (1, 1))", [_proofs.FAR], lambda at: at.second / at.s, Fraction(998, 1000)
        )
    drawn = _drawn(settings)
    yield _drawn_case(float(constant) * drawn.root, drawn.s[:, 1], drawn)


@claim(
    "razin2020.thm2.erank.sharp",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (16)",
    statement=r"\mathrm{erank}(W(t)) \le 1 + "
    r"\frac{|\epsilon| + \sqrt{2\ell(t)}}{\sqrt2\,\min\{|z|,|z'|\}}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 / sqrt(2)",
)
def erank2(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; the best constant, for z = z' = 1 and epsilon = 0 are Theorem 1."""
    constant = sympy.Rational(share) / sympy.sqrt(2)
    yield _proof_case(_proofs_theorem2.rank_bound(constant), REQUIRED)
    yield from along(lambda at: (1 + interval(constant) * at.off, at.rank), PERTURBED_FLOWS)
    drawn = _drawn(settings, general=True)
    z, z2, eps = np.abs(drawn.observed)
    right = float(constant) * (eps + drawn.root) / np.minimum(z, z2)
    yield _drawn_case(right, entropy_rank(*drawn.s.T), drawn)


@claim(
    "razin2020.thm2.irank.sharp",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (17)",
    statement=r"D(W(t), \mathcal M_1) \le |\epsilon| + \sqrt{2\ell(t)}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 times that",
)
def irank2(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, by the segment from W to P_0."""

    def right(z: Any, z2: Any, eps: Any, s: Any) -> Any:
        return (eps + s) * share.numerator / share.denominator

    proof = _proofs_theorem2.distance_bound(right, f"{share} (|epsilon| + s)")
    yield _proof_case(proof, REQUIRED)
    yield from along(lambda at: (interval(share) * (at.epsilon + at.s), at.second), PERTURBED_FLOWS)
    drawn = _drawn(settings, general=True)
    right_side = float(share) * (np.abs(drawn.observed[2]) + drawn.root)
    yield _drawn_case(right_side, drawn.s[:, 1], drawn)
