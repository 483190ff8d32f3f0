r"""Arora et al. 2019: two singular values under one measurement (Equations (10) and (11)).

The loss is (<A, W> - y)^2 / 2, singular vectors are stationary from t_0 on and u_r^T A v_r =
e_r rho_r. With a = e_1 rho_1 / (e_2 rho_2),

    sigma_1 = a sigma_2 + const                              N = 1
    sigma_1 = sigma_2^a const                                N = 2                (11)
    sigma_1 = (a sigma_2^(-q) + const)^(-1/q), q = (N-2)/N   N >= 3

where values are not negative for N >= 2. The text then says of 0 < a < 1 and N >= 3 that sigma_1
tends to a finite value as sigma_2 grows, a lower one for larger N. The limit is
(sigma_1(t_0)^(-q) - a sigma_2(t_0)^(-q))^(-1/q); no condition on the values at t_0 is printed.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import mpmath
import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import ortho_group

from gradflow.claims import (
    Best,
    ByConstruction,
    Case,
    Confirmation,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)
from gradflow.claims.oracles.high_precision import DIGITS

from . import _proofs
from .alignment import product_velocity

TIMES = np.array([0.0, 0.05, 0.2, 0.5, 1.0, 3.0])


class Aligned(NamedTuple):
    """A flow whose start shares the singular vectors of the one measurement.

    Attributes:
      depth: N.
      along: (k,) e_r rho_r.
      s: (times, k) u_r^T W v_r.
      off: the largest entry of W outside the frame of the singular vectors, at any time.
    """

    depth: int
    along: np.ndarray
    s: np.ndarray
    off: float


def _follow(
    depth: int, left: np.ndarray, right: np.ndarray, along: np.ndarray, s: np.ndarray, y: float,
    rtol: float,
) -> Aligned:  # fmt: skip
    """Integrate the factors W_1, ..., W_N from a balanced start, as full matrices."""
    shapes = [(len(s), len(right)), *[(len(s), len(s))] * (depth - 2), (len(left), len(s))]
    root = np.diag(s ** (1 / depth)) if depth > 1 else np.diag(s)
    if depth == 1:
        shapes, factors = [(len(left), len(right))], [left @ root @ right.T]
    else:
        factors = [root @ right.T, *[root] * (depth - 2), left @ root]
    a = left @ np.diag(along) @ right.T
    ends = np.cumsum([0] + [m * n for m, n in shapes])

    def split(state: np.ndarray) -> list[np.ndarray]:
        parts = zip(ends[:-1], ends[1:], shapes, strict=True)
        return [state[i:j].reshape(shape) for i, j, shape in parts]

    def chain(parts: list[np.ndarray], size: int) -> np.ndarray:
        result = np.eye(size)
        for part in parts:
            result = part @ result
        return result

    def field(t: float, state: np.ndarray) -> np.ndarray:
        now = split(state)
        push = (np.sum(a * chain(now, len(right))) - y) * a
        slopes = []
        for j in range(depth):
            below = chain(now[:j], len(right))
            above = chain([part.T for part in reversed(now[j + 1 :])], len(left))
            slopes.append(-above @ push @ below.T)
        return np.concatenate([x.ravel() for x in slopes])

    start = np.concatenate([x.ravel() for x in factors])
    found = solve_ivp(
        field, (0, TIMES[-1]), start, "DOP853", t_eval=TIMES, rtol=rtol, atol=1e-3 * rtol
    )
    w = np.array([chain(split(state), len(right)) for state in found.y.T])
    core = left.T @ w @ right
    values = np.einsum("tkk->tk", core)
    off = np.abs(w - left @ (values[:, :, None] * np.eye(len(s))) @ right.T).max()
    return Aligned(depth, along, values, float(off))


@cache
def aligned_flows(settings: Settings) -> list[tuple[str, Aligned, Aligned]]:
    """Random frames, shapes, signs and starts; each flow at two tolerances."""
    rng = np.random.default_rng([settings.seed, 11])
    made = []
    shapes = [(2, 2), (3, 2)] + [(3, 5), (4, 4)] * settings.full
    for depth in (1, 2, 3, 4, 5):
        for d, columns in shapes:
            k = min(d, columns)
            left = ortho_group.rvs(d, random_state=rng)[:, :k]
            right = ortho_group.rvs(columns, random_state=rng)[:, :k]
            along = rng.uniform(0.3, 1.5, size=k) * rng.choice([-1.0, 1.0], size=k)
            s = rng.uniform(0.2, 1.0, size=k)
            y = float(rng.choice([-2.0, 2.0]))
            tight, coarse = (
                _follow(depth, left, right, along, s, y, rtol) for rtol in (1e-12, 1e-10)
            )
            made.append((f"{d}x{columns}, depth {depth}", tight, coarse))
    return made


def relation(depth: int, a: Any, first: np.ndarray, second: np.ndarray, q: float) -> np.ndarray:
    """What Equation (11) says is constant, as a value at each time."""
    if depth == 1:
        return first - a * second
    if depth == 2:
        return np.log(first) - a * np.log(second)
    return first**-q - a * second**-q


@claim(
    "arora2019.eq11",
    kind="identity",
    where="Section 3.1, Equations (10) and (11)",
    statement=r"\sigma_1 = \alpha\sigma_2 + c\ (N{=}1),\ \sigma_2^\alpha c\ (N{=}2),\ "
    r"(\alpha\sigma_2^{-\frac{N-2}N} + c)^{-\frac N{N-2}}\ (N\ge3),\ "
    r"\alpha = \frac{e_1\rho_1}{e_2\rho_2}",
    control={"shift": 0.1},
    control_text="(N-2)/N + 0.1 in place of (N-2)/N",
)
def eq11(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """The constant at every time against that at the first, for every pair of values."""
    yield _proofs.eq11(shift)
    for name, tight, coarse in aligned_flows(settings):
        n, pairs = tight.depth, []
        for i in range(len(tight.along)):
            pairs += [(i, j) for j in range(len(tight.along)) if j != i]
        residual, floor = [], []
        for i, j in pairs:
            a = tight.along[i] / tight.along[j]
            parts, q = [], (n - 2) / n + shift
            for run in (tight, coarse):
                value = relation(n, a, run.s[:, i], run.s[:, j], q)
                only = relation(n, 0.0, run.s[:, i], run.s[:, j], q)  # the term in sigma_1
                size = np.abs(only) + np.abs(value - only)
                parts.append((value - value[0]) / (size + size[0]))
            residual += list(np.abs(parts[0][1:]))
            floor += list(5 * np.abs(parts[0] - parts[1])[1:] + 1e-11)
        moved = np.abs(tight.s[-1] - tight.s[0]).max()
        yield Case(
            name=name,
            residual=residual,
            floor=floor,
            hypotheses={
                "singular vectors are stationary": Measured(float(tight.off), below=1e-9),
                "rho_2 is not zero": Measured(float(np.min(np.abs(tight.along))), above=0),
                "the values move": Measured(float(moved), above=1e-3),
            }
            | ({} if n == 1 else {"values not negative": Measured(float(tight.s.min()), above=0)}),
            size=float(len(tight.along)),
            witness=lambda k, run=tight: {"values": run.s.tolist(), "e rho": run.along.tolist()},
            notes=f"values {np.array2string(tight.s[0], precision=3)} to "
            f"{np.array2string(tight.s[-1], precision=3)}",
        )


def asymptote(first: Any, second: Any, a: Any, depth: int) -> Any:
    """The limit of sigma_1 as sigma_2 grows, in mpmath; infinite if const is not above 0.

    If const < 0, sigma_1 is infinite already at sigma_2 = (-const / a)^(-1/q).
    """
    q = mpmath.mpf(depth - 2) / depth
    const = mpmath.mpf(first) ** -q - a * mpmath.mpf(second) ** -q
    return const ** (-1 / q) if const > 0 else mpmath.inf


def _asymptote_case(
    name: str,
    first: Any,
    second: Any,
    a: Any,
    share: float,
    confirm: Callable[[int], Confirmation] | None,
    size: float,
) -> Case:
    """Finite at depths 3 to 9, and lower at each depth than at the one before; relative slacks.

    Also that the formula of Equation (11) comes near the limit: within 1e-12 at sigma_2 = 10^90.
    """
    depths = range(3, 10)
    with mpmath.workdps(DIGITS):
        limits = [asymptote(first, second, a, n) for n in depths]
        slack = [1.0 if mpmath.isfinite(x) else -1.0 for x in limits]
        for low, high in zip(limits[:-1], limits[1:], strict=True):
            known = mpmath.isfinite(low) and mpmath.isfinite(high)
            slack.append(float((share * low - high) / (low + high)) if known else -1.0)
        for n, limit in zip(depths, limits, strict=True):
            if mpmath.isfinite(limit):
                q = mpmath.mpf(n - 2) / n
                const = mpmath.mpf(first) ** -q - a * mpmath.mpf(second) ** -q
                far = (a * mpmath.mpf(10) ** (-90 * q) + const) ** (-1 / q)
                slack.append(1e-12 - float(abs(far / limit - 1)))
    return Case(
        name=name,
        slack=slack,
        floor=roundings(1e-14),
        hypotheses={
            "0 < a < 1: the smaller of a and 1 - a": Measured(float(min(a, 1 - a)), above=0),
            "values above 0": Measured(float(min(first, second)), above=0),
        },
        size=size,
        witness=lambda k: {
            "sigma_1(t_0)": str(first),
            "sigma_2(t_0)": str(second),
            "a": str(a),
            "limits for N = 3, 4, ...": [mpmath.nstr(x, 10) for x in limits],
        },
        confirm=confirm,
    )


def _confirm_escape(at: int) -> Confirmation:
    """N = 4 (q = 1/2), a = 1/2, from (9, 1): in rational numbers."""
    a = Fraction(1, 2)
    const = Fraction(1, 3) - a * 1  # 9^(-1/2) - a 1^(-1/2)
    root = a * Fraction(3, 8) + const  # at sigma_2 = 64/9
    return Confirmation(
        const == Fraction(-1, 6) and root == Fraction(1, 48),
        "N = 4, alpha = 1/2, sigma_1(t_0) = 9, sigma_2(t_0) = 1: const = 9^(-1/2) - 1/2 = "
        f"{const}, so sigma_1 = (sigma_2^(-1/2)/2 - 1/6)^(-2), which is {1 / root**2} at sigma_2 = "
        "64/9 and grows without bound as sigma_2 approaches 9. (A = diag(1, 2), W(t_0) = "
        "diag(9, 1): the larger y, the larger sigma_1, and sigma_2 stays below 9.)",
        (const, root),
    )


def _confirm_order(at: int) -> Confirmation:
    """N = 3 and 4, a = 1/2, from ((6/5)^6, 1): in rational numbers."""
    a, base = Fraction(1, 2), Fraction(5, 6)
    three, four = (base**2 - a) ** -3, (base**3 - a) ** -2
    return Confirmation(
        three < four,
        "alpha = 1/2, sigma_1(t_0) = (6/5)^6 = 46656/15625, sigma_2(t_0) = 1: the limit is "
        f"((5/6)^2 - 1/2)^(-3) = {three} = {float(three):.4f} for N = 3 and "
        f"((5/6)^3 - 1/2)^(-2) = {four} = {float(four):.4f}, higher, for N = 4",
        (three, four),
    )


_TEXT = (
    r"0<\alpha<1,\ N\ge3 \Rightarrow \sigma_1 \to L_N < \infty \text{ as } \sigma_2 "
    r"\text{ grows},\ L_{N+1} < L_N"
)


@claim(
    "arora2019.eq11.asymptote",
    kind="limit",
    where="Section 3.1, the text after Equation (11)",
    statement=_TEXT,
    control={"share": 0.9},
    control_text="at most 0.9 of that for N",
    flaw="The constant is taken to be positive; it is so only if sigma_1(t_0) is small enough next "
    "to sigma_2(t_0), below alpha^(-N/(N-2)) sigma_2(t_0), and the order in N needs still less.",
    severity="missing hypothesis",
    survives="The illustration: from the near-zero starts that the section is about, where sigma_1 "
    "is not far above sigma_2, the gap grows with depth as the text says.",
    readings={
        "any values at t_0, as printed": "fails: sigma_1 can tend to infinity, or to more for "
        "larger N",
        "sigma_1(t_0) at most sigma_2(t_0)": "holds",
    },
    corrected=Corrected(
        where="Section 3.1, the text after Equation (11), for sigma_1 at most sigma_2 at t_0",
        statement=r"\sigma_1(t_0)\le\sigma_2(t_0),\ " + _TEXT,
        best=(
            Best(
                "L_{N+1} < L_N",
                "L_{N+1} < L_N",
                "proved",
                "No factor below 1 would do: L_{N+1}/L_N tends to 1 as alpha -> 0.",
            ),
            Best(
                r"\sigma_1(t_0) \le \sigma_2(t_0)",
                r"\sigma_1(t_0) \le \sigma_2(t_0)",
                "proved",
                "For all alpha together: with q = sigma_1/sigma_2 > 1 at t_0, at any N, as "
                "alpha q^(1-2/(N+1)) -> 1 the limit L_{N+1} grows without bound, L_N does not.",
            ),
        ),
    ),
)
def eq11_asymptote(settings: Settings, corrected: bool, share: float = 1.0) -> Iterator[Case]:
    """Limits in 50 digits at depths 3 to 9; flows to ever larger labels where they must hold.

    Starts are equal or ordered; as printed also those with sigma_1 above sigma_2.
    """
    half = mpmath.mpf(1) / 2
    if not corrected:
        yield _asymptote_case("from (9, 1), a = 1/2", 9, 1, half, share, _confirm_escape, 1)
        with mpmath.workdps(DIGITS):
            first = mpmath.mpf(46656) / 15625
        name = "from ((6/5)^6, 1), a = 1/2"
        yield _asymptote_case(name, first, 1, half, share, _confirm_order, 2)
    yield _asymptote_case("from (1, 1), a = 1/2", 1, 1, half, share, None, 1)
    yield _asymptote_case("from (1/1000, 1/1000), a = 9/10", 0.001, 0.001, 0.9, share, None, 1)
    rng = np.random.default_rng([settings.seed, 12])
    for index in range(100 if settings.full else 20):
        a = float(rng.uniform(0.02, 0.98))
        second = float(10 ** rng.uniform(-4, 1))
        first = second * float(10 ** (-rng.uniform(0, 2) * (index % 3 > 0)))
        name = f"from ({first:.3g}, {second:.3g}), a = {a:.3f}"
        yield _asymptote_case(name, first, second, a, share, None, 3)
    if corrected:
        yield from _large_label_cases(share)


def _large_label_cases(share: float) -> Iterator[Case]:
    """Flows of W itself with ever larger y, A = diag(1, 2) from I / 4: sigma_1 nears the limit."""
    a, s = np.diag([1.0, 2.0]), 0.25
    for depth in (3, 4):
        ends, errors, seconds = [], [], []
        for y in (1e2, 1e4, 1e6):
            found = []
            for rtol in (1e-11, 1e-9):

                def field(t: float, w: np.ndarray, y: float = y, depth: int = depth) -> np.ndarray:
                    w = w.reshape(2, 2)
                    gradient = (np.sum(a * w) - y) * a / y  # the time of the flow, times y
                    return product_velocity(w, gradient, depth).ravel()

                start = (s * np.eye(2)).ravel()
                run = solve_ivp(field, (0, 20), start, "LSODA", rtol=rtol, atol=1e-12)
                found.append(run.y[:, -1])
            ends.append(found[0][0])
            seconds.append(found[0][3])
            errors.append(abs(found[0][0] - found[1][0]))
        with mpmath.workdps(DIGITS):
            limit = float(asymptote(s, s, mpmath.mpf(1) / 2, depth))
        q = (depth - 2) / depth
        predicted = limit * (1 + 0.5 * (np.array(seconds) / limit) ** -q) ** (-1 / q)
        yield Case(
            name=f"depth {depth}, flows to labels 1e2, 1e4, 1e6 from I / 4",
            slack=np.concatenate([np.diff(ends) / limit, (share * limit - np.array(ends)) / limit]),
            floor=1e-7 + 10 * max(errors) / limit,
            hypotheses={
                "0 < a < 1": ByConstruction("a = 1/2"),
                "sigma_2 grows": Measured(float(np.min(np.diff(seconds))), above=0),
                "Equation (11) holds at the ends": Measured(
                    float(np.max(np.abs(np.array(ends) / predicted - 1))), below=1e-5
                ),
            },
            size=4,
            notes=f"sigma_1 at the ends {', '.join(f'{x:.4f}' for x in ends)}, limit {limit:.4f}",
        )
