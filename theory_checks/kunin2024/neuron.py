r"""Kunin et al. 2024: one linear neuron f = a w^T x, from any start and at unequal rates.

a' = -eta_a dL/da and w' = -eta_w dL/dw keep delta = eta_w a^2 - eta_a ||w||^2. At equal rates the
flow ends, if it fits, where Psi(beta) - psi <beta_0/||beta_0||, beta> is least on X beta = y.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple, no_type_check

import numpy as np
from scipy.integrate import solve_ivp

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim

from . import _proofs

RTOL = 1e-12
RECORDS = 41
LOSSES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "squares": lambda f, y: f - y,
    "logistic": lambda f, y: -np.sign(y) / (1 + np.exp(np.sign(y) * f)),
    "Huber": lambda f, y: np.clip(f - y, -0.5, 0.5),
}
"""Derivatives of the losses in the outputs."""
RATES = ((1.0, 1.0), (0.5, 2.0), (3.0, 0.4))
"""(eta_a, eta_w)."""


class Run(NamedTuple):
    """A flow of one neuron.

    Attributes:
      x: (n, d) inputs.
      y: (n,) targets.
      times: of the records.
      a: (records,).
      w: (records, d).
      coarse_a: a at a thirtyfold tolerance.
      coarse_w: w at a thirtyfold tolerance.
    """

    x: np.ndarray
    y: np.ndarray
    times: np.ndarray
    a: np.ndarray
    w: np.ndarray
    coarse_a: np.ndarray
    coarse_w: np.ndarray


def follow(
    x: np.ndarray, y: np.ndarray, a: float, w: np.ndarray, loss: str, rates: tuple[float, float],
    horizon: float,
) -> Run:  # fmt: skip
    """The flow at both tolerances."""
    slope, (rate_a, rate_w) = LOSSES[loss], rates

    @no_type_check  # called thousands of times
    def field(_: float, state: np.ndarray) -> np.ndarray:
        g = x.T @ slope(x @ state[1:] * state[0], y)
        return np.concatenate([[-rate_a * (state[1:] @ g)], -rate_w * state[0] * g])

    times = horizon * np.linspace(0.0, 1.0, RECORDS) ** 2
    runs: list[Any] = [
        solve_ivp(
            field, (0.0, horizon), np.array([a, *w]), "DOP853", t_eval=times, rtol=rtol,
            atol=rtol * 1e-2,
        ).y
        for rtol in (RTOL, 30 * RTOL)
    ]  # fmt: skip
    tight, coarse = runs
    return Run(x, y, times, tight[0], tight[1:].T, coarse[0], coarse[1:].T)


@claim(
    "kunin2024.invariant",
    kind="conservation",
    where="the conserved quantity of the single-neuron model",
    statement=r"f = a\,w^\top x,\ \dot a = -\eta_a\,\partial_a L,\ \dot w = -\eta_w\,\partial_w L "
    r"\Rightarrow \delta = \eta_w a^2 - \eta_a\|w\|^2 \text{ stays}",
    control={"factor": 1.1},
    control_text="1.1 eta_a",
)
def invariant(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """Three losses and three pairs of rates; the floor is what a tolerance 30 times changes."""
    yield _proofs.invariant(factor)
    for index, (loss, rates) in enumerate(zip(LOSSES, RATES, strict=True)):
        rng = np.random.default_rng([settings.seed, 2024, index])
        x, y = rng.normal(size=(6, 3)), rng.normal(size=6)
        run = follow(x, y, float(rng.uniform(0.5, 1.5)), rng.normal(size=3), loss, rates, 6.0)
        pairs = ((run.a, run.w), (run.coarse_a, run.coarse_w))
        found, coarse = (
            rates[1] * a**2 - factor * rates[0] * np.sum(w**2, axis=1) for a, w in pairs
        )
        size = float(np.max(rates[1] * run.a**2 + rates[0] * np.sum(run.w**2, axis=1)))
        yield Case(
            name=f"{loss}, eta_a = {rates[0]:g}, eta_w = {rates[1]:g}",
            residual=(found - found[0]) / size,
            floor=float(np.abs(found - coarse).max()) / size + 1e-14,
            hypotheses={
                "gradient flow at both rates": ByConstruction("its equations are integrated"),
                "the neuron moves": Measured(float(np.abs(run.a - run.a[0]).max()), above=1e-2),
            },
            size=float(index + 1),
            witness=lambda at, run=run: {"t": float(run.times[at]), "a": float(run.a[at])},
        )


@cache
def fits(seed: int, full: bool) -> tuple[tuple[float, Run], ...]:
    """Flows on fewer data than entries, by the delta of their starts."""
    found = []
    for index, delta in enumerate((1.5, 0.0, -1.0) + (4.0, -4.0) * full):
        rng = np.random.default_rng([seed, 2025, index])
        while True:
            x = np.linalg.qr(rng.normal(size=(5, 2)))[0].T * rng.uniform(0.8, 1.25, (2, 1))
            w = rng.normal(size=5) * 0.5
            w *= np.sqrt(max(-delta, 0.0) + 0.3) / np.linalg.norm(w)
            a = float(np.sqrt(delta + w @ w))
            # The start and the end are on one side, so that the neuron does not pass 0.
            y = x @ (a * w) * rng.uniform(1.5, 2.5) + 0.4 * rng.normal(size=2)
            run = follow(x, y, a, w, "squares", (1.0, 1.0), 40.0)
            if (
                np.min(np.abs(run.a)) > 0.05
                and np.linalg.norm(x @ run.w[-1] * run.a[-1] - y) < 1e-9
            ):
                break
        found.append((delta, run))
    return tuple(found)


def potential(beta: np.ndarray, delta: float) -> np.ndarray:
    """Psi, of vectors in rows."""
    s = np.sqrt(delta**2 + 4 * np.sum(beta**2, axis=-1))
    return (s - 2 * delta) * np.sqrt(s + delta) / 3


@claim(
    "kunin2024.bias",
    kind="identity",
    where="the theorem on the inductive bias of the single neuron",
    statement=r"\eta_a = \eta_w = 1,\ S = \sqrt{\delta^2 + 4\|\beta\|^2},\ \beta(t) \ne 0,\ "
    r"X\beta_\infty = y \Rightarrow \beta_\infty = \mathrm{arg}\min_{X\beta = y} "
    r"\frac{(S - 2\delta)\sqrt{S + \delta}}{3} - \sqrt{\sqrt{\delta^2 + 4\|\beta_0\|^2} - \delta}\,"
    r"\left\langle\frac{\beta_0}{\|\beta_0\|}, \beta\right\rangle",
    control={"share": 0.9},
    control_text="a linear term 10 per cent smaller",
)
def bias(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """The objective's gradient at the end of flows, by SciPy, and its values around that."""
    yield _proofs.bias(share)
    for delta, run in fits(settings.seed, settings.full):
        beta, coarse = run.a[-1] * run.w[-1], run.coarse_a[-1] * run.coarse_w[-1]
        start = run.a[0] * run.w[0]
        slope, rough = (_gradient(b, start, delta, share) for b in (beta, coarse))
        size = float(np.linalg.norm(_gradient(beta, start, delta, 0.0)))
        beyond = np.eye(5) - np.linalg.pinv(run.x) @ run.x
        misfit = float(np.linalg.norm(run.x @ beta - run.y))
        hypotheses = {
            "gradient flow of 1/2 ||X beta - y||^2": ByConstruction("its equations are integrated"),
            "X beta = y": Measured(misfit, below=1e-8),
            "beta does not vanish": Measured(float(np.abs(run.a).min()), above=1e-2),
            "delta is the start's": Measured(
                float(abs(run.a[0] ** 2 - run.w[0] @ run.w[0] - delta)), below=1e-12
            ),
        }
        yield Case(
            name=f"delta = {delta:g}: gradient beyond the range of X^T",
            residual=beyond @ slope / size,
            floor=float(np.abs(beyond @ (slope - rough)).max()) / size + 10 * misfit + 1e-14,
            hypotheses=hypotheses,
            size=5.0,
            notes=f"a from {run.a[0]:.3f} to {run.a[-1]:.3f}",
            witness=lambda at, beta=beta: {"entry": at, "beta": beta.tolist()},
        )
        steps = np.random.default_rng([settings.seed, 7]).normal(size=(200, 5)) @ beyond
        steps *= np.linalg.norm(beta) * np.geomspace(1e-2, 10.0, 200)[:, None]
        values = _value(beta + steps, start, delta, share)
        least = float(_value(beta[None], start, delta, share)[0])
        yield Case(
            name=f"delta = {delta:g}: other interpolants",
            slack=(values - least) / (abs(least) + np.abs(values)),
            floor=10 * misfit + 1e-14,
            hypotheses=hypotheses,
            size=5.0,
        )


def _gradient(beta: np.ndarray, start: np.ndarray, delta: float, share: float) -> np.ndarray:
    """Of the objective: sqrt(S - delta) beta/||beta||, less psi beta_0/||beta_0||."""

    def pull(b: np.ndarray) -> np.ndarray:
        norm = np.linalg.norm(b)
        return 2 * b / np.sqrt(np.sqrt(delta**2 + 4 * norm**2) + delta)

    return pull(beta) - share * pull(start)


def _value(beta: np.ndarray, start: np.ndarray, delta: float, share: float) -> np.ndarray:
    """The objective, of vectors in rows."""
    norm = np.linalg.norm(start)
    weight = share * np.sqrt(np.sqrt(delta**2 + 4 * norm**2) - delta)
    return potential(beta, delta) - weight * (beta @ start) / norm
