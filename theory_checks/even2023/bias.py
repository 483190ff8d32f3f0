r"""Even et al. 2023: gradient descent and SGD of any step sizes, as a mirror map of the end.

beta = u * v, u(0) = sqrt(2) alpha 1, v(0) = 0, steps (u, v) - gamma_k (v * g_k, u * g_k) with any
g_k in the range of X^T. With q_+-(x) = -+2x - ln((1 -+ x)^2),

    alpha_+-^2 = alpha^2 exp(-sum_k q_+-(gamma_k g_k)),  alpha_inf^2 = alpha_+ alpha_-,
    beta_0 = (alpha_+^2 - alpha_-^2) / 2,

arcsinh(beta / alpha_inf^2) - arcsinh(beta_0 / alpha_inf^2) is -2 sum_k gamma_k g_k, at every
iteration: so an end that fits minimises the potential that belongs to alpha_inf and beta_0.
"""

from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import optax
import sympy

import gradflow as gf
from gradflow.claims import FIFTY_DIGITS, ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles.high_precision import DIGITS, decimal
from gradflow.claims.proofs import Proof, chain, prove_identity

ANY = {"g_k in the range of X^T": ByConstruction("X^T times residuals")}


def proof(factor: float) -> Proof:
    """P and M are the products of 1 - gamma g and of 1 + gamma g, E = e^(2 eta); P, M > 0 first.

    exp(-sum q_+) = P^2 / E and exp(-sum q_-) = M^2 E. A sign of P or M changes neither side: only
    squares of them stand in beta, alpha_+-^2 and beta_0.
    """
    u, v, x, a, e, p, m, s = sympy.symbols("u v x a E P M s", positive=True)
    inf = decimal(factor) * a * p * m
    beta, start = a * (p**2 - m**2) / 2, a * (p**2 / e - m**2 * e) / 2
    ratio = p / (m * e)
    return chain(
        "arcsinh(beta / alpha_inf^2) = arcsinh(beta_0 / alpha_inf^2) + 2 eta",
        prove_identity("u + v after a step", u - x * v + v - x * u, (1 - x) * (u + v)),
        prove_identity("u - v after a step", u - x * v - v + x * u, (1 + x) * (u - v)),
        prove_identity("u v, where u + v = s P, u - v = s M, s = sqrt(2) alpha",
                       (s * p + s * m) / 2 * (s * p - s * m) / 2, beta.subs(a, s**2 / 2)),
        prove_identity("beta_0 / alpha_inf^2 is sinh(ln r)", start / inf, (ratio - 1 / ratio) / 2),
        prove_identity("beta / alpha_inf^2 is sinh(ln r + 2 eta)", beta / inf,
                       (ratio * e - 1 / (ratio * e)) / 2),
        cites=("u + v and u - v begin at sqrt(2) alpha, a = alpha^2", "sinh is one to one"),
    )  # fmt: skip


def gap(
    beta: Any, moves: list[Any], alpha: Any, factor: Any, library: Any = mpmath
) -> tuple[Any, Any]:
    """The difference of the two arcsinh of an entry; and -2 sum gamma g."""
    log, exp = library.log, library.exp
    plus = alpha**2 * exp(-sum(-2 * x - log((1 - x) ** 2) for x in moves))
    minus = alpha**2 * exp(-sum(2 * x - log((1 + x) ** 2) for x in moves))
    inf = factor * library.sqrt(plus * minus)
    left = library.asinh(beta / inf) - library.asinh((plus - minus) / 2 / inf)
    return left, -2 * sum(moves)


def descend(
    rng: np.random.Generator, shape: tuple[int, int], alpha: float, steps: int, stochastic: bool
) -> tuple[list[Any], list[list[Any]], float]:
    """Beta at the end, gamma_k g_k by entry, and the largest |gamma g|: in 50 digits."""
    n, size = shape
    x, y = rng.normal(size=shape), rng.normal(size=n)
    rows = [[mpmath.mpf(float(v)) for v in row] for row in x]
    labels = [mpmath.mpf(float(v)) for v in y]
    u, v = [mpmath.sqrt(2) * mpmath.mpf(alpha)] * size, [mpmath.mpf(0)] * size
    moves: list[list[Any]] = [[] for _ in range(size)]
    for _ in range(steps):
        gamma = mpmath.mpf(float(rng.uniform(0.02, 0.25)))
        seen = [int(rng.integers(n))] if stochastic else range(n)
        residuals = {
            i: mpmath.fdot(rows[i], [a * b for a, b in zip(u, v, strict=True)]) - labels[i]
            for i in seen
        }
        for j in range(size):
            g = sum(residuals[i] * rows[i][j] for i in seen) / len(seen)
            u[j], v[j] = u[j] - gamma * g * v[j], v[j] - gamma * g * u[j]
            moves[j].append(gamma * g)
    largest = max(abs(float(move)) for entry in moves for move in entry)
    return [a * b for a, b in zip(u, v, strict=True)], moves, largest


