r"""Gunasekar et al. 2017: the conjecture that U U^T finds the least nuclear norm.

For symmetric measurements <A_i, X> = y_i and X = U U^T the paper proves it where the A_i commute,
and conjectures it for all. Li, Luo and Lyu 2021 refuted it; their problem is the counterexample.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import mpmath
import numpy as np
from scipy.optimize import linprog

import gradflow as gf
from gradflow.claims import (
    ByConstruction,
    Case,
    Confirmation,
    Convention,
    Corrected,
    Measured,
    Settings,
    claim,
)
from gradflow.claims.oracles import taylor

from ..li2021._columns import pieces
from ..li2021._problems import Posed
from ..li2021.counterexample import LOGS, end

EXACT_ALPHA = 12
"""The confirmation is from 10 to the minus this."""


def one_equation(a: tuple[int, ...], y: int, digits: int) -> tuple[Any, Any]:
    """The trace at the end of the flow for <diag(a), X> = y from I 10^-digits; and the least.

    W stays alpha diag(z^a_i) with sum a_i alpha z^a_i = y: entry by entry w' = -2 a_i r w.
    """
    with mpmath.workdps(60):
        small = digits * mpmath.log(10)
        s = (small + mpmath.log(y)) / max(a)
        for _ in range(60):  # Newton's method for the logarithm of the sum, which is convex
            terms = [k * mpmath.exp(k * s - small) for k in a]
            total = sum(terms)
            slope = sum(k * term for k, term in zip(a, terms, strict=True)) / total
            s -= mpmath.log(total / y) / slope
        return sum(mpmath.exp(k * s - small) for k in a), mpmath.mpf(y) / max(a)


@cache
def commuting(seed: int, size: int, count: int) -> tuple[np.ndarray, float, np.ndarray, float]:
    """Traces at the ends of flows for commuting A_i, the least by linear programming; the A_i.

    The last is the largest loss that is left.

    The entries that the least has not are of the size alpha^(1 - s), s by its dual: s < 0.7.
    """
    rng = np.random.default_rng([seed, size, 2017])
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    while True:
        diagonals = rng.normal(size=(count, size)) / count**0.5
        labels = diagonals @ rng.uniform(0.5, 2.0, size)
        found = linprog(np.ones(size), A_eq=diagonals, b_eq=labels)
        prices = np.sort(diagonals.T @ found.eqlin.marginals)
        if prices[-count] < 1 - 1e-9 or prices[-count - 1] > 0.7:
            continue
        a = np.einsum("ij,kj,lj->kil", turn, diagonals, turn)
        posed, traces, losses = Posed("commuting", a, labels, np.eye(size)), [], []
        for log in LOGS:
            *_, last = pieces(posed, log, -8 * log)
            w = last.gram(last.length)
            traces.append(np.trace(w))
            losses.append(posed.loss(w))
        if max(losses) < 1e-18:  # others take longer
            return np.array(traces), float(found.fun), a, max(losses)


def _in_long_arithmetic(r: int) -> Confirmation:
    """The same flow by Taylor series in 66 digits, from alpha = 10^-12."""
    seen = {(0, 2): 1.0, (0, 3): float(r), (1, 2): float(r)}
    where = [*seen, *[(j, i) for i, j in seen]]
    problem = gf.MatrixCompletion((4, 4), where, [*seen.values()] * 2)
    with mpmath.workprec(taylor.BITS + 40):
        u = mpmath.eye(4) * mpmath.mpf(10) ** -(EXACT_ALPHA // 2)
        found = taylor.follow_factors(problem, [u, u], 1e-8, tail=80)
        trace = sum(found.product[i, i] for i in range(4))
        return Confirmation(
            bool(trace > mpmath.mpf("1.2") * 4 * r),
            f"from U = 1e-6 I the flow of (1, 3) = 1, (1, 4) = (2, 3) = {r} and mirrored is, at "
            f"loss {mpmath.nstr(found.loss, 3)}, W = "
            f"{[[mpmath.nstr(found.product[i, j], 8) for j in range(4)] for i in range(4)]}, of "
            f"nuclear norm {mpmath.nstr(trace, 12)}; [[R,1,1,R],[1,R,R,1],[1,R,R,1],[R,1,1,R]] "
            f"fits with {4 * r}. Smaller starts come nearer to v v^T, v = (1, R, 1, R), of norm "
            f"2 R^2 + 2 = {2 * r * r + 2}",
        )


def _commuting_cases(settings: Settings, factor: float) -> Iterator[Case]:
    """Where the paper proves it."""
    hypotheses = {"A_i commute": ByConstruction("one, or diagonal in one basis")}
    for a, y in (((1, 2), 1), ((1, 2, 3), 2), ((2, 5, 3, 1), 3)):
        trace, least = one_equation(a, y, 400)
        before, _ = one_equation(a, y, 200)
        yield Case(
            name=f"<diag{a}, X> = {y}",
            residual=float(abs(trace / (factor * least) - 1)),
            floor=Convention(
                1e-25, f"50 digits; the norm at alpha = 1e-200 is off by "
                f"{mpmath.nstr(before / least - 1, 2)}, and by a power of alpha", 50
            ),
            hypotheses=hypotheses,
            size=len(a) ** 2,
        )  # fmt: skip
    for size, count in ((4, 2), (5, 3)) if settings.full else ((4, 2),):
        traces, least, measured, misfit = commuting(settings.seed, size, count)
        products = measured[0] @ measured[1]
        yield Case(
            name=f"{size}x{size}, {count} random commuting measurements",
            residual=abs(float(traces[-1]) / (factor * least) - 1),
            # Half the last change is what is left where each alpha is three times nearer.
            floor=abs(float(traces[-1] - traces[-2])) / least / 2 + 1e-9,
            hypotheses={
                "A_i commute": Measured(
                    float(np.max(np.abs(products - products.T))), below=1e-12
                ),
                "X fits": Measured(misfit, below=1e-18),
            },
            size=float(size**2),
        )  # fmt: skip


@claim(
    "gunasekar2017.conjecture",
    kind="limit",
    where="the paper's conjecture",
    statement=r"X(0) = \alpha X_0,\ X_0 \text{ of full rank},\ \hat X = \lim_{\alpha \to 0} "
    r"X_\infty(\alpha X_0) \text{ exists},\ \langle A_i, \hat X\rangle = y_i \Rightarrow \hat X "
    r"\in \mathrm{argmin}\{\|X\|_* : X \succeq 0,\ \langle A_i, X\rangle = y_i\}",
    control={"factor": 1.1},
    control_text="1.1 times the least norm",
    resolution=1e-3,
    flaw="It was conjectured from the commuting case and from experiments. In general the limit "
    "is that of greedy low-rank learning: each phase begins along the top eigenvector of -grad f "
    "and goes where the rank allows, which need not be where the norm is least.",
    severity="substance",
    survives="The theorem on commuting measurements, which is what the paper proves, and what it "
    "reports of its experiments: norms close to the least.",
    corrected=Corrected(
        r"A_i A_j = A_j A_i,\ X(0) = \alpha I,\ \langle A_i, \hat X\rangle = y_i \Rightarrow "
        r"\hat X \in \mathrm{argmin}\{\|X\|_* : X \succeq 0,\ \langle A_i, X\rangle = y_i\}",
        where="the theorem on commuting measurements",
    ),
)
def conjecture(settings: Settings, corrected: bool, factor: float = 1.0) -> Iterator[Case]:
    """Commuting measurements; and Li, Luo and Lyu's completion problem, column by column."""
    yield from _commuting_cases(settings, factor)
    if corrected:
        return
    for r in (2, 3):
        norms = np.array([np.trace(end(float(r), log)) for log in LOGS]) / (4 * r)
        yield Case(
            name=f"4x4 completion, R = {r}",
            residual=abs(norms[-1] / factor - 1),
            floor=abs(float(norms[-1] - norms[-2])) + 1e-10,
            hypotheses={
                "X_0 of full rank": ByConstruction("I"),
                "the limit exists: steps fall threefold": Measured(
                    float(abs(norms[2] - norms[1]) / abs(norms[1] - norms[0])), below=1 / 3
                ),
            },
            size=16 + r,
            witness=lambda at, r=r, norms=norms: {
                "norm / 4 R": norms.tolist(), "at ln(alpha)": list(LOGS),
                "W": end(float(r), LOGS[-1]).tolist(),
            },
            confirm=lambda at, r=r: _in_long_arithmetic(r),
        )  # fmt: skip
