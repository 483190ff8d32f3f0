r"""Gidel, Bach and Lacoste-Julien 2019: aligned gradient descent is a scalar recursion.

Loss 1/2 ||Y - W_2 W_1 X||_F^2 with X X^T = I, both layers stepped at once, from layers aligned with
Sigma = Y X^T and equal: the square root w of each mode's strength goes to w + eta w (s - w^2). This
is Euler's method for w' = f(w) = w (s - w^2), whose error at a fixed time is, to the first order,
-eta/2 f(w) ln(f(w) / f(w_0)).
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import no_type_check

import numpy as np

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles.high_precision import decimal

from ..saxe2014._networks import Data, Matrices, aligned_start, data, velocity
from ..saxe2014.modes import logistic
from . import _proofs

SIMULTANEOUS = {"both layers stepped at once": ByConstruction("from gradients at the same weights")}
STEPS = 400
SEEN = 20
"""A descent is looked at whenever so many steps have passed."""
RATES = (1e-2, 1e-3, 1e-4)
TIMES = np.arange(1, 13) * 0.5


def descend(given: Data, start: Matrices, eta: float, steps: int) -> list[Matrices]:
    """Gradient descent of the matrices, in the arithmetic that they come in."""
    factors, found = start, [start]
    for _ in range(steps):
        moves = velocity(factors, given)
        factors = tuple(w + eta * move for w, move in zip(factors, moves, strict=True))
        found.append(factors)
    return found


def recur(w: np.ndarray, s: np.ndarray, eta: float, steps: int, factor: float = 1) -> np.ndarray:
    """The recursion: a row for each step."""
    found = [w]
    for _ in range(steps):
        w = w + factor * eta * w * (s - w * w)
        found.append(w)
    return np.array(found)


def _long(given: Data) -> Data:
    """Data in NumPy's long doubles."""
    return Data(*(part.astype(np.longdouble) for part in given))


