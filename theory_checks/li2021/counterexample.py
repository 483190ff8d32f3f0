r"""Li, Luo and Lyu 2021: a completion problem whose limit has not the least nuclear norm.

Of a symmetric 4x4 matrix (1, 3) = 1 and (1, 4) = (2, 3) = R > 1 are seen. The least nuclear norm is
4 R; the flow from a vanishing multiple of I ends at v v^T, v = (1, R, 1, R), of norm 2 R^2 + 2.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import sympy

from gradflow.claims import Best, ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles.high_precision import decimal
from gradflow.claims.proofs import Proof, chain, prove_identity

from ._columns import pieces
from ._greedy import decay_at
from ._problems import completion

LOGS = (-40.0, -55.0, -70.0)
"""Logarithms of alpha."""


@cache
def end(r: float, log_alpha: float) -> np.ndarray:
    """Where the flow from alpha I ends, column by column."""
    posed, v = completion(r), np.array([[1.0], [r], [1.0], [r]])
    first = posed.rates(np.zeros((4, 4)))[0][0]
    horizon = -log_alpha / (2 * first) + 40 / decay_at(posed, v)
    *_, last = pieces(posed, log_alpha, horizon)
    return last.gram(last.length)


def matrices(r: Any) -> tuple[Any, Any, Any]:
    """The matrix v v^T; that of norm 4 R; and the matrix of the certificate."""
    v = sympy.Matrix([1, r, 1, r])
    least = sympy.Matrix([[r, 1, 1, r], [1, r, r, 1], [1, r, r, 1], [r, 1, 1, r]])
    flip = sympy.Matrix([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    return v * v.T, least, flip


def norms(share: float = 1.0) -> Proof:
    """Both norms; `share` of 4 R."""
    r = sympy.Symbol("R", positive=True)
    end, least, flip = matrices(r)
    x = sympy.Matrix(4, 4, lambda i, j: sympy.Symbol(f"x_{min(i, j)}{max(i, j)}"))
    for i, j, value in ((0, 2, 1), (0, 3, r), (1, 2, r)):
        x[i, j] = x[j, i] = value
    one, other = sympy.Matrix([1, 1, 1, 1]), sympy.Matrix([1, -1, -1, 1])
    return chain(
        "v v^T fits with the norm 2 R^2 + 2; the least is 4 R < 2 R^2 + 2 for R > 1",
        prove_identity("the norm of v v^T", end.trace(), 2 * r**2 + 2),
        prove_identity("v v^T fits", sympy.Matrix([end[0, 2] - 1, end[0, 3] - r, end[1, 2] - r]),
                       sympy.zeros(3, 1)),
        prove_identity("<Z, X> of any X that fits", (flip * x).trace(), decimal(share) * 4 * r),
        prove_identity("Z Z^T = I", flip * flip.T, sympy.eye(4)),
        prove_identity("the other matrix is positive semidefinite", least,
                       (r + 1) / 2 * one * one.T + (r - 1) / 2 * other * other.T),
        prove_identity("its norm", least.trace(), 4 * r),
        prove_identity("2 R^2 + 2 - 4 R", 2 * r**2 + 2 - 4 * r, 2 * (r - 1) ** 2),
        cites=("<Z, X> <= ||X||_* for ||Z|| <= 1",),
    )  # fmt: skip


@claim(
    "li2021.norms",
    kind="algebra",
    where="the counterexample; both nuclear norms",
    statement=r"\min\{\|X\|_* : X_{13} = 1,\ X_{14} = X_{23} = R,\ X = X^\top\} = 4R < 2R^2 + 2 = "
    r"\|v v^\top\|_*,\quad v = (1, R, 1, R),\ R > 1",
    control={"share": 0.9},
    control_text="0.9 of 4 R",
    best=(
        Best("4R", "4R", "proved", "Attained: it is the minimum."),
        Best("R > 1", "R > 1", "proved", "2 R^2 + 2 - 4 R = 2 (R - 1)^2 vanishes at R = 1."),
    ),
)
def least_norm(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """For all R: a matrix of that norm that fits, and a certificate that none has less."""
    del settings
    yield Case(
        "every R > 1",
        proof=norms(share),
        whole=True,
        hypotheses={"R > 1": ByConstruction("a symbol")},
        size=16,
    )


@claim(
    "li2021.counterexample",
    kind="limit",
    where="the counterexample to the conjecture of gunasekar2017",
    statement=r"X_{13} = 1,\ X_{14} = X_{23} = R > 1 \text{ seen},\ W(0) = \alpha I \Rightarrow "
    r"\lim_{\alpha \to 0}\lim_{t \to \infty} W(t) = v v^\top,\quad v = (1, R, 1, R)",
    control={"share": 0.1},
    control_text="a tenth of the way from there to the matrix of least norm, which fits too",
    resolution=1e-2,
)
def counterexample(settings: Settings, share: float = 0.0) -> Iterator[Case]:
    """From e^-40, e^-55 and e^-70.

    The floor is half the last change: what is left where each is three times nearer.
    """
    drawn = np.random.default_rng(settings.seed).uniform(2.0, 3.0, 3 if settings.full else 1)
    for r in (2.0, 3.0, *drawn.round(3).tolist()):
        size = 1 + r**2
        goal, least, _ = (np.array(m.tolist(), float) for m in matrices(r))
        gaps = [float(np.linalg.norm(end(r, log) - goal)) / (2 * size) for log in LOGS]
        shown = (1 - share) * goal + share * least
        yield Case(
            name=f"R = {r:g}",
            residual=float(np.linalg.norm(end(r, LOGS[-1]) - shown)) / (2 * size),
            floor=float(np.linalg.norm(end(r, LOGS[-1]) - end(r, LOGS[-2]))) / (2 * size) / 2,
            hypotheses={
                "R > 1": ByConstruction("2 and more"),
                "the loss falls to 0": Measured(
                    completion(r).loss(end(r, LOGS[-1])), below=1e-20
                ),
            },
            size=16,
            witness=lambda at, r=r: {"W": end(r, LOGS[-1]).tolist()},
            notes="relative distance "
            + ", ".join(f"{gap:.2g} from e^{log:g}" for gap, log in zip(gaps, LOGS, strict=True)),
        )  # fmt: skip
