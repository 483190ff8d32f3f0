r"""Razin and Cohen 2020: what the proofs use (Equation (39), Lemmas 3 and 17)."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Confirmation, Measured, Settings, claim, roundings
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles import differences
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.high_precision import DIGITS, precise, product_velocity, show

from . import _best, _enclosed, _printed_lemmas, _proofs_flows
from .theorem1 import theorem1_hypotheses

_PLACES = ((0, 0), (1, 1), (0, 1))
"""Positions of w_11, w_22 and w_12, in the order of Equation (39)."""


@claim(
    "razin2020.eq39",
    kind="identity",
    where="Appendix G.7, Equation (39) and Lemma 21",
    statement=r"\dot w_{11} = 2w_{12}(1-w_{12}),\ \dot w_{22} = 2w_{12}(1-w_{12}) - 2w_{22}^2,\ "
    r"\dot w_{12} = w_{22}(1-2w_{12}) + w_{11}(1-w_{12});\ "
    r"w_{11} > 0 \text{ rising},\ 0\le w_{12}\le1,\ 0<w_{22}\le1",
    control={"factor": 1.8},
    control_text="-1.8 w_22^2 instead of -2 w_22^2",
    best=_best.EQ39,
)
def eq39(settings: Settings, factor: float = 2.0) -> Iterator[Case]:
    """Difference quotients of the exact depth-2 flow from alpha I against the right sides."""
    yield _proofs_flows.eq39(factor)
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct.of((2, 2), 2))
    centres = np.geomspace(1e-2, 1e7, 28 if settings.full else 10)

    for alpha in (1e-3, 1e-2, 0.3, 1.0) if settings.full else (1e-2, 1.0):
        start = ((alpha, 0.0), (0.0, alpha))
        found, coarse = (
            differences.record_clusters(
                objective, jnp.array(start), centres, coordinates="logdet", rtol=rtol, width=width
            )
            for rtol, width in ((1e-10, 2e-3), (1e-8, 4e-3))
        )
        hypotheses = theorem1_hypotheses(found.flow, 2) | {
            "W(0) = alpha I, alpha in (0, 1]": Measured(
                float(np.max(np.abs(found.flow["product"][0] / alpha - np.eye(2)))), below=1e-12
            ),
            "W stays symmetric": Measured(
                float(np.max(np.abs(found.product[..., 0, 1] - found.product[..., 1, 0]))),
                below=1e-12,
            ),
        }
        yield _quotients_case(alpha, found, coarse, hypotheses, factor)
        w = found.flow["product"]
        yield Case(
            name=f"alpha = {alpha:g}, ranges of Lemma 21",
            slack=np.concatenate(
                [w[:, 0, 0], np.diff(w[:, 0, 0]) / w[1:, 0, 0], w[:, 0, 1], 1 - w[:, 0, 1],
                 w[:, 1, 1], 1 - w[:, 1, 1]]
            ),
            floor=roundings(1e-9),
            hypotheses=hypotheses,
        )  # fmt: skip


def _right_sides(w: Any, factor: float) -> tuple[list[Any], list[Any]]:
    """The right sides of (39) for w_11, w_22 and w_12, and the sizes of their terms."""
    w11, w12, w22 = w[0, 0], w[0, 1], w[1, 1]
    push = 2 * w12 * (1 - w12)
    sides = [push, push - factor * w22**2, w22 * (1 - 2 * w12) + w11 * (1 - w12)]
    sizes = [
        abs(push),
        abs(push) + factor * w22**2,
        abs(w22 * (1 - 2 * w12)) + abs(w11 * (1 - w12)),
    ]
    return sides, sizes


def _quotients_case(
    alpha: float,
    found: differences.Clusters,
    coarse: differences.Clusters,
    hypotheses: Mapping[str, Met],
    factor: float,
) -> Case:
    """Difference quotients of a flow's entries against (39), with floors from a coarser run."""
    residual, floor, where = [], [], []

    def gaps(run: differences.Clusters, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Quotients minus right sides, the quotients' errors, the sizes of the terms."""
        w = run.product[k, 3]
        # Each entry is known to its own round-off in these coordinates.
        slope = differences.derivative(run.product[k], run.times[k] * run.width, np.abs(w))
        sides, sizes = _right_sides(w, factor)
        rows, columns = zip(*_PLACES, strict=True)
        gap = slope.value[rows, columns] - np.array(sides)
        return gap, slope.error[rows, columns], np.array(sizes)

    change = 0.0
    for k in range(len(found.times)):
        gap, error, size = gaps(found, k)
        change = max(change, float(np.max(np.abs(gap - gaps(coarse, k)[0]) / size)))
        residual += list(np.abs(gap) / size)
        floor += list(error / size + 1e-12)
        where += [(k, place) for place in _PLACES]

    def confirm(at: int) -> Confirmation:
        k, (i, j) = where[at]
        with mpmath.workdps(DIGITS):
            w = precise(found.product[k, 3])
            w[1, 0] = w[0, 1]
            grad = mpmath.matrix([[0, w[0, 1] - 1], [w[0, 1] - 1, w[1, 1]]])
            true = product_velocity(w, grad, 2)[i, j]
            printed = _right_sides(w, factor)[0][_PLACES.index((i, j))]
            return Confirmation(
                bool(abs(true - printed) > mpmath.mpf(10) ** -30),
                f"at W = {show(found.product[k, 3])} the chain rule gives "
                f"dw_{i + 1}{j + 1}/dt = {mpmath.nstr(true, 20)}, "
                f"the formula {mpmath.nstr(printed, 20)}",
            )

    return Case(
        name=f"alpha = {alpha:g}, {len(found.times)} times to {found.times[-1]:.0e}",
        residual=residual,
        floor=np.array(floor) + 2 * change,
        hypotheses=hypotheses,
        size=4,
        witness=lambda at: {
            "time": float(found.times[where[at][0]]),
            "W": found.product[where[at][0], 3].tolist(),
        },
        confirm=confirm,
    )


def completion_tasks(settings: Settings) -> Iterator[tuple[str, gf.Objective, Any]]:
    """Matrix completion tasks of several shapes and depths, with unbalanced Gaussian starts."""
    shapes: list[tuple[tuple[int, int], int, int | None]] = [
        ((2, 2), 2, None),
        ((4, 4), 3, None),
        ((5, 3), 4, 6),
    ]
    if settings.full:
        shapes += [((3, 6), 2, 3), ((6, 6), 5, None), ((12, 9), 3, 10)]
    for index, (shape, depth, hidden) in enumerate(shapes):
        key = jax.random.fold_in(jax.random.key(settings.seed), index)
        problem = gf.synthetic.matrix_completion(key, shape, 1, max(3, shape[0] * shape[1] // 2))
        model = gf.MatrixProduct.of(shape, depth, hidden)
        start = model.gaussian(jax.random.fold_in(key, 1), product_std=0.3)
        yield f"{shape[0]}x{shape[1]}, depth {depth}", gf.Objective(problem, model), start


@claim(
    "razin2020.lem3",
    kind="conservation",
    where="Appendix D, Lemma 3",
    statement=r"\epsilon(t) = \max_l \|W_{l+1}^\top W_{l+1} - W_l W_l^\top\|_{nuclear} "
    r"= \epsilon(0)",
    control={"share": 0.9},
    control_text="W_{l+1}^T W_{l+1} - 0.9 W_l W_l^T instead of the difference",
)
def lem3(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """The magnitude along unbalanced flows; its drift must shrink with the tolerance."""
    yield _printed_lemmas.lem3(share)

    def magnitude(factors: list[np.ndarray]) -> float:
        pairs = zip(factors[:-1], factors[1:], strict=True)
        return max(float(np.linalg.norm(h.T @ h - share * (w @ w.T), "nuc")) for w, h in pairs)

    for name, objective, start in completion_tasks(settings):
        depth = len(start)
        runs_at = [
            gf.solve_flow(
                objective, start, horizon=20.0, record=[0.3, 1.0, 3.0, 8.0, 20.0], rtol=rtol,
                observe=("loss", "factors"), solver=runs.FINE,
            )
            for rtol in (1e-8, 1e-10)
        ]  # fmt: skip
        coarse, tight = (
            np.array(
                [
                    magnitude([run[f"factors_{j}"][k] for j in range(1, depth + 1)])
                    for k in range(len(run))
                ]
            )
            for run in runs_at
        )

        def confirm(
            k: int, objective: gf.Objective = objective, start: Any = start
        ) -> Confirmation:
            with mpmath.workdps(DIGITS):
                rate = _exact_rate(objective, start, share)
            return Confirmation(
                bool(rate > mpmath.mpf(10) ** -30),
                f"at t = 0 the matrices change at the rate {mpmath.nstr(rate, 20)} "
                "(Frobenius norm), from the chain rule in 50 digits",
            )

        yield Case(
            name=name,
            residual=np.abs(tight - tight[0])[1:] / tight[0],
            floor=np.abs(tight - coarse)[1:] / tight[0] + 1e-12,
            hypotheses={
                "matrix completion, half-sum loss (2)": ByConstruction(
                    "gradflow.synthetic.matrix_completion with the loss it has"
                ),
                "the start is unbalanced": Measured(float(tight[0]), above=1e-3),
                "the factors move": Measured(
                    float(np.linalg.norm(runs_at[1].final["W_1"] - np.asarray(start[0]))),
                    above=1e-2,
                ),
            },
            size=float(sum(f.size for f in start)),
            witness=lambda k, tight=tight, run=runs_at[1]: {
                "time": float(run.times[k + 1]),
                "at the start": float(tight[0]),
                "then": float(tight[k + 1]),
            },
            confirm=confirm,
            notes=f"eps(0) = {tight[0]:.4g}, largest relative drift "
            f"{float(np.max(np.abs(tight - tight[0])) / tight[0]):.1e}",
        )


def _exact_rate(objective: gf.Objective, start: Any, share: float) -> Any:
    """Largest ||d/dt (W_{l+1}^T W_{l+1} - share W_l W_l^T)|| at a start, in mpmath."""
    factors = [precise(f) for f in start]
    w = factors[0]
    for factor in factors[1:]:
        w = factor * w
    mask, target = precise(objective.problem.mask), precise(objective.problem.target)  # type: ignore[attr-defined]
    grad = mpmath.matrix(w.rows, w.cols)
    for i in range(w.rows):
        for j in range(w.cols):
            grad[i, j] = mask[i, j] * (w[i, j] - target[i, j])
    velocity = []
    for j in range(len(factors)):
        left = grad
        for factor in reversed(factors[j + 1 :]):
            left = factor.T * left
        for factor in factors[:j]:
            left = left * factor.T
        velocity.append(-left)
    rates = []
    for low, d_low, high, d_high in zip(
        factors[:-1], velocity[:-1], factors[1:], velocity[1:], strict=True
    ):
        change = d_high.T * high + high.T * d_high - share * (d_low * low.T + low * d_low.T)
        rates.append(mpmath.sqrt(sum(x**2 for x in change)))
    return max(rates)


@claim(
    "razin2020.lem17",
    kind="conservation",
    where="Appendix G.2.3, Lemma 17",
    statement=r"\dot\theta = -\nabla f(\theta) \Rightarrow f(\theta(t)) \text{ never increases}",
    control={"share": 1.1},
    control_text="it falls from a to b by 1.1 |theta(b) - theta(a)|^2 / (b - a) or more: by Cauchy "
    "and Schwarz 1 is the best factor, the lemma itself is the factor 0",
)
def lem17(settings: Settings, share: float = 0.0) -> Iterator[Case]:
    """Losses of every kind of problem along its flow, record to record.

    Less a share of |theta(b) - theta(a)|^2 / (b - a), which the control asks for besides.
    """
    yield _printed_lemmas.lem17(share)
    yield from _enclosed.losses(share)
    for name, objective, start in _flows_of_all_kinds(settings):
        coarse, tight = (
            gf.solve_flow(
                objective, start, horizon=30.0, rtol=rtol, observe=("loss", "factors"),
                solver=runs.FINE,
            )
            for rtol in (1e-7, 1e-9)
        )  # fmt: skip
        loss, other = tight["loss"], coarse["loss"]
        asked, asked_too = (share * _path_asks(run) for run in (tight, coarse))
        error = np.abs(loss - other) / loss[0] + 1e-15
        yield Case(
            name=name,
            slack=(loss[:-1] - loss[1:] - asked) / loss[0],
            floor=error[:-1] + error[1:] + np.abs(asked - asked_too) / loss[0],
            hypotheses={
                "the start is not stationary": Measured(float(loss[-1] / loss[0]), below=0.999),
            },
            size=float(sum(f.size for f in start)),
            witness=lambda k, run=tight: {
                "times": run.times[k : k + 2].tolist(),
                "losses": run["loss"][k : k + 2].tolist(),
            },
            confirm=None,
            along=("time", tight.times[:-1]),
            notes=f"loss from {loss[0]:.3g} to {loss[-1]:.3g}",
        )


def _path_asks(run: gf.Trajectory) -> np.ndarray:
    """|theta(b) - theta(a)|^2 / (b - a) from each record to the next."""
    factors = [run[name] for name in run.observables if name.startswith("factors_")]
    path = sum(np.sum(np.diff(f, axis=0).reshape(len(run) - 1, -1) ** 2, axis=1) for f in factors)
    return np.asarray(path) / np.diff(run.times)


def _flows_of_all_kinds(settings: Settings) -> Iterator[tuple[str, gf.Objective, Any]]:
    key = jax.random.key(settings.seed)
    yield from completion_tasks(settings)
    sensing = gf.synthetic.matrix_sensing(jax.random.fold_in(key, 1), (4, 3), 1, 8, loss="sum")
    model = gf.MatrixProduct.of((4, 3), 2)
    start = model.gaussian(jax.random.fold_in(key, 2), product_std=0.1)
    yield "sensing 4x3, depth 2", gf.Objective(sensing, model), start
    tensor = gf.synthetic.tensor_completion(
        jax.random.fold_in(key, 3), (3, 4, 2), 1, 12, loss="half_sum"
    )
    cp = gf.CPTensor((3, 4, 2), 3)
    keys = jax.random.split(jax.random.fold_in(key, 4), 3)
    shapes = cp.factor_shapes
    factors = tuple(0.5 * jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))
    yield "CP tensor 3x4x2 of 3 terms", gf.Objective(tensor, cp), factors
    yield "least squares, 6 unknowns", *_least_squares(jax.random.fold_in(key, 5))


def _least_squares(key: Any) -> tuple[gf.Objective, Any]:
    of_x, of_y = jax.random.split(key)
    x, y = jax.random.normal(of_x, (4, 6)), jax.random.normal(of_y, (4, 1))
    return gf.Objective(gf.LeastSquares(x, y), gf.MatrixProduct((1, 6))), (jnp.zeros((6, 1)),)
