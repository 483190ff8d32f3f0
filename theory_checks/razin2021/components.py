r"""Razin, Maman and Cohen 2021: how the components of a CP factorisation move (Section 3).

W = sum_r w_r^1 x ... x w_r^N, c_r the norm of its r-th component (the product of the lengths of the
w_r^n), and gamma_r = <-grad L(W), w_r^1/||w_r^1|| x ... x w_r^N/||w_r^N||>. Along gradient flow of
any differentiable loss the differences ||w_r^n||^2 - ||w_r^m||^2 stay; where they are zero,

    dc_r/dt = N gamma_r c_r^(2 - 2/N),

and where they are at most eps, c_r^2 / (c_r^(2/N) + eps) and (c_r^(2/N) + eps)^(N-1) enclose the
power. Without any condition dc_r/dt = gamma_r c_r^2 sum_n ||w_r^n||^-2 (ours).
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import gradflow as gf
from gradflow.claims import FIFTY_DIGITS, ByConstruction, Case, Settings, claim, roundings
from gradflow.claims.oracles.high_precision import DIGITS
from gradflow.factorizations.base import Factors

TIMES = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0])
"""Where a flow is looked at: on the way, and near its end."""
_FLOW = ByConstruction("the velocity of the factors is minus the loss's gradient in them")


class Followed(NamedTuple):
    """A flow of a CP factorisation.

    Attributes:
      name: its order, its loss, its start.
      objective: problem and factorisation.
      balanced: whether the start was made so.
      points: the factors at `TIMES`.
      coarse: the same at a hundredfold tolerance.
    """

    name: str
    objective: gf.Objective
    balanced: bool
    points: list[Factors]
    coarse: list[Factors]

    @property
    def model(self) -> gf.CPTensor:
        assert isinstance(self.objective.factorization, gf.CPTensor)
        return self.objective.factorization


def _problems(settings: Settings, order: int) -> Iterator[tuple[str, gf.problems.AbstractProblem]]:
    """Completions of random tensors: a half sum of squares, their mean, and a Huber loss."""
    rng = np.random.default_rng([settings.seed, order])
    shape = tuple(int(n) for n in rng.integers(2, 4, order))
    truth = rng.normal(size=shape)
    cells = np.argwhere(rng.random(shape) < 0.6)
    values = 2 * truth[tuple(cells.T)]
    yield "half sum", gf.TensorCompletion(shape, cells, values)
    if settings.full or order == 3:
        yield "mean", gf.TensorCompletion(shape, cells, values, loss="mean")

        def huber(w: jax.Array) -> jax.Array:
            gap = w[tuple(cells.T)] - values
            return jnp.sum(jnp.where(jnp.abs(gap) < 1, gap**2 / 2, jnp.abs(gap) - 0.5))

        yield "Huber", gf.LossFunction(shape, huber)


@cache
def flows(settings: Settings) -> list[Followed]:
    """Orders 3 to 5, from balanced and from unbalanced starts."""
    found = []
    for order in (3, 4, 5):
        for loss, problem in _problems(settings, order):
            model = gf.CPTensor(problem.shape, 3)
            objective = gf.Objective(problem, model)
            for balanced in (True, False):
                draw = model.random_balanced if balanced else model.gaussian
                start = draw(jax.random.key(settings.seed + 10 * order), std=0.6)
                tight, coarse = (_follow(objective, start, rtol) for rtol in (1e-12, 1e-10))
                kind = "balanced" if balanced else "unbalanced"
                name = f"order {order}, {loss}, {kind} start"
                found.append(Followed(name, objective, balanced, tight, coarse))
    return found


def _follow(objective: gf.Objective, start: Factors, rtol: float) -> list[Factors]:
    run = gf.solve_flow(
        objective, start, coordinates="factors", record=TIMES[1:], horizon=float(TIMES[-1]),
        rtol=rtol, observe=("factors",), interpolate=False,
    )  # fmt: skip
    order = len(start)
    return [tuple(jnp.asarray(run[f"factors_{k}"][t]) for k in range(1, order + 1))
            for t in range(len(TIMES))]  # fmt: skip


class Moving(NamedTuple):
    """The components at a point of a flow; arrays have one entry a component.

    Attributes:
      c: norms.
      speed: dc/dt, by the chain rule along the factors' velocity.
      gamma: see the module's docstring.
      squares: (N, R) the squared lengths of the vectors.
      scale: ||grad L(W)||, at least |gamma|.
    """

    c: np.ndarray
    speed: np.ndarray
    gamma: np.ndarray
    squares: np.ndarray
    scale: float


def moving(flow: Followed, factors: Factors) -> Moving:
    """How the components move at a point."""
    model, objective = flow.model, flow.objective
    gradient = jax.grad(objective.value)(factors)
    velocity = tuple(-g for g in gradient)
    c, speed = jax.jvp(model.component_norms, (factors,), (velocity,))
    slope = objective.problem.gradient(model.product(factors))
    lengths = [jnp.linalg.norm(f, axis=0) for f in factors]
    gamma = [
        -jnp.sum(slope * model.product(tuple(
            jnp.zeros_like(f).at[:, r].set(f[:, r] / n[r])
            for f, n in zip(factors, lengths, strict=True)
        )))
        for r in range(model.rank)
    ]  # fmt: skip
    squares = np.stack([np.asarray(n) ** 2 for n in lengths])
    return Moving(
        np.asarray(c), np.asarray(speed), np.array(gamma, float), squares,
        float(jnp.linalg.norm(slope)),
    )  # fmt: skip


def spread(squares: np.ndarray) -> float:
    """The unbalancedness magnitude: the largest difference of two squared lengths."""
    return float(np.max(np.max(squares, axis=0) - np.min(squares, axis=0)))


@claim(
    "razin2021.lem1",
    kind="conservation",
    where="Lemma 1",
    statement=r"\frac{d}{dt}\left(\|w_r^n(t)\|^2 - \|w_r^m(t)\|^2\right) = 0",
    control={"power": 1.0},
    control_text="lengths instead of their squares",
)
def lem1(settings: Settings, power: float = 2.0) -> Iterator[Case]:
    """Along the flows themselves; the floor is what a hundredfold tolerance changes."""
    for flow in flows(settings):
        runs = []
        for points in (flow.points, flow.coarse):
            lengths = [[np.linalg.norm(f, axis=0) ** power for f in point] for point in points]
            runs.append(np.diff(np.array(lengths), axis=1))
        tight, coarse = (np.abs(found - found[0]) for found in runs)
        size = max(float(jnp.max(jnp.sum(f**2, axis=0))) for f in flow.points[-1])
        yield Case(
            name=flow.name,
            residual=tight.ravel() / size,
            floor=np.abs(runs[0] - runs[1]).max() / size + 1e-14,
            hypotheses={
                "gradient flow over a CP factorisation": _FLOW,
                "the factors move": _moves(flow),
            },
            size=float(flow.objective.problem.shape[0] ** len(flow.points[0])),
            notes=f"largest change at rtol 1e-10: {coarse.max() / size:.1e}",
        )


def _moves(flow: Followed) -> bool:
    first, last = flow.points[0][0], flow.points[-1][0]
    return bool(jnp.linalg.norm(last - first) > 1e-2 * jnp.linalg.norm(first))


@claim(
    "razin2021.thm1",
    kind="identity",
    where="Theorem 1",
    statement=r"\|w_r^1(0)\| = \dots = \|w_r^N(0)\| \Rightarrow \dot c_r = N\,\gamma_r\, "
    r"c_r^{2-2/N}",
    control={"unbalanced": True},
    control_text="unbalanced starts",
)
def thm1(settings: Settings, unbalanced: bool = False) -> Iterator[Case]:
    """At points of flows, whose balance round-off breaks by some 1e-16: that is the floor."""
    for flow in (flow for flow in flows(settings) if flow.balanced != unbalanced):
        order, found, floors = len(flow.points[0]), [], []
        start = moving(flow, flow.points[0])
        for point in flow.points:
            at = moving(flow, point)
            wanted = order * at.gamma * at.c ** (2 - 2 / order)
            size = order * at.scale * at.c ** (2 - 2 / order)
            found.append((at.speed - wanted) / size)
            # d log of the right side by d log of a squared length is of order 1.
            floors.append(spread(at.squares / at.squares.min(axis=0)) + 1e-13)
        relative = spread(start.squares / start.squares.min(axis=0))
        yield Case(
            name=flow.name,
            residual=np.concatenate(found),
            floor=1e-12 if unbalanced else np.repeat(floors, start.c.size),
            hypotheses={
                "gradient flow over a CP factorisation": _FLOW,
                "balanced start": relative < 1e-14 or unbalanced,
                "c_r > 0": bool(np.all(start.c > 0)),
            },
            size=float(order),
            witness=lambda k, n=start.c.size: {"t": float(TIMES[k // n]), "component": k % n},
        )


@claim(
    "razin2021.general",
    kind="identity",
    where="ours; Theorem 1 without its hypothesis",
    statement=r"c_r > 0 \Rightarrow \dot c_r = \gamma_r\, c_r^2 \sum_{n=1}^N \|w_r^n\|^{-2}",
    control={"mean": True},
    control_text="N c_r^(-2/N) instead of the sum: Theorem 1 where the start is not balanced",
)
def general(settings: Settings, mean: bool = False) -> Iterator[Case]:
    """At points of unbalanced flows, in 50 digits, and at all points in float64."""
    for flow in (flow for flow in flows(settings) if not flow.balanced):
        order, found = len(flow.points[0]), []
        for point in flow.points:
            at = moving(flow, point)
            power = order * at.c ** (-2 / order) if mean else np.sum(1 / at.squares, axis=0)
            size = at.scale * at.c**2 * np.sum(1 / at.squares, axis=0)
            found.append((at.speed - at.gamma * at.c**2 * power) / size)
        yield Case(
            name=flow.name,
            residual=np.concatenate(found),
            floor=roundings(1e-13, "sums of some hundred products"),
            hypotheses={
                "gradient flow over a CP factorisation": _FLOW,
                "c_r > 0": bool(np.all(moving(flow, flow.points[0]).c > 0)),
            },
            size=float(order),
        )
    for order in (3, 4):
        yield _in_fifty_digits(settings.seed, order, mean)


def _in_fifty_digits(seed: int, order: int, mean: bool) -> Case:
    """One component of sides 2, any gradient: both sides are rational functions and roots."""
    rng = np.random.default_rng([seed, order, 1])
    with mpmath.workdps(DIGITS):
        vectors = [[mpmath.mpf(int(x)) / 7 for x in rng.integers(1, 9, 2)] for _ in range(order)]
        slope = {
            cell: mpmath.mpf(int(rng.integers(-9, 10))) / 5 for cell in np.ndindex((2,) * order)
        }
        squares = [sum(x**2 for x in v) for v in vectors]
        c = mpmath.sqrt(mpmath.fprod(squares))

        def against(replaced: dict[int, list]) -> Any:
            used = [replaced.get(n, v) for n, v in enumerate(vectors)]
            return -mpmath.fsum(
                g * mpmath.fprod(v[i] for v, i in zip(used, cell, strict=True))
                for cell, g in slope.items()
            )

        unit = [[mpmath.mpf(1), mpmath.mpf(0)], [mpmath.mpf(0), mpmath.mpf(1)]]
        # d log c/dt = sum_n <w^n, dw^n/dt> / ||w^n||^2, and dw^n/dt = -<grad, the other vectors>.
        speed = c * mpmath.fsum(
            vectors[n][k] * against({n: unit[k]}) / squares[n]
            for n in range(order)
            for k in range(2)
        )
        gamma = against({}) / c
        power = (
            order * c ** (-mpmath.mpf(2) / order) if mean else mpmath.fsum(1 / s for s in squares)
        )
        residual = float(abs(speed - gamma * c**2 * power) / abs(speed))
    return Case(
        name=f"order {order}, sides 2, one component, 50 digits",
        residual=residual,
        floor=FIFTY_DIGITS,
        hypotheses={
            "gradient flow over a CP factorisation": _FLOW,
            "c_r > 0": ByConstruction("vectors of positive numbers"),
        },
        size=float(order) / 2,
    )


@claim(
    "razin2021.thm2",
    kind="inequality",
    where="Theorem 2",
    statement=r"\epsilon = \max_{r,n,m}\left|\|w_r^n(0)\|^2 - \|w_r^m(0)\|^2\right|,\ "
    r"\gamma_r \ge 0 \Rightarrow \frac{N\gamma_r c_r^2}{c_r^{2/N} + \epsilon} \le \dot c_r \le "
    r"N\gamma_r \left(c_r^{2/N} + \epsilon\right)^{N-1}; \text{ reversed for } \gamma_r \le 0",
    control={"share": 0.0},
    control_text="eps = 0",
)
def thm2(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """At points of balanced and unbalanced flows; eps is that of the start."""
    for flow in flows(settings):
        order, found, signs = len(flow.points[0]), [], set()
        start = moving(flow, flow.points[0])
        eps = share * spread(start.squares)
        for point in flow.points:
            at = moving(flow, point)
            root = at.c ** (2 / order) + eps
            low, high = (
                order * np.abs(at.gamma) * x for x in (at.c**2 / root, root ** (order - 1))
            )
            speed = np.where(at.gamma >= 0, at.speed, -at.speed)
            size = order * at.scale * root ** (order - 1)
            found += [(speed - low) / size, (high - speed) / size]
            signs |= set(np.sign(at.gamma))
        yield Case(
            name=flow.name,
            slack=np.concatenate(found),
            floor=roundings(1e-13, "sums of some hundred products"),
            hypotheses={
                "gradient flow over a CP factorisation": _FLOW,
                "eps is the start's unbalancedness": ByConstruction("it is computed from it"),
            },
            size=float(order),
            notes=f"signs of gamma that occur: {sorted(int(s) for s in signs)}",
        )
