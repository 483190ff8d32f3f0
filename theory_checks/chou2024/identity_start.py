r"""Chou et al. 2024: gradient descent from W_j = alpha I on a symmetric matrix that is all seen.

All factors stay equal and have the eigenvectors of the target, so that each eigenvalue d of a
factor moves by itself: d <- d - eta d^(N-1) (d^N - lambda). While d^(N-1) (lambda - d^N) rises, a
step is slower than the flow: k steps of size eta take at least the flow's time.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np
import sympy

from gradflow.claims import FIFTY_DIGITS, Best, ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles import layers
from gradflow.claims.oracles.high_precision import DIGITS
from gradflow.claims.proofs import Proof, prove_identity

SEEN = {"all of a symmetric target is seen, W_j(0) = alpha I": ByConstruction("the recursion")}


def scalar_proof(factor: Fraction) -> Proof:
    """On an eigenvector, with q = d^(N-1) and d q = d^N: one layer's step."""
    d, q, s, lam, eta = sympy.symbols("d q s lambda eta", positive=True)
    other = q / s  # d^(N-j) = q / d^(j-1), s = d^(j-1)
    step = d - eta * other * (d * q - lam) * s
    wanted = d - sympy.Rational(factor) * eta * q * (d * q - lam)
    return prove_identity("a layer's eigenvalue after a step, at every N", step, wanted,
                          cites=("a function of T commutes with T",))  # fmt: skip


def rational_frame() -> np.ndarray:
    """An orthogonal matrix of fractions."""
    return np.array([[Fraction(v, 3) for v in row] for row in ((2, -2, 1), (1, 2, 2), (2, 1, -2))])


def gaps(depth: int, steps: int, factor: Fraction, values: list[int]) -> list[Fraction]:
    """Descent of matrices less the recursion of eigenvalues, in fractions; T = Q diag Q^T."""
    q, eta, start = rational_frame(), Fraction(1, 8), Fraction(1, 2)
    target = q @ np.diag(np.array([Fraction(v) for v in values])) @ q.T
    factors = [np.array([[start * (i == j) for j in range(3)] for i in range(3)])] * depth
    d, found = [start] * 3, []
    for _ in range(steps):
        slopes = layers.slopes(factors, lambda w: w - target)
        factors = [w - eta * g for w, g in zip(factors, slopes, strict=True)]
        d = [
            x - factor * eta * x ** (depth - 1) * (x**depth - v)
            for x, v in zip(d, values, strict=True)
        ]
        own = q @ np.diag(np.array(d)) @ q.T
        found += [v for w in factors for v in (w - own).ravel().tolist()]
    return found


@claim(
    "chou2024.recursion",
    kind="identity",
    where="the dynamics from a multiple of the identity",
    statement=r"W_j(0) = \alpha I,\ \ell = \tfrac12\|W_N\cdots W_1 - \hat W\|_F^2,\ \hat W = "
    r"V\Lambda V^\top \Rightarrow W_j(k) = V D(k) V^\top,\quad d_i(k+1) = d_i(k) - \eta\, "
    r"d_i(k)^{N-1}\left(d_i(k)^N - \lambda_i\right)",
    control={"factor": Fraction(11, 10)},
    control_text="1.1 eta",
)
def recursion(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """By algebra at every depth; descents of 3x3 matrices in fractions, a negative value among."""
    yield Case("every depth", proof=scalar_proof(factor), whole=True, hypotheses=SEEN, size=1)
    rng = np.random.default_rng([settings.seed, 2011])
    for depth, steps in ((2, 3), (3, 2), (4, 2)) if settings.full else ((2, 2), (3, 2)):
        values = [2, 1, -int(rng.integers(1, 3))]
        yield Case(
            name=f"depth {depth}, {steps} steps, in fractions",
            residual=gaps(depth, steps, factor, values),
            hypotheses=SEEN,
            size=float(9 * depth),
        )


@cache
def rise(depth: int, lam: float, eta: float) -> list[Any]:
    """The flow's time to each step of the recursion while f rises."""
    with mpmath.workdps(DIGITS):
        value, step = mpmath.mpf(lam), mpmath.mpf(eta)

        def speed(s: Any) -> Any:
            return s ** (depth - 1) * (value - s**depth)

        top = (value * (depth - 1) / (2 * depth - 1)) ** (mpmath.mpf(1) / depth)
        d, total, found = mpmath.mpf("0.3") * top, mpmath.mpf(0), []
        while d + step * speed(d) < top:
            after = d + step * speed(d)
            total += mpmath.quad(lambda s: 1 / speed(s), [d, after])
            d = after
            found.append(total)
        return found


@claim(
    "chou2024.hitting",
    kind="inequality",
    where="ours; after the paper's bounds of the hitting times by the flow's",
    statement=r"f(d) = d^{N-1}(\lambda - d^N) \text{ rises on } [d(0), d(k)] \Rightarrow k\eta \ge "
    r"\int_{d(0)}^{d(k)} \frac{ds}{f(s)}: \text{ the time of the flow}",
    control={"share": 0.9},
    control_text="0.9 k eta",
    best=(Best("1", "1", "proved", "As a factor of k eta: approached as eta -> 0."),),
)
def hitting(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """Recursions in 50 digits until f is largest, the flow's time by quadrature.

    Each step: the integral of 1/f from d to d + eta f(d) is at most eta f(d) / f(d).
    """
    rng = np.random.default_rng([settings.seed, 3])
    for depth in (2, 3, 4) if settings.full else (2, 3):
        lam = round(float(rng.uniform(0.5, 2.0)), 3)
        eta = round(0.05 / lam, 4)
        times = rise(depth, lam, eta)
        steps = np.arange(1, len(times) + 1) * eta
        with mpmath.workdps(DIGITS):
            slacks = [
                float(share - t / (k * mpmath.mpf(eta))) for k, t in enumerate(times, start=1)
            ]
        yield Case(
            name=f"depth {depth}, lambda = {lam:g}",
            slack=slacks,
            floor=FIFTY_DIGITS,
            hypotheses={
                "f rises": ByConstruction("the recursion stops where it no longer does"),
                "some steps are seen": Measured(float(len(times)), above=3),
            },
            size=float(depth),
            notes=f"{len(times)} steps; the flow takes {float(times[-1]):.4f} of {steps[-1]:.4f}",
            along=("k eta", steps),
        )
