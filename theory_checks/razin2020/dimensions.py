r"""Razin and Cohen 2020: positive definite products (Lemma 20), larger shapes (Appendix E)."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import mpmath
import numpy as np
import sympy

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Measured, Settings, claim, roundings
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles import taylor
from gradflow.claims.oracles.search import Draw, Inequality, searched_case

from . import _best, _enclosed, _printed_lemmas, _proofs_flows


@claim(
    "razin2020.lem20",
    kind="conservation",
    where="Appendix G.7, Lemma 20",
    statement=r"W(0) = \alpha I,\ \alpha\in(0,1] \Rightarrow W(t) \succ 0 \text{ for all } t "
    r"\text{ (depths of Theorem 1)}",
    control={"depths": (1,)},
    control_text="depth 1",
    readings={
        "the depths of Theorem 1, in whose setting it stands": "holds",
        "'arbitrary depth', literally": "fails at depth 1",
    },
    resolution=1e-2,
    best=_best.LEM20,
)
def lem20(settings: Settings, depths: tuple[int, ...] = (2, 3, 4)) -> Iterator[Case]:
    """Factor coordinates as far as float64 resolves the smallest eigenvalue, then 66 digits."""
    yield _printed_lemmas.lem20(depths)
    yield from _enclosed.definite(depths)
    problem = gf.synthetic.norm_blowup()
    for depth in depths:
        model = gf.MatrixProduct.of((2, 2), depth)
        for alpha in (1e-3, 0.1, 0.5, 1.0) if settings.full else (0.1, 1.0):
            yield _eigenvalue_case(gf.Objective(problem, model), depth, alpha)
        if 1 < depth <= (4 if settings.full else 3):
            yield _series_case(problem, depth)
    if 1 not in depths:
        case = _eigenvalue_case(gf.Objective(problem, gf.MatrixProduct.of((2, 2), 1)), 1, 1.0)
        note = (
            "not in the setting of Theorem 1 (depth at least 2), though the lemma says 'arbitrary "
            "depth L in N': at depth 1, W(t) = [[alpha, q], [q, alpha e^-t]] with q = 1 - e^-t, "
            "whose determinant tends to -1"
        )
        yield Case(**{**vars(case), "counts": False, "notes": note})


def _twice(
    objective: gf.Objective, start: Any, rtols: tuple[float, float], **asked: Any
) -> list[gf.Trajectory]:
    """A flow of factors at two tolerances, which are believed as far as they agree.

    So what they warn of, a small singular value or a determinant's sign, says nothing new.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In this flow", RuntimeWarning)
        return [
            gf.solve_flow(objective, start, coordinates="factors", rtol=rtol, **asked)
            for rtol in rtols
        ]


def _eigenvalue_case(objective: gf.Objective, depth: int, alpha: float) -> Case:
    start = objective.factorization.identity(alpha)  # type: ignore[attr-defined]
    coarse, tight = _twice(
        objective, start, (1e-9, 1e-11), stop_loss=0.03, horizon=1e4,
        record=np.geomspace(0.05, 1e3, 40), observe=("loss", "product"),
    )  # fmt: skip
    count = min(len(coarse), len(tight)) - 1
    w = tight["product"][:count]
    values, other = (
        np.linalg.eigvalsh((p + np.swapaxes(p, 1, 2)) / 2) for p in (w, coarse["product"][:count])
    )
    return Case(
        name=f"depth {depth}, alpha = {alpha:g}",
        slack=values[:, 0] / values[:, 1],
        floor=2 * np.abs(values - other)[:, 0] / values[:, 1] + 1e-13,
        hypotheses={
            "W(0) = alpha I, alpha in (0, 1]": Measured(
                float(np.max(np.abs(w[0] / alpha - np.eye(2)))), below=1e-12
            ),
            "balanced": runs.balanced_start(tight),
            "W stays symmetric, as the lemma implies": Measured(
                float(np.max(np.abs(w[:, 0, 1] - w[:, 1, 0]) / values[:, 1])), below=1e-8
            ),
        },
        size=4,
        witness=lambda k: {"time": float(tight.times[k]), "W": w[k].tolist()},
        notes=f"loss to {tight['loss'][count - 1]:.2g}",
        along=("time", tight.times[:count]),
    )