@claim(
    "even2023.bias",
    kind="identity",
    where="the theorem on the implicit bias of (S)GD, at every iteration",
    statement=r"\alpha_\pm^2 = \alpha^2 e^{-\sum_k q_\pm(\gamma_k g_k)},\ \alpha_\infty^2 = "
    r"\alpha_+\alpha_-,\ \tilde\beta_0 = \tfrac12(\alpha_+^2 - \alpha_-^2) \Rightarrow "
    r"\mathrm{arcsinh}\frac{\beta}{\alpha_\infty^2} - \mathrm{arcsinh}\frac{\tilde\beta_0}"
    r"{\alpha_\infty^2} = -2\sum_k \gamma_k g_k \in \mathrm{range}\, X^\top",
    control={"factor": 1.1},
    control_text="1.1 alpha_inf^2",
)
def bias(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """By algebra; descents of random steps in 50 digits; and one of the library's to its end."""
    yield Case("every descent", proof=proof(factor), whole=True, hypotheses=ANY, size=1)
    rng = np.random.default_rng([settings.seed, 8982])
    for stochastic in (False, True):
        for shape in ((2, 3), (3, 5)) if settings.full else ((2, 3),):
            with mpmath.workdps(DIGITS + 10):
                betas, moves, largest = descend(rng, shape, 0.5, 60, stochastic)
                sides = [
                    gap(beta, entry, mpmath.mpf("0.5"), mpmath.mpf(factor))
                    for beta, entry in zip(betas, moves, strict=True)
                ]
                residual = [float(abs(a - b)) for a, b in sides]
            yield Case(
                name=f"{'SGD' if stochastic else 'GD'}, {shape[0]} data, {shape[1]} entries",
                residual=residual,
                floor=FIFTY_DIGITS,
                hypotheses=ANY,
                size=float(shape[0] * shape[1]),
                notes=f"60 random steps; the largest |gamma g| is {largest:.3g}",
            )
    yield _library(settings, factor)


def _library(settings: Settings, factor: float) -> Case:
    """`gradflow.run_descent` until it fits: w_+- = (u +- v)/2 and gamma = 2 eta there.

    The part of the difference that is not in the range of X^T; a rounding of each term of its sums
    is the floor.
    """
    rng = np.random.default_rng([settings.seed, 7])
    x, y, alpha, rate, steps = rng.normal(size=(2, 4)), rng.normal(size=2), 0.3, 0.02, 1500
    model = gf.DiagonalNetwork(4, 2)
    run = gf.run_descent(
        gf.Objective(gf.LeastSquares(x, y), model), model.identity(alpha / 2**0.5), optax.sgd,
        learning_rate=rate, max_steps=steps, record=range(steps + 1), observe=("product",),
    )  # fmt: skip
    betas = run["product"]
    g = (betas[:-1] @ x.T - y) @ x
    left, _ = zip(
        *(gap(betas[-1, j], list(2 * rate * g[:, j]), alpha, factor, _NumPy) for j in range(4)),
        strict=True,
    )
    null = np.linalg.svd(x)[2][2:]
    size = float(np.max(np.abs(left)))
    return Case(
        name="the library's descent to its end",
        residual=np.abs(null @ np.array(left)) / size,
        floor=float(np.finfo(float).eps * steps * np.max(np.abs(2 * rate * g).sum(axis=0)) / size),
        hypotheses=ANY
        | {"it fits": Measured(float(np.linalg.norm(x @ betas[-1] - y)), below=1e-8)},
        size=8,
    )


class _NumPy:
    """The functions of `gap` in float64."""

    log, exp, sqrt, asinh = np.log, np.exp, np.sqrt, np.arcsinh
