r"""Razin and Cohen 2020: Lemma 16, a comparison of differential inequalities."""

from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
from scipy.integrate import quad

from gradflow.claims import (
    ByConstruction,
    Case,
    Confirmation,
    Convention,
    Measured,
    Settings,
    claim,
)
from gradflow.claims.oracles.high_precision import DIGITS

from . import _best, _proofs_flows


@claim(
    "razin2020.lem16",
    kind="inequality",
    where="Appendix G.2.2, Lemma 16",
    statement=r"|\dot g| \le a + b g^\gamma,\ g > 0 \text{ on } [t_0, T) \Rightarrow "
    r"g(T) \ge \tfrac{a + b g(t_0)}{b}e^{-b(T-t_0)} - \tfrac ab\ (\gamma = 1),\ "
    r"g(T) \ge b^{-1/\gamma}\big[b^{1/\gamma}(\gamma-1)(T-t_0) + "
    r"(a^{1/\gamma}+b^{1/\gamma}g(t_0))^{1-\gamma}\big]^{-1/(\gamma-1)} - (a/b)^{1/\gamma}",
    control={"rate": 0.9},
    control_text="0.9 of the time in the bound",
    resolution=1e-5,
    best=_best.LEM16,
)
def lem16(settings: Settings, rate: float = 1.0) -> Iterator[Case]:
    """The fastest admissible fall, dg/dt = -(a + b g^gamma).

    With F' = 1 / (a + b g^gamma), every admissible curve is F(g(t)) = F(g(t_0)) - phi(t) with
    |phi'| <= 1, so that this one is the lowest at each time. T - t_0 follows from g(T) by
    quadrature, in 50 digits for a part of the cases. The bound falls with T: what holds for the
    lowest curve holds for all.
    """
    yield _proofs_flows.lem16(rate)
    rng = np.random.default_rng(settings.seed)
    for gamma in (1.0, 1.1, 1.5, 2.0, 3.0, 4.0):
        values: list[float] = []
        floors: list[float] = []
        points: list[tuple[float, ...]] = []
        for k in range(400 if settings.full else 80):
            a, b, start = (float(v) for v in 10 ** rng.uniform([-4, -2, -2], [1, 1, 1]))
            end = 0.0 if k % 5 == 0 else float(start * rng.uniform(0, 1) ** 2)
            spent, error = quad(
                lambda u, a=a, b=b, gamma=gamma: 1 / (a + b * u**gamma), end, start,
                epsabs=0, epsrel=1e-11, limit=400, points=None,
            )  # fmt: skip
            bound = float(_lemma16(a, b, gamma, start, rate * spent))
            nudged = float(_lemma16(a, b, gamma, start, rate * (spent + error)))
            size = start + (a / b) ** (1 / gamma)
            values.append((end - bound) / size)
            floors.append(4 * abs(bound - nudged) / size + 1e-12)
            points.append((a, b, start, end, spent))

        def confirm(k: int, points: Any = points, gamma: float = gamma) -> Confirmation:
            with mpmath.workdps(DIGITS):
                a, b, start, end, _ = (mpmath.mpf(v) for v in points[k])
                spent: Any = mpmath.quad(lambda u: 1 / (a + b * u**gamma), [end, start])
                bound = _lemma16(a, b, mpmath.mpf(gamma), start, rate * spent)
                return Confirmation(
                    bool(end < bound),
                    f"a, b, g(t_0), g(T) = {points[k][:4]}, T - t_0 = {mpmath.nstr(spent, 20)}: "
                    f"g(T) < {mpmath.nstr(bound, 20)}",
                )

        yield Case(
            name=f"gamma = {gamma:g}",
            slack=values,
            floor=floors,
            hypotheses={
                "a, b > 0": Measured(min(min(p[:2]) for p in points), above=0),
                "gamma >= 1": ByConstruction("from 1 to 4"),
                "g > 0 before T": Measured(min(p[2] for p in points), above=0),
            },
            size=5,
            witness=lambda k, points=points: dict(
                zip(("a", "b", "g(t_0)", "g(T)", "T - t_0"), points[k], strict=True)
            ),
            confirm=confirm,
            notes=f"smallest slack {min(values):.1e}"
            + (" (an equality)" if gamma == 1 else ", sharp as a tends to 0"),
        )
    checked = range(6)
    slack, drawn = [], []
    with mpmath.workdps(DIGITS):
        for _ in checked:
            a, b, start = (mpmath.mpf(float(v)) for v in 10 ** rng.uniform(-1, 1, 3))
            gamma = mpmath.mpf(float(rng.uniform(1.05, 4)))
            spent: Any = mpmath.quad(lambda u, a=a, b=b, g=gamma: 1 / (a + b * u**g), [0, start])
            drawn.append((a, b, gamma))
            slack.append(float(-_lemma16(a, b, gamma, start, rate * spent) / start))
    yield Case(
        name="down to 0, in 50 digits",
        slack=slack,
        floor=Convention(1e-25, "50 digits, quadrature and series included", 50),
        hypotheses={
            "a, b > 0": Measured(float(min(min(a, b) for a, b, _ in drawn)), above=0),
            "gamma > 1": Measured(float(min(g for *_, g in drawn)), above=1),
            "g(T) = 0": ByConstruction("T - t_0 is the time that g takes to fall to 0"),
        },
        size=5,
    )


def _lemma16(a: Any, b: Any, gamma: Any, start: Any, spent: Any) -> Any:
    """The printed lower bound of g(T), for floats and mpmath numbers."""
    exp = mpmath.exp if isinstance(a, mpmath.mpf) else np.exp
    if gamma == 1:
        return (a + b * start) / b * exp(-b * spent) - a / b
    root = b ** (1 / gamma)
    inner = root * (gamma - 1) * spent + (a ** (1 / gamma) + root * start) ** (1 - gamma)
    return 1 / (root * inner ** (1 / (gamma - 1))) - (a / b) ** (1 / gamma)
