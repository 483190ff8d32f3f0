r"""Domine et al. 2025: lambda-balanced two-layer networks obey a matrix Riccati equation.

W_2^T W_2 - W_1 W_1^T = lambda I, loss 1/2 ||Sigma - W_2 W_1||^2, Q = [W_1^T; W_2]. Nothing needs to
be aligned; at lambda = 0 it is the solution of Braun et al. 2022.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

import gradflow as gf
from gradflow.claims import Case, Measured, Settings, claim

from ..saxe2014._networks import Data, Matrices, Run, columns, data, follow
from . import _proofs

SHAPES = (((3, 2), 2, 0.8), ((2, 4), 2, -1.2), ((3, 3), 2, 0.0), ((3, 3), 3, 2.5))
"""(m, n), hidden neurons and lambda; above 0 it needs m, below 0 n, as large as the hidden size."""
MORE = (((6, 4), 4, 1.5), ((5, 8), 5, -0.3))
HORIZON = 4.0
TIMES = np.linspace(0.0, HORIZON, 17)


def balanced_start(
    rng: np.random.Generator, shape: tuple[int, int], hidden: int, balance: float
) -> Matrices:
    """Random layers with W_2^T W_2 - W_1 W_1^T = balance I."""
    m, n = shape
    below, above = (n, m) if balance >= 0 else (m, n)
    first = 0.4 * rng.normal(size=(hidden, below))
    values, vectors = np.linalg.eigh(first @ first.T)
    if below < hidden:
        values = np.maximum(values, 0.0)
    root = (vectors * np.sqrt(values + abs(balance))) @ vectors.T
    second = columns(rng, above, hidden) @ root
    return (first, second) if balance >= 0 else (second.T, first.T)


@cache
def runs(seed: int, full: bool) -> tuple[tuple[Run, float], ...]:
    """Flows with their lambdas; neither starts nor their singular vectors know Sigma."""
    found = []
    for index, ((m, n), hidden, balance) in enumerate(SHAPES + (MORE if full else ())):
        rng = np.random.default_rng([seed, 2025, index])
        given = data(rng, (m, n), np.sort(rng.uniform(0.7, 2.5, min(m, n)))[::-1])
        start = balanced_start(rng, (m, n), hidden, balance)
        name = f"{m}x{n}, {hidden} hidden, lambda = {balance:g}"
        found.append((follow(name, given, start, HORIZON), balance))
    return tuple(found)


def generator(given: Data, balance: float, half: float = 0.5) -> np.ndarray:
    """F."""
    sigma = given.y @ given.x.T
    m, n = sigma.shape
    return np.block([[-half * balance * np.eye(n), sigma.T], [sigma, half * balance * np.eye(m)]])


def closed_form(start: Matrices, given: Data, balance: float, half: float) -> np.ndarray:
    """The printed QQ^T at `TIMES`, by F's eigenvectors; rows and columns of W_1^T, then W_2.

    With I + Q_0^T (e^(Ft) F^-1 e^(Ft) - F^-1) Q_0 / 2 as it stands: times are short.
    """
    values, vectors = np.linalg.eigh(generator(given, balance, half))
    q = vectors.T @ np.concatenate([start[0].T, start[1]])
    found = []
    for t in TIMES:
        grown = np.expm1(2 * values * t) / values / 2
        bracket = np.eye(q.shape[1]) + (q.T * grown) @ q
        moved = vectors @ (np.exp(values * t)[:, None] * q)
        found.append(moved @ np.linalg.solve(bracket, moved.T))
    return np.array(found)


def followed(run: Run, coarse: bool = False) -> np.ndarray:
    """QQ^T of the flow at `TIMES`."""
    stacks = [
        np.concatenate([one.T, two]) for one, two in (run.factors(float(t), coarse) for t in TIMES)
    ]
    return np.array([q @ q.T for q in stacks])


def library(run: Run) -> np.ndarray:
    """W_2 W_1 at `TIMES` as the library has it."""
    sigma = run.given.y @ run.given.x.T
    problem = gf.MatrixCompletion(sigma.shape, list(np.ndindex(*sigma.shape)), sigma.ravel())
    sizes = (sigma.shape[1], len(run.start[0]), sigma.shape[0])
    objective = gf.Objective(problem, gf.MatrixProduct(sizes))
    return gf.exact.riccati_flow(objective, run.start, TIMES, observe=("product",))["product"]


@claim(
    "domine2025.riccati",
    kind="identity",
    where="the exact dynamics of lambda-balanced networks",
    statement=r"W_2^\top W_2 - W_1W_1^\top = \lambda I,\ Q = \begin{pmatrix} W_1^\top \\ W_2 "
    r"\end{pmatrix},\ F = \begin{pmatrix} -\frac\lambda2 I & \Sigma^\top \\ \Sigma & "
    r"\frac\lambda2 I \end{pmatrix} \Rightarrow \tfrac{d}{dt}QQ^\top = FQQ^\top + QQ^\top F - "
    r"(QQ^\top)^2,\quad QQ^\top = e^{Ft}Q_0\left[I + \tfrac12 Q_0^\top(e^{Ft}F^{-1}e^{Ft} - "
    r"F^{-1})Q_0\right]^{-1}Q_0^\top e^{Ft}",
    control={"half": 0.55},
    control_text="0.55 lambda on the diagonal of F",
)
def riccati(settings: Settings, half: float = 0.5) -> Iterator[Case]:
    """Flows of both layers, by SciPy, beside the formula and the library's product."""
    yield _proofs.riccati(half)
    for run, balance in runs(settings.seed, settings.full):
        found = followed(run)
        size = np.linalg.norm(found, axis=(1, 2))
        error = float(np.max(np.abs(found - followed(run, coarse=True)).max(axis=(1, 2)) / size))
        one, two = run.start
        gap = two.T @ two - one @ one.T - balance * np.eye(len(one))
        inner = run.given.u.T @ (two @ one) @ run.given.v
        off = np.abs(inner - np.diag(np.diag(inner))).max() / np.abs(inner).max()
        smallest = np.min(np.abs(np.linalg.eigvalsh(generator(run.given, balance))))
        hypotheses = {
            "loss 1/2 ||Y - W X||^2, whitened inputs": run.given.whitened,
            "W_2^T W_2 - W_1 W_1^T = lambda I": Measured(float(np.abs(gap).max()), below=1e-12),
            "not aligned with Sigma": Measured(float(off), above=1e-2),
            "F is invertible": Measured(float(smallest), above=1e-3),
        }
        n = run.given.x.shape[0]
        sides = {
            run.name: found - closed_form(run.start, run.given, balance, half),
            f"{run.name}: riccati_flow": found[:, n:, :n] - library(run),
        }
        for name, left in sides.items():
            yield Case(
                name=name,
                residual=np.abs(left).max(axis=(1, 2)) / size,
                floor=error + 1e-14,
                hypotheses=hypotheses,
                size=float(run.given.y.shape[0] * n),
                witness=lambda at: {"t": float(TIMES[at])},
            )
