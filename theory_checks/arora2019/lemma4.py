r"""Arora et al. 2019: the sign of a solution of ds/dt = (s^2)^alpha g(t) (Lemma 4).

For alpha >= 1/2 and continuous g, a solution keeps the sign of s(0) = s_0 as long as it is finite.
With I(t) the integral of g from 0, the proof gives it in closed form:

    alpha = 1/2:  s_0 exp(I) for s_0 > 0,  s_0 exp(-I) for s_0 < 0;
    alpha > 1/2:  (s_0^(1 - 2 alpha) + (1 - 2 alpha) I)^(1/(1 - 2 alpha)) for s_0 > 0,
                  -((-s_0)^(1 - 2 alpha) - (1 - 2 alpha) I)^(1/(1 - 2 alpha)) for s_0 < 0;

and 0 for s_0 = 0.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import sympy
from scipy.integrate import solve_ivp

from gradflow.claims import Best, ByConstruction, Case, Convention, Settings, claim, roundings
from gradflow.claims.proofs import Proof, chain

KNOTS = 6
"""How many values, at t = 0, 1, 2, ..., a piecewise linear g goes through."""


def closed_form(s0: float, alpha: float, integral: float, share: float = 1.0) -> float:
    """The printed solution; infinite from where it diverges. `share` below 1 breaks s_0 < 0."""
    if s0 == 0:
        return 0.0
    integral = integral if s0 > 0 else -share * integral
    if alpha == 0.5:
        return s0 * math.exp(integral)
    power = 1 - 2 * alpha
    base = abs(s0) ** power + power * integral
    return math.copysign(base ** (1 / power) if base > 0 else math.inf, s0)


def integral_of(g: np.ndarray, t: float) -> float:
    """The integral from 0 to t of the piecewise linear function through (k, g_k)."""
    whole = min(int(t), len(g) - 2)
    full = float(np.sum(g[:whole] + g[1 : whole + 1]) / 2)
    part = t - whole
    return full + g[whole] * part + (g[whole + 1] - g[whole]) * part**2 / 2


def integrate(s0: float, alpha: float, g: np.ndarray, times: np.ndarray, rtol: float) -> np.ndarray:
    """The solution at rising times, by an explicit Runge-Kutta method from knot to knot."""
    now, at, values = s0, 0.0, []
    for t in times:
        while at < t:
            end = min(float(t), math.floor(at) + 1.0)
            knot = int(at)

            def rate(x: float, s: np.ndarray, knot: int = knot) -> np.ndarray:
                return (s**2) ** alpha * (g[knot] + (g[knot + 1] - g[knot]) * (x - knot))

            atol = max(1e-17 * abs(s0), 1e-300)
            found = solve_ivp(rate, (at, end), [now], "DOP853", rtol=rtol, atol=atol)
            now, at = float(found.y[0, -1]), end
        values.append(now)
    return np.array(values)


def _symbolic(alpha_half: bool, negative: bool, share: float) -> sympy.Expr:
    """What the closed form leaves of ds/dt - (s^2)^alpha g, for symbolic alpha, s_0 and g.

    The base of the power, positive until s diverges, is a positive symbol b that moves at the rate
    (1 - 2 alpha) (+-g).
    """
    g, s0, b = sympy.symbols("g", real=True), *sympy.symbols("s_0 b", positive=True)
    side = -1 if negative else 1
    push = side * (sympy.Rational(share) if negative else 1) * g
    if alpha_half:  # b is the exponential
        s, rate, alpha = side * s0 * b, push * b, sympy.Rational(1, 2)
    else:
        excess = sympy.symbols("a", positive=True)  # alpha = 1/2 + a
        alpha, power = sympy.Rational(1, 2) + excess, -2 * excess
        s, rate = side * b ** (1 / power), power * push
    return sympy.powsimp(sympy.simplify(sympy.diff(s, b) * rate - (s**2) ** alpha * g), force=True)


@claim(
    "arora2019.lem4",
    kind="identity",
    where="Appendix A, Lemma 4 and Equation (12)",
    statement=r"\alpha\ge\tfrac12,\ \dot s = (s^2)^\alpha g(t) \Rightarrow "
    r"\mathrm{sign}\,s(t) = \mathrm{sign}\,s(0) \text{ while finite, with the printed solutions}",
    control={"share": 0.9},
    control_text="0.9 of the integral for s_0 < 0",
    best=(
        Best(
            r"\alpha \ge \tfrac12",
            r"\alpha \ge \tfrac12",
            "proved",
            "For alpha < 1/2 and g = 1, sign(t) |(1-2 alpha) t|^(1/(1-2 alpha)) is a solution.",
        ),
    ),
)
def lem4(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """The solutions symbolically, and against integration with random g that have kinks."""
    parts = []
    for alpha_half, negative in itertools.product((True, False), repeat=2):
        left = _symbolic(alpha_half, negative, share)
        at = left.subs(dict.fromkeys(left.free_symbols, 2))
        power, sign = "= 1/2" if alpha_half else "> 1/2", "below" if negative else "above"
        parts.append(
            Proof(
                f"the printed solution, alpha {power}, s_0 {sign} 0",
                "proved" if left == 0 else "refuted" if at.is_nonzero else "open",
                ("its derivative, in symbols",),
                witness={"all numbers": "2", "left over": str(at)} if at.is_nonzero else {},
            )
        )
    cites = ("solutions are unique, for (s^2)^alpha is Lipschitz on bounded sets", "0 is one")
    yield Case(
        name="symbolic",
        proof=chain("the printed solutions, which keep their sign", *parts, cites=cites),
        whole=True,
        hypotheses={
            "alpha >= 1/2": ByConstruction("alpha is 1/2, or a symbol above it"),
            "g is any real value": ByConstruction("it is a symbol"),
        },
        size=1,
    )
    rng = np.random.default_rng([settings.seed, 4])
    for alpha in (0.5, 0.55, 2 / 3, 0.75, 1.0, 1.7):
        for s0 in (-1.0, -1e-3, 0.0, 1e-3, 2.0) * (4 if settings.full else 1):
            g = rng.normal(size=KNOTS) * rng.choice([1.0, 3.0])
            times = np.linspace(0, KNOTS - 1, 41)[1:]
            exact = [closed_form(s0, alpha, integral_of(g, t)) for t in times]
            # Up to where the true solution has grown a thousandfold, or diverges.
            large = [abs(x) > 1e3 * max(abs(s0), 1e-3) for x in exact]
            times = times[: large.index(True) if any(large) else len(times)]
            if len(times) == 0:
                continue
            tight, coarse = (integrate(s0, alpha, g, times, rtol) for rtol in (1e-12, 1e-10))
            printed = np.array([closed_form(s0, alpha, integral_of(g, t), share) for t in times])
            scale = np.maximum(np.abs(tight), 1e-300)
            common = {
                "hypotheses": {
                    "alpha >= 1/2": ByConstruction("1/2 or one of some larger values"),
                    "g continuous": ByConstruction("piecewise linear"),
                },
                "size": 1,
                "witness": lambda k, g=g, times=times: {"g at 0, 1, ...": g.tolist(),
                                                        "time": float(times[k])},
            }  # fmt: skip
            name = f"alpha = {alpha:.3g}, s_0 = {s0:g}"
            finite = np.isfinite(printed)
            gap = np.where(finite, np.abs(np.where(finite, printed, 0.0) - tight) / scale, 1.0)
            floor = 10 * np.abs(tight - coarse) / scale + 2e-11
            yield Case(name=f"{name}, value", residual=gap, floor=floor, **common)
            if s0 == 0:
                yield Case(
                    name=f"{name}, sign",
                    residual=np.abs(tight),
                    floor=Convention(1e-300, "what underflows"),
                    **common,
                )
            else:
                sign = np.sign(tight) * np.sign(s0)
                yield Case(name=f"{name}, sign", slack=sign, floor=roundings(1e-12), **common)
