r"""Razin and Cohen 2020: Equation (51), the projection onto Theorem 2's solution set."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from gradflow.claims import (
    ByConstruction,
    Case,
    Confirmation,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)
from gradflow.claims.oracles.high_precision import exact
from gradflow.claims.proofs import prove_identity

from . import _best

_INTEGER_CASES = (((3, 1), (2, 1), 1, 2, 0), ((1, 1), (2, 3), 1, 2, 0), ((5, 2), (2, 1), 3, 2, 0))
"""Rows of W and z, z', epsilon, all of det W with the sign of z z'."""


@claim(
    "razin2020.eq51",
    kind="identity",
    where="Appendix G.8, proof of Lemma 26, Equation (51)",
    statement=r"W_{\tilde S} = \begin{pmatrix}w_{11} & z'\\ z & \epsilon\end{pmatrix}:\ "
    r"|\sigma_i(W) - \sigma_i(W_{\tilde S})| \le \|W - W_{\tilde S}\|_F = \sqrt{2\ell}",
    control={"distance": 1.1},
    control_text="1.1 sqrt(2 loss)",
    flaw="The printed matrix has z' at (1,2) and z at (2,1), but the solution set of (14) has z at "
    "(1,2) and z' at (2,1): it is the transpose of the projection. Transposing changes no singular "
    "value of the projection, so Lemma 26 is not affected.",
    severity="misprint",
    survives="Lemma 26 and all that follows: only singular values and the distance are used, and "
    "those are right for the transpose of the printed matrix.",
    corrected=Corrected(
        r"W_{\tilde S} = \begin{pmatrix}w_{11} & z\\ z' & \epsilon\end{pmatrix}:\ "
        r"|\sigma_i(W) - \sigma_i(W_{\tilde S})| \le \|W - W_{\tilde S}\|_F = \sqrt{2\ell}",
        best=_best.EQ51,
    ),
)
def eq51(settings: Settings, corrected: bool, distance: float = 1.0) -> Iterator[Case]:
    """Whole numbers and random matrices; the solution set has z at (1,2) and z' at (2,1)."""
    yield _projection_proof(corrected, distance)
    rng = np.random.default_rng(settings.seed)
    instances: list[tuple[str, np.ndarray, Any]] = [
        (f"W = {rows}, z = {z}, z' = {z2}, epsilon = {eps}", np.array(rows, float), (z, z2, eps))
        for *rows, z, z2, eps in _INTEGER_CASES
    ]
    while len(instances) < (200 if settings.full else 40):
        w, (z, z2, eps) = rng.normal(size=(2, 2)), rng.normal(size=3)
        if np.linalg.det(w) * z * z2 > 0:
            instances.append(("random", w, (z, z2, eps)))
    for name, w, (z, z2, eps) in instances:
        onto = np.array([[w[0, 0], z], [z2, eps]] if corrected else [[w[0, 0], z2], [z, eps]])
        s = np.sqrt((w[0, 1] - z) ** 2 + (w[1, 0] - z2) ** 2 + (w[1, 1] - eps) ** 2)
        s *= distance
        gap = np.linalg.norm(w - onto)

        def confirm(
            k: int, w: np.ndarray = w, onto: np.ndarray = onto, at: Any = (z, z2, eps)
        ) -> Confirmation:
            true, p, (a, b, c) = exact(w), exact(onto), map(Fraction, at)
            square = np.sum((true - p) ** 2)
            twice = (true[0, 1] - a) ** 2 + (true[1, 0] - b) ** 2 + (true[1, 1] - c) ** 2
            twice *= Fraction(distance) ** 2
            return Confirmation(
                square != twice,
                f"W = {w.tolist()} (det {np.linalg.det(w):.6g}), z = {at[0]}, z' = {at[1]}, "
                f"epsilon = {at[2]}: the matrix is {onto.tolist()}, ||W - P||^2 = "
                f"{float(square):.17g}, 2 loss = {float(twice):.17g}",
                (square, twice),
            )

        hypotheses = {
            "det W has the sign of z z'": Measured(float(np.linalg.det(w) * z * z2), above=0),
            "z and z' are not 0": Measured(abs(float(z * z2)), above=0),
        }
        size = 4 + float(np.sum(np.abs(w))) / 100 if name != "random" else 100.0
        yield Case(
            name=name, residual=[(gap - s) / (gap + s)], floor=roundings(1e-14),
            hypotheses=hypotheses, size=size, confirm=confirm,
            witness=lambda k, w=w: {"W": w.tolist()},
        )  # fmt: skip
        gaps = np.linalg.svd(w, compute_uv=False) - np.linalg.svd(onto, compute_uv=False)
        yield Case(
            name=f"{name}, singular values", slack=(gap - np.abs(gaps)) / gap,
            floor=roundings(1e-14), hypotheses=hypotheses, size=size,
        )  # fmt: skip


def _projection_proof(corrected: bool, distance: float) -> Case:
    """The distance in symbols, and Weyl's bound on singular values."""
    a, b, c, d, z, z2, eps = sympy.symbols("w_11 w_12 w_21 w_22 z z' epsilon")
    onto = sympy.Matrix([[a, z], [z2, eps]] if corrected else [[a, z2], [z, eps]])
    gap = sympy.Matrix([[a, b], [c, d]]) - onto
    twice = (b - z) ** 2 + (c - z2) ** 2 + (d - eps) ** 2
    proof = prove_identity(
        "||W - P||_F^2 = 2 loss", sum(x**2 for x in gap), sympy.Rational(distance) ** 2 * twice,
        cites=("singular values move by at most the distance (Weyl)",),
    )  # fmt: skip
    hypotheses = {"any W, z, z', epsilon": ByConstruction("they are symbols")}
    return Case("proof", proof=proof, whole=True, hypotheses=hypotheses, size=200.0)