@claim(
    "gidel2019.recursion",
    kind="identity",
    where="the discrete dynamics of two aligned layers",
    statement=r"W_1 = R D_k V^\top,\ W_2 = U D_k R^\top,\ \Sigma = U S V^\top \Rightarrow "
    r"w_{k+1} = w_k + \eta\, w_k (s - w_k^2) \text{ for each mode}",
    control={"factor": 1.1},
    control_text="1.1 eta instead of eta",
)
def recursion(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """Descents of all weights: exactly for four steps, and in float64 beside long doubles."""
    yield _proofs.recursion(factor)
    yield _exact(decimal(factor))
    cases = (((3, 3), 3, 0.1), ((4, 5), 4, 0.02)) + (((8, 6), 8, 0.05),) * settings.full
    for index, ((m, n), hidden, eta) in enumerate(cases):
        rng = np.random.default_rng([settings.seed, 2019, index])
        modes = min(m, n, hidden)
        given = data(rng, (m, n), np.sort(rng.uniform(0.5, 3.0, modes))[::-1])
        w = rng.uniform(0.05, 0.3, modes)
        start = aligned_start(rng, given, hidden, [w, w])
        plain, long = (
            _weights(used, descend(used, begin, eta, STEPS))
            for used, begin in (
                (given, start),
                (_long(given), tuple(f.astype(np.longdouble) for f in start)),
            )
        )
        scalar = recur(w, given.s, eta, STEPS, factor)[::SEEN]
        exact = recur(w, given.s, eta, STEPS)[::SEEN]
        far = recur(w.astype(np.longdouble), given.s, eta, STEPS)[::SEEN]
        # What float64 makes of the descent, of the recursion, and of the start's entries.
        lost = np.abs(plain - long).max() + np.abs(exact - far).max() + 1e-15
        gap = float(np.abs(start[1].T @ start[1] - start[0] @ start[0].T).max())
        yield Case(
            name=f"{m}x{n}, {hidden} hidden, eta = {eta:g}",
            residual=((plain - scalar) / np.sqrt(given.s)).ravel(),
            floor=float(lost / np.sqrt(given.s.min())),
            hypotheses={
                **SIMULTANEOUS,
                "whitened inputs": given.whitened,
                "equal layers": Measured(gap, below=1e-13),
                "singular vectors of Sigma": Measured(_misaligned(given, start), below=1e-13),
            },
            size=float(m * n),
            witness=lambda at, eta=eta, s=given.s: {
                "step": SEEN * (at // s.size), "s": float(s[at % s.size]), "eta": eta,
            },
        )  # fmt: skip


def _weights(given: Data, path: list[Matrices]) -> np.ndarray:
    """The roots of u_r^T W_2 W_1 v_r, at every `SEEN`-th step."""
    squares = [np.sum(given.u * (two @ (one @ given.v)), axis=0) for one, two in path[::SEEN]]
    return np.sqrt(np.array(squares))


def _misaligned(given: Data, start: Matrices) -> float:
    inner = given.u.T @ start[1] @ start[0] @ given.v
    return float(np.abs(inner - np.diag(np.diag(inner))).max())


def _exact(factor: Fraction) -> Case:
    """Four steps of 2x2 matrices of fractions, with frames from the triangles 3-4-5 and 5-12-13."""

    def turned(a: int, b: int, c: int) -> np.ndarray:
        return np.array([[Fraction(a, c), Fraction(-b, c)], [Fraction(b, c), Fraction(a, c)]])

    u, v, r = turned(3, 4, 5), turned(5, 12, 13), turned(8, 15, 17)
    s, eta = np.array([Fraction(2), Fraction(1)]), Fraction(1, 10)
    w = np.array([Fraction(1, 3), Fraction(1, 2)])
    sigma, one, two = (u * s) @ v.T, (r * w) @ v.T, (u * w) @ r.T
    found = []
    for _ in range(4):
        gap = sigma - two @ one
        one, two = one + eta * two.T @ gap, two + eta * gap @ one.T
        w = w + factor * eta * w * (s - w * w)
        found += [*((r * w) @ v.T - one).ravel(), *((u * w) @ r.T - two).ravel()]
    return Case(
        name="2x2, fractions",
        residual=[abs(x) for x in found],
        hypotheses={
            **SIMULTANEOUS,
            "aligned, equal layers": ByConstruction("frames and strengths are fractions"),
        },
        size=4.0,
    )


@cache
def errors(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a_k - a(k eta)) / eta at `TIMES` for each of `RATES`; the constant; and f(w_0)."""
    rng = np.random.default_rng([seed, 2020])
    s, w = rng.uniform(0.6, 2.0, 3), rng.uniform(0.05, 0.4, 3)
    exact = logistic(TIMES[:, None], w**2, s)
    root = np.sqrt(exact)
    speed, first = root * (s - exact), w * (s - w**2)
    found = [(_at_times(w, s, eta) ** 2 - exact) / eta for eta in RATES]
    return np.array(found), -2 * root * speed * np.log(speed / first), w


@no_type_check
def _at_times(w: np.ndarray, s: np.ndarray, eta: float) -> np.ndarray:
    """The recursion at `TIMES`, which are multiples of all rates."""
    marks = {round(t / eta) for t in TIMES}
    found = []
    for k in range(1, max(marks) + 1):
        w = w + eta * w * (s - w * w)
        if k in marks:
            found.append(w)
    return np.array(found)


@claim(
    "gidel2019.order",
    kind="limit",
    where="the discrete dynamics beside the continuous ones; the constant is ours",
    statement=r"\frac{w_k^2 - a(k\eta)}{\eta} \to -w f(w)\ln\frac{f(w)}{f(w_0)},\quad "
    r"f(w) = w(s - w^2),\ w^2 = a(t),\quad \text{as } \eta \to 0,\ k\eta = t",
    control={"half": 0.55},
    control_text="a constant 10 per cent larger",
    resolution=1e-3,
)
def order(settings: Settings, half: float = 0.5) -> Iterator[Case]:
    """The recursion against the logistic curve; each rate's change bounds what is left."""
    found, constant, w = errors(settings.seed)
    for mode in range(constant.shape[1]):
        right, left = half * constant[:, mode], found[:, :, mode]
        size = np.abs(constant[:, mode]).max() / 2
        changes = np.abs(np.diff(left, axis=0)).max(axis=1) / size
        # Of first order, what is left is a ninth of the change; roundings of all steps, over eta.
        rest = changes[1] / 3 + 1e-11 / RATES[-1]
        yield Case(
            name=f"w_0 = {w[mode]:.3g}",
            residual=(left[-1] - right) / size,
            floor=rest if changes[1] < changes[0] / 3 else 0.0,
            hypotheses={
                "aligned, equal layers": ByConstruction("the recursion is theirs"),
                "0 < w_0^2 < s": ByConstruction("w_0 from 0.05 to 0.4, s above 0.6"),
            },
            size=float(mode + 1),
            notes="largest error of a mode's strength: "
            + ", ".join(
                f"{eta * np.abs(row).max():.2g} at eta = {eta:g}"
                for row, eta in zip(left, RATES, strict=True)
            ),
            witness=lambda at: {"t": float(TIMES[at])},
        )
