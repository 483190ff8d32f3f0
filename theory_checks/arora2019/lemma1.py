r"""Arora et al. 2019: the analytic singular value decomposition (Lemma 1).

Lemma 1: along gradient flow of an analytic loss the product is W(t) = U(t) S(t) V(t)^T with U, S, V
analytic in t, the columns of U and V orthonormal and S diagonal, its entries signed and in any
order.

The check follows the decomposition along a flow, replaces U, S and V in a window of time by
polynomials through their values at Chebyshev points, and asks how well the polynomials keep
W = U S V^T, U^T U = I and V^T V = I between these points. Polynomials through m + 1 points of an
analytic function are wrong by C q^m with some q < 1, so twice the degree squares the error; for
values in falling order, which have kinks and jumps where two of them meet, it only falls like 1/m.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.stats import ortho_group

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles import flows as runs
from gradflow.linalg.analytic_svd import follow_svd

from . import _proofs_vectors

DEGREE = 32
"""Degree of the polynomials; those of half the degree tell how fast they converge."""


class Window(NamedTuple):
    """A flow around some time.

    Attributes:
      times: (n,) rising; Chebyshev points and the points between them, in turn.
      w: (n, d, d').
      error: how far off w may be, relative to its largest singular value.
      flow: the run.
    """

    times: np.ndarray
    w: np.ndarray
    error: float
    flow: gf.Trajectory


def record_window(objective: gf.Objective, start: Any, centre: float, half: float) -> Window:
    """Run a flow at two tolerances, recorded at times in centre * (1 - half, 1 + half)."""
    angles = np.linspace(np.pi, 0.0, 2 * DEGREE + 1)
    times = centre * (1 + half * np.cos(angles))
    tight, coarse = (
        gf.solve_flow(
            objective, start, coordinates="factors", horizon=float(times[-1]), record=times,
            rtol=rtol, observe=("loss", "product"),
        )
        for rtol in (1e-12, 1e-10)
    )  # fmt: skip
    rows = [np.searchsorted(run.times, times * (1 - 1e-12)) for run in (tight, coarse)]
    w, other = tight["product"][rows[0]], coarse["product"][rows[1]]
    size = np.linalg.norm(w, 2, axis=(1, 2)).max()
    error = np.linalg.norm(w - other, 2, axis=(1, 2)).max() / size + 1e-14
    return Window(times, w, float(error), tight)


def block_problem(
    seed: int, depth: int, shape: tuple[int, int]
) -> tuple[gf.Objective, np.ndarray, float]:
    """A sensing problem whose flow splits into a 2x2 block and a number that overtakes it.

    In frames turned by random orthogonal matrices, the entries of the block and the number are
    observed. The singular values of the one cross those of the other at isolated times; at depth 1
    the number also crosses zero.

    Returns:
      The objective, W(0), and a time at which two absolute values are nearly equal.
    """
    rng = np.random.default_rng([seed, depth, *shape])
    left = ortho_group.rvs(shape[0], random_state=rng)
    right = ortho_group.rvs(shape[1], random_state=rng)
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)]
    measured = np.array([np.outer(left[:, i], right[:, j]) for i, j in places])
    labels = [1.0, 0.3, 0.2, 0.5, -0.7 if depth == 1 else 3.0]
    inner = np.zeros(shape)
    inner[:2, :2] = [[0.6, 0.2], [-0.1, 0.4]]
    inner[2, 2] = 0.9 if depth == 1 else 0.1
    w = left @ inner @ right.T
    model = gf.MatrixProduct.of(shape, depth)
    objective = gf.Objective(gf.MatrixSensing(measured, labels), model)
    run = gf.solve_flow(
        objective, model.balanced(w), coordinates="factors",
        horizon=4.0, record=np.geomspace(0.02, 4.0, 2 * DEGREE + 1), observe=("loss", "product"),
    )  # fmt: skip
    values = np.linalg.svd(run["product"][1:], compute_uv=False)
    gaps = values[:, :-1] - values[:, 1:]
    best = np.min(gaps, axis=1) / values[:, 0]
    return objective, w, float(run.times[1 + int(np.argmin(best))])


def _setups(settings: Settings) -> Iterator[tuple[str, gf.Objective, np.ndarray, float]]:
    """Name, objective, start and time of what is looked at."""
    for shape, depth in [((3, 3), 1), ((4, 3), 2), ((3, 3), 3)] + [
        ((3, 5), 4), ((3, 3), 5), ((5, 3), 1)
    ] * settings.full:  # fmt: skip
        objective, w, time = block_problem(settings.seed, depth, shape)
        yield f"{shape[0]}x{shape[1]}, depth {depth}, values meet", objective, w, time
        if depth == 1:  # The number is 1.6 exp(-t) - 0.7; no record falls on its zero.
            name = f"{shape[0]}x{shape[1]}, depth 1, a value crosses zero"
            yield name, objective, w, 1.004 * float(np.log(16 / 7))
    rng = np.random.default_rng([settings.seed, 1])
    for shape, depth in [((4, 3), 2)] + [((5, 5), 2), ((6, 2), 4), ((2, 4), 3)] * settings.full:
        problem = gf.MatrixSensing(rng.normal(size=(5, *shape)), rng.normal(size=5))
        task = gf.Objective(problem, gf.MatrixProduct.of(shape, depth))
        name = f"{shape[0]}x{shape[1]}, depth {depth}"
        yield f"{name}, random", task, rng.normal(size=shape) / 2, 0.2
        low = rng.normal(size=(shape[0], 1)) @ rng.normal(size=(1, shape[1])) / 2
        yield f"{name}, rank 1 at all times", task, low, 0.2
    turn = ortho_group.rvs(3, random_state=rng)
    task = gf.Objective(
        gf.MatrixSensing(np.stack([turn] * 5), [2.0] * 5), gf.MatrixProduct.of((3, 3), 3)
    )
    yield "3x3, depth 3, three equal values at all times", task, 0.3 * turn, 0.05


@cache
def windows(settings: Settings) -> list[tuple[str, Window]]:
    """Around each time, a window small enough for polynomials of half the degree to do well."""
    found = []
    for name, objective, w, time in _setups(settings):
        assert isinstance(objective.factorization, gf.MatrixProduct)
        start = objective.factorization.balanced(w)
        half = 0.2
        window = record_window(objective, start, time, half)
        while half > 1e-3 and misfits(window, DEGREE // 2, False).max() > 1e-5:
            half /= 2
            window = record_window(objective, start, time, half)
        while _nearness(window.w) > 3e3:  # A record falls on a crossing; vectors are lost there.
            time *= 1.0031
            window = record_window(objective, start, time, half)
        found.append((name, window))
    return found


def decomposition(w: np.ndarray, ordered: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, s and V along a path: followed, or with the values in falling order at each time.

    In falling order vectors still get the sign that agrees with the time before.
    """
    if not ordered:
        return follow_svd(w)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    v = np.swapaxes(vt, 1, 2).copy()
    for k in range(1, len(w)):
        sign = np.where(np.sum(u[k] * u[k - 1], axis=0) < 0, -1.0, 1.0)
        u[k], v[k] = u[k] * sign, v[k] * sign
    return u, s, v


def misfits(window: Window, degree: int, ordered: bool) -> np.ndarray:
    """How far polynomials of a degree through U, S, V miss the three equations, relatively.

    Args:
      window: a flow at Chebyshev points of twice the degree `DEGREE`, which are nested.
      degree: a divisor of `DEGREE`.
      ordered: whether values are in falling order instead of followed.

    Returns:
      (3,) the largest misfit of W = U S V^T, U^T U = I and V^T V = I between the points.
    """
    u, s, v = decomposition(window.w, ordered)
    # Chebyshev points are equally spaced angles; times go from -1 to 1 in the window.
    points = np.arange(0, len(window.times), 2 * DEGREE // degree)
    between = np.setdiff1d(np.arange(len(window.times)), points)
    scaled = np.interp(window.times, window.times[[0, -1]], [-1.0, 1.0])
    u, s, v = (
        BarycentricInterpolator(scaled[points], part[points])(scaled[between]) for part in (u, s, v)
    )
    w = window.w[between]
    size = np.linalg.norm(w, axis=(1, 2)).max()
    eye = np.eye(s.shape[1])
    back = np.einsum("tik,tk,tjk->tij", u, s, v)
    parts = (back - w) / size, np.swapaxes(u, 1, 2) @ u - eye, np.swapaxes(v, 1, 2) @ v - eye
    return np.array([np.linalg.norm(part, axis=(1, 2)).max() for part in parts])


def _nearness(w: np.ndarray) -> float:
    """The largest amplification of W's error in its vectors: over gaps that are not rounding."""
    s = np.linalg.svd(w, compute_uv=False)
    gaps = np.concatenate([s[:, :-1] - s[:, 1:], s[:, -1:]], axis=1) / s[:, :1]
    always = np.max(gaps, axis=0) < 1e-9  # equal, or zero, at all times
    return float(1 / np.min(gaps[:, ~always]))


@claim(
    "arora2019.lem1",
    kind="identity",
    where="Lemma 1, Equation (6)",
    statement=r"W(t) = U(t)S(t)V^\top(t),\ U, S, V \text{ analytic},\ "
    r"U^\top U = V^\top V = I,\ S \text{ diagonal}",
    control={"ordered": True},
    control_text="singular values not negative and in falling order",
)
def lem1(settings: Settings, ordered: bool = False) -> Iterator[Case]:
    """Crossings at isolated times, random flows, values equal or zero at all times."""
    yield _proofs_vectors.lem1(ordered)
    for name, window in windows(settings):
        half = misfits(window, DEGREE // 2, False).max()
        residual = misfits(window, DEGREE, ordered)
        rounding = 20 * window.error * _nearness(window.w)
        s = np.linalg.svd(window.w, compute_uv=False)
        closest = np.min((s[:, :-1] - s[:, 1:]) / s[:, :1])
        yield Case(
            name=name,
            residual=residual,
            floor=10 * half**2 + rounding,
            hypotheses={
                "balanced start": runs.balanced_start(window.flow),
                "analytic loss (a polynomial)": ByConstruction("squares of measurements"),
                "the matrix moves": Measured(
                    float(np.linalg.norm(window.w[-1] - window.w[0]) / np.linalg.norm(window.w[0])),
                    above=1e-3,
                ),
            },
            size=float(window.w[0].size),
            witness=lambda k, window=window: {
                "from": float(window.times[0]),
                "to": float(window.times[-1]),
            },
            notes=f"t from {window.times[0]:.3g} to {window.times[-1]:.3g}, smallest relative gap "
            f"of values {closest:.1e}; misfit {half:.1e} at degree {DEGREE // 2}, "
            f"{residual.max():.1e} at degree {DEGREE}",
        )