def _series_case(problem: gf.MatrixCompletion, depth: int) -> Case:
    """The smaller eigenvalue in 66 digits, from alpha = 1/4 to a loss of 0.01."""
    slack, floor = [], []
    for stop in (0.01,):
        ends = [taylor.follow(problem, np.eye(2) / 4, depth, stop, tail) for tail in (120, 100)]
        with mpmath.workprec(taylor.BITS):
            lowest = [
                min(mpmath.eigsy((e.product + e.product.T) / 2, eigvals_only=True)) for e in ends
            ]
            top = max(mpmath.eigsy((ends[0].product + ends[0].product.T) / 2, eigvals_only=True))
            # The determinant can be tiny: compare signs relative to the eigenvalue itself.
            slack.append(float(mpmath.sign(lowest[0])))
            floor.append(float(abs(lowest[1] / lowest[0] - 1)))
            gap = float(abs(ends[0].product[0, 1] - ends[0].product[1, 0]) / top)
    return Case(
        name=f"depth {depth}, alpha = 1/4, 66 digits",
        slack=slack,
        floor=floor,
        hypotheses={"W stays symmetric, as the lemma implies": Measured(gap, below=1e-40)},
        size=4,
        notes=f"smallest eigenvalue {mpmath.nstr(lowest[0], 8)} at loss 0.01",
    )


def solution(d: int, columns: int, corner: float) -> np.ndarray:
    """The solution of (26), with zero columns beyond the square."""
    w = np.zeros((d, columns))
    w[:d, :d] = np.eye(d)
    w[:2, :2] = [[corner, 1.0], [1.0, 0.0]]
    return w


class _Completed:
    """W with det W = exp(log det) > 0: observed entries are free, w_11 follows from them."""

    def __init__(self, d: int, factor: float):
        self.d, self.factor = d, factor
        self.places = [at for at in np.ndindex(d, d) if at != (0, 0)]

    def sides(self, x: np.ndarray) -> tuple[Any, Any]:
        """|w_11| and the bound."""
        d = self.d
        w = np.broadcast_to(solution(d, d, 0.0), (len(x), d, d)).copy()
        for k, (i, j) in enumerate(self.places):
            w[:, i, j] += x[:, k]
        s = np.linalg.norm(x[:, :-1], axis=1)
        det = np.exp(np.clip(x[:, -1], -300, 300))
        corner = (det - np.linalg.det(w)) / np.linalg.det(w[:, 1:, 1:])
        right = self.factor * (1 - s) ** d / (s * (1 + s) ** (d - 2))
        return np.where(s < 1, np.abs(corner), np.nan), right

    def exactly(self, x: Sequence[Any]) -> tuple[Any, Any]:
        """The same in mpmath."""
        d = self.d
        w = mpmath.matrix(solution(d, d, 0.0).tolist())
        for k, (i, j) in enumerate(self.places):
            w[i, j] += x[k]
        s = mpmath.sqrt(sum(v**2 for v in x[:-1]))
        corner = (mpmath.exp(min(max(x[-1], -300), 300)) - mpmath.det(w)) / mpmath.det(w[1:, 1:])
        return abs(corner), self.factor * (1 - s) ** d / (s * (1 + s) ** (d - 2))

    def plain(self, x: np.ndarray) -> dict[str, Any]:
        """The observed entries' offsets and log det."""
        return {"offsets of the observed entries": x[:-1].tolist(), "log det": float(x[-1])}


def _near(d: int) -> Draw:
    def points(rng: np.random.Generator, count: int) -> np.ndarray:
        step = rng.normal(size=(count, d * d - 1))
        step *= (rng.uniform(size=step.shape) < rng.uniform(0.1, 1.2, (count, 1))) + 1e-9
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= 10 ** rng.uniform(-3, -0.01, (count, 1)) / length
        return np.concatenate([step, rng.uniform(-30, 0, (count, 1))], axis=1)

    return points


