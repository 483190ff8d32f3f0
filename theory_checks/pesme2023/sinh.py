r"""Pesme and Flammarion 2023: along the flow beta is a hyperbolic sine of its dual.

beta = u * v entry by entry, u(0) = sqrt(2) alpha 1, v(0) = 0, L(beta) any differentiable loss, and
eta(t) = -int_0^t grad L(beta(s)) ds. Then beta = alpha^2 sinh(2 eta).
"""

from collections.abc import Iterator
from typing import no_type_check

import numpy as np
import sympy
from scipy.integrate import solve_ivp

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles.high_precision import decimal
from gradflow.claims.proofs import Proof, chain, prove_identity

HYPOTHESES = {"u(0) = sqrt(2) alpha, v(0) = 0": ByConstruction("where the solution begins")}


def proof(factor: float) -> Proof:
    """With E = e^eta, E' = -g E: u and v as functions of E solve the equations."""
    e, a, g = sympy.symbols("E a g", positive=True)  # a = alpha / sqrt(2)
    u, v = a * (e + 1 / e), a * (e - 1 / e)
    rate = -g * e
    return chain(
        f"beta = {factor:g} alpha^2 sinh(2 eta)",
        prove_identity("u' = -v g", u.diff(e) * rate, -v * g),
        prove_identity("v' = -u g", v.diff(e) * rate, -u * g),
        prove_identity(
            "the start, E = 1", sympy.Matrix([u, v]).subs(e, 1), sympy.Matrix([2 * a, 0])
        ),
        prove_identity(
            "u v = alpha^2 (E^2 - E^-2) / 2", u * v, decimal(factor) * a**2 * (e**2 - e**-2)
        ),
        cites=("solutions are unique",),
    )


def followed(
    x: np.ndarray, y: np.ndarray, alpha: float, times: np.ndarray, rtol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Beta and eta of ||X beta - y||^2 / 2n at some times: u, v and eta by SciPy's DOP853."""
    n, size = x.shape

    @no_type_check
    def field(_: float, state: np.ndarray) -> np.ndarray:
        u, v = state[:size], state[size : 2 * size]
        g = x.T @ (x @ (u * v) - y) / n
        return np.concatenate([-v * g, -u * g, -g])

    start = np.concatenate([np.full(size, 2**0.5 * alpha), np.zeros(2 * size)])
    found = solve_ivp(
        field, (0, times[-1]), start, "DOP853", t_eval=times, rtol=rtol, atol=1e-3 * alpha * rtol
    ).y
    return (found[:size] * found[size : 2 * size]).T, found[2 * size :].T


@claim(
    "pesme2023.sinh",
    kind="identity",
    where="Section 2; beta as a function of the integral of the gradient",
    statement=r"\beta = u \odot v,\ u(0) = \sqrt2\,\alpha \mathbf 1,\ v(0) = 0,\ "
    r"\eta = -\int_0^t \nabla L(\beta) \Rightarrow \beta = \alpha^2 \sinh(2\eta)",
    control={"factor": 1.1},
    control_text="1.1 alpha^2",
)
def sinh(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """By algebra; along flows by SciPy; and the library's closed form for orthogonal inputs.

    The library's w_+ and w_- are (u + v)/2 and (u - v)/2, at half the time.
    """
    yield Case("every loss", proof=proof(factor), whole=True, hypotheses=HYPOTHESES, size=1)
    rng = np.random.default_rng([settings.seed, 2304])
    times = np.geomspace(0.5, 40, 12)
    for n, size in ((2, 4), (3, 5), (6, 9))[: 3 if settings.full else 2]:
        x, y = rng.normal(size=(n, size)), rng.normal(size=n)
        for alpha in (1.0, 1e-2):
            tight, coarse = (followed(x, y, alpha, times, rtol) for rtol in (1e-12, 1e-10))
            sides = [beta - factor * alpha**2 * np.sinh(2 * eta) for beta, eta in (tight, coarse)]
            scale = np.max(np.abs(tight[0]), axis=1)
            yield Case(
                name=f"{n} data, {size} entries, alpha = {alpha:g}",
                residual=np.max(np.abs(sides[0]), axis=1) / scale,
                floor=_floor(tight, coarse),
                hypotheses=HYPOTHESES,
                size=float(n * size),
                along=("time", times),
            )
    yield _library(settings, factor)


def _floor(tight: tuple[np.ndarray, np.ndarray], coarse: tuple[np.ndarray, np.ndarray]) -> float:
    """What a hundredfold tolerance changes, in beta and, through the sine, in eta."""
    beta, eta = (np.max(np.abs(a - b), axis=1) for a, b in zip(tight, coarse, strict=True))
    return float(np.max(beta / np.max(np.abs(tight[0]), axis=1)) + 2 * np.max(eta)) + 1e-14


def _library(settings: Settings, factor: float) -> Case:
    """Orthogonal inputs: `gradflow.exact.diagonal_flow` against flows by SciPy."""
    rng = np.random.default_rng([settings.seed, 488])
    x, y, alpha = np.diag(rng.uniform(0.5, 2.0, 4)), rng.normal(size=4), 0.05
    times = np.geomspace(0.5, 20, 8)
    tight, coarse = (followed(x, y, alpha, times, rtol) for rtol in (1e-12, 1e-10))
    model = gf.DiagonalNetwork(4, 2)
    objective = gf.Objective(gf.LeastSquares(x / 2, y / 2), model)
    # (u + v)/2 = alpha / sqrt(2) at the start; the library's flow has twice the speed, and 4 data
    # halve the inputs and the targets.
    run = gf.exact.diagonal_flow(
        objective, model.identity(alpha / 2**0.5), times / 2, observe=("product",)
    )
    beta = run["product"][1:]
    scale = np.max(np.abs(beta), axis=1)
    return Case(
        name="orthogonal inputs: the library's closed form",
        residual=np.max(np.abs(beta - factor * alpha**2 * np.sinh(2 * tight[1])), axis=1) / scale,
        floor=_floor(tight, coarse),
        hypotheses=HYPOTHESES
        | {"orthogonal inputs": Measured(float(np.abs(x.T @ x - np.diag(np.diag(x.T @ x))).max()),
                                         below=1e-12)},
        size=16,
    )  # fmt: skip
