r"""Razin and Cohen 2020: the determinant keeps its sign (Lemma 6)."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Confirmation, Measured, Settings, claim
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles import taylor
from gradflow.claims.oracles.high_precision import DIGITS, precise, show

from . import _enclosed, _printed_lemmas


@claim(
    "razin2020.lem6",
    kind="conservation",
    where="Appendix G.2.1, Lemma 6",
    statement=r"L \ge 2,\ d = d',\ \text{balanced} \Rightarrow "
    r"\mathrm{sign}\det W(t) = \mathrm{sign}\det W(0)\ \text{for all } t",
    control={"depths": (1,)},
    control_text="depth 1 instead of depth at least 2",
    resolution=1e-2,
)
def lem6(settings: Settings, depths: tuple[int, ...] = (2, 3, 4)) -> Iterator[Case]:
    """Determinants in factor coordinates, where nothing keeps their sign but the flow itself.

    The flow is followed as far as float64 resolves the determinant: two tolerances must agree on
    it. Further on, Taylor series in long arithmetic take over. In "logdet" coordinates the sign is
    kept by construction, so those runs are no evidence here; they are compared with the series.
    """
    yield _printed_lemmas.lem6(depths)
    yield from _enclosed.signs(depths)
    for depth in depths:
        if depth == 2 or (depth > 2 and not settings.quick):
            yield from witness_cases(depth)
        for name, problem, w in _signed_starts(settings):
            model = gf.MatrixProduct.of(problem.shape, depth)
            objective = gf.Objective(problem, model)
            start = model.balanced(w)
            coarse, tight = (
                gf.solve_flow(
                    objective, start, stop_loss=0.03, horizon=1e4, rtol=rtol,
                    record=np.geomspace(0.05, 1e3, 30), observe=("loss", "product"),
                    solver=runs.FINE,
                )
                for rtol in (1e-9, 1e-11)
            )  # fmt: skip
            count = min(len(coarse), len(tight)) - 1
            det = np.linalg.det(tight["product"][:count])
            scale = np.linalg.norm(tight["product"][:count], axis=(1, 2)) ** len(w)
            error = np.abs(det - np.linalg.det(coarse["product"][:count])) + 1e-14 * scale
            sign = np.sign(np.linalg.det(w)) if np.linalg.matrix_rank(w) == len(w) else 0.0
            hypotheses = {
                "balanced": runs.balanced(start),
                "square": ByConstruction("2x2 and 3x3"),
            }
            common: dict[str, Any] = {
                "name": f"depth {depth}, {name}",
                "hypotheses": hypotheses,
                "size": w.size,
                "witness": lambda k, w=w, run=tight, det=det: {
                    "W(0)": w.tolist(),
                    "time": float(run.times[k]),
                    "det": float(det[k]),
                },
                "confirm": _confirm_sign(problem, w) if depth == 1 else None,
                "notes": f"det from {det[0]:.2e} to {det[-1]:.2e}, "
                f"loss {tight['loss'][count - 1]:.2e}",
            }
            if sign == 0:
                yield Case(residual=np.abs(det) / scale, floor=error / scale, **common)
            else:
                whole = np.abs(det) + error
                yield Case(slack=sign * det / whole, floor=error / whole, **common)


def witness_cases(depth: int) -> Iterator[Case]:
    """Beyond float64: Taylor series in 66-digit arithmetic, and the coordinates against them."""
    w = np.array(runs.STARTS["generic"]) * 100
    problem = gf.synthetic.norm_blowup()
    loose, found = (taylor.follow(problem, w, depth, 0.006, tail) for tail in (100, 120))
    with mpmath.workprec(taylor.BITS):
        error = float(abs(found.det / loose.det - 1))
        log_det = float(mpmath.log(abs(found.det)))
    flows = [
        gf.solve_flow(
            gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth)),
            jnp.asarray(w),
            coordinates="logdet",
            horizon=float(found.time),
            rtol=rtol,
            observe=("loss", "log_abs_det"),
        )
        for rtol in (1e-11, 1e-9)
    ]
    tight, coarse = (float(flow["log_abs_det"][-1]) for flow in flows)
    hypotheses = {
        "depth at least 2": Measured(depth, above=1),
        "det W(0) > 0": Measured(float(np.linalg.det(w)), above=0),
    }
    notes = f"log det {log_det:.12f} at loss {float(found.loss):.4g}, {found.steps} Taylor steps"
    name = f"depth {depth}, 2x2, det > 0"
    yield Case(
        name=f"{name}, 66 digits",
        slack=[float(mpmath.sign(found.det))],
        floor=[error],
        hypotheses=hypotheses,
        size=4,
        notes=notes,
    )
    yield Case(
        name=f"{name}, the coordinates logdet against 66 digits",
        residual=[abs(tight / log_det - 1)],
        floor=[2 * abs(tight / coarse - 1) + 1e-13],
        hypotheses=hypotheses,
        size=4,
        notes=f"logdet: log det {tight:.12f}",
    )


def _signed_starts(
    settings: Settings,
) -> Iterator[tuple[str, gf.MatrixCompletion, np.ndarray]]:
    """Completion problems with starts of positive, negative and zero determinant."""
    generic = np.array(runs.STARTS["generic"]) * 100
    yield "2x2, det > 0", gf.synthetic.norm_blowup(), generic
    yield "2x2, det < 0", gf.synthetic.norm_blowup(), generic[::-1].copy()
    yield "2x2, det = 0", gf.synthetic.norm_blowup(), np.array([[0.2, 0.1], [0.4, 0.2]])
    for index in range(3 if settings.full else 1):
        key = jax.random.fold_in(jax.random.key(settings.seed), 100 + index)
        problem = gf.synthetic.matrix_completion(key, (3, 3), 3, 7)
        w = np.array(0.3 * jax.random.normal(jax.random.fold_in(key, 1), (3, 3)))
        truth_sign = np.sign(np.linalg.det(np.asarray(problem.truth)))
        if np.sign(np.linalg.det(w)) == truth_sign:
            w[0] *= -1  # The hard case: the truth has the other sign.
        yield "3x3, the truth has the other sign", problem, w


def _confirm_sign(problem: gf.MatrixCompletion, w: np.ndarray) -> Callable[[int], Confirmation]:
    """At depth 1 the flow is known: observed entries tend to their values, others stay."""

    def confirm(k: int) -> Confirmation:
        mask, target = np.asarray(problem.mask), np.asarray(problem.target)
        limit = np.where(mask == 1, target, w)
        with mpmath.workdps(DIGITS):
            first, last = mpmath.det(precise(w)), mpmath.det(precise(limit))
            return Confirmation(
                bool(first * last < 0),
                f"W(0) = {show(w)} has det {mpmath.nstr(first, 12)}; the flow tends to "
                f"{show(limit)} with det {mpmath.nstr(last, 12)}",
            )

    return confirm