@claim(
    "razin2020.appE",
    kind="inequality",
    where="Appendix E, Equations (25) and (26) and the text after them",
    statement=r"\sigma(S_d) = \sigma(S)\cup\{1\}^{d-2},\ \det = -1;\ \det W > 0,\ "
    r"s = \sqrt{2\ell} < 1 \Rightarrow |w_{11}| > \frac{(1-s)^d}{s(1+s)^{d-2}},\ "
    r"\sigma_{min} \le s;\ W(0) = [A\ 0] \Rightarrow W(t) = [A(t)\ 0]",
    control={"factor": 1.1},
    control_text="1.1 times the bound on w_11",
    best=_best.APP_E,
)
def app_e(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """The solutions' values, the bound that the text's argument gives, and rectangular flows.

    The appendix prints no inequality. Its argument gives one: det W = w_11 det M + det W_0 with M
    the lower right block and W_0 = W at w_11 = 0; |det M| <= s (1 + s)^(d-2), and
    det W_0 <= -(1 - s)^d.
    """
    yield _proofs_flows.app_e(factor)
    yield from _solution_cases()
    for d in (2, 3, 4):
        made = _Completed(d, factor)
        yield searched_case(
            f"{d}x{d} matrices of positive determinant",
            Inequality(made.sides, made.exactly, made.plain),
            _near(d),
            settings,
            hypotheses=lambda x: {
                "sqrt(2 loss)": Measured(float(np.max(np.linalg.norm(x[:, :-1], axis=1))), below=1),
                "det W > 0": ByConstruction("it is the exponential of the last coordinate"),
            },
            size=d * d,
            samples=1000,
            starts=1,
            rounds=2,
        )
    yield from _square_flows(settings, factor)
    yield from _rectangular_flows(settings)


def _solution_cases() -> Iterator[Case]:
    corner = np.array([-1e3, -2.0, -0.1, 0.0, 0.5, 3.0, 1e4])
    for d, columns in ((2, 2), (3, 3), (5, 5), (3, 6)):
        gaps, eranks = [], []
        for x in corner:
            s = np.linalg.svd(solution(d, columns, x), compute_uv=False)
            pair = (abs(x) + np.sqrt(x**2 + 4)) / 2
            wanted = np.sort([pair, 1 / pair, *[1.0] * (d - 2)])[::-1]
            gaps.append(np.max(np.abs(s - wanted)) / pair)
        for x in np.geomspace(1e-2, 1e6, 60):
            pair = (x + np.sqrt(x**2 + 4)) / 2
            p = np.array([pair, 1 / pair, *[1.0] * (d - 2)])
            p /= p.sum()
            eranks.append(float(np.exp(-np.sum(p * np.log(p)))))
        problem = gf.synthetic.norm_blowup(shape=(d, columns))
        losses = [float(problem.loss(jnp.asarray(solution(d, columns, x)))) for x in corner]
        hypotheses = {"zero loss": Measured(max(losses), below=1e-300)}
        yield Case(
            name=f"singular values of the solutions, {d}x{columns}",
            residual=gaps,
            floor=roundings(1e-14),
            hypotheses=hypotheses,
        )
        yield Case(
            name=f"effective rank of the solutions falls from {d} towards 1, {d}x{columns}",
            slack=[d - eranks[0], *(-np.diff(eranks)), 1 + 1e-3 - eranks[-1]],
            floor=roundings(1e-14),
            hypotheses=hypotheses,
        )
        if d == columns:
            # Of the numbers as they are in the matrices, so nothing is rounded.
            exact = [sympy.Matrix(solution(d, d, x)).applyfunc(sympy.Rational) for x in corner]
            yield Case(
                name=f"determinant -1, {d}x{d}",
                residual=[w.det() + 1 for w in exact],
                hypotheses=hypotheses,
            )


def _start(rng: np.random.Generator, d: int) -> np.ndarray:
    w = 0.3 * rng.normal(size=(d, d)) + 0.2 * np.eye(d)
    return w if np.linalg.det(w) > 0 else w[[1, 0, *range(2, d)]]


def _square_flows(settings: Settings, factor: float) -> Iterator[Case]:
    """Flows from a positive determinant, as far as two tolerances agree on its sign."""
    rng = np.random.default_rng([settings.seed, 5])
    for d, depth in ((3, 2), (3, 3), (4, 3)) if settings.full else ((3, 2), (3, 3)):
        objective = gf.Objective(
            gf.synthetic.norm_blowup(shape=(d, d)), gf.MatrixProduct.of((d, d), depth)
        )
        w = _start(rng, d)
        start = objective.factorization.balanced(w)  # type: ignore[attr-defined]
        coarse, tight = _twice(
            objective, start, (1e-8, 1e-10), stop_loss=0.01, horizon=1e3,
            record=np.geomspace(0.05, 900, 40), observe=("loss", "product", "singular_values"),
        )  # fmt: skip
        count = min(len(coarse), len(tight)) - 1
        products = [run["product"][:count] for run in (tight, coarse)]
        det, other = (np.linalg.det(p) for p in products)
        resolved = (np.abs(det - other) < 0.1 * np.abs(det)).cumprod().astype(bool)
        s = np.sqrt(2 * tight["loss"][:count])
        corner = np.abs(products[0][:, 0, 0])
        bound = factor * (1 - s) ** d / (s * (1 + s) ** (d - 2))
        below = resolved & (s < 1)
        error = np.abs(products[0] - products[1]).max(axis=(1, 2)) / corner + 1e-12
        hypotheses = {
            "balanced": runs.balanced_start(tight),
            "det W(0) > 0": Measured(float(np.linalg.det(w)), above=0),
            "the determinant keeps its sign as far as it is resolved": Measured(
                float(np.min(det[resolved])), above=0
            ),
        }
        if np.any(below):
            yield Case(
                name=f"{d}x{d} flow, depth {depth}: w_11",
                slack=((corner - bound) / (corner + np.abs(bound)))[below],
                floor=error[below],
                hypotheses=hypotheses,
                size=d * d,
                notes=f"loss to {tight['loss'][:count][below][-1]:.2g}, |w_11| to "
                f"{corner[below][-1]:.3g}",
                along=("loss", tight["loss"][:count][below]),
            )
        least = tight["singular_values"][:count, -1]
        yield Case(
            name=f"{d}x{d} flow, depth {depth}: smallest singular value",
            slack=((s - least) / (s + least))[resolved],
            floor=error[resolved],
            hypotheses=hypotheses,
            size=d * d,
        )


def _rectangular_flows(settings: Settings) -> Iterator[Case]:
    """From [A 0], the left block follows the square flow and the other columns stay 0."""
    rng = np.random.default_rng([settings.seed, 6])
    for d, columns, depth in ((2, 3, 2), (3, 5, 3)):
        a = _start(rng, d)
        times = np.geomspace(0.05, 10, 12)
        flows = []
        for shape, rtol in (((d, d), 1e-10), ((d, columns), 1e-10), ((d, d), 1e-8)):
            w = np.zeros(shape)
            w[:, :d] = a
            model = gf.MatrixProduct.of(shape, depth)
            flows.append(
                gf.solve_flow(
                    gf.Objective(gf.synthetic.norm_blowup(shape=shape), model),
                    model.balanced(jnp.asarray(w)),
                    coordinates="factors", horizon=10.0, record=times, rtol=rtol,
                    observe=("product",),
                )["product"]
            )  # fmt: skip
        square, wide, loose = flows
        scale = np.linalg.norm(square, axis=(1, 2))
        error = 4 * np.linalg.norm(square - loose, axis=(1, 2)) / scale + 1e-9
        yield Case(
            name=f"{d}x{columns} against {d}x{d}, depth {depth}",
            residual=np.concatenate(
                [
                    np.linalg.norm(wide[:, :, :d] - square, axis=(1, 2)) / scale,
                    np.linalg.norm(wide[:, :, d:], axis=(1, 2)) / scale,
                ]
            ),
            floor=np.tile(error, 2),
            hypotheses={
                "zero columns at the start": Measured(
                    float(np.max(np.abs(wide[0][:, d:]))), below=1e-300
                )
            },
            size=d * columns,
        )
