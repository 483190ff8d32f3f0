r"""Cases for formulas of the singular values' motion, shared by the papers that print one.

The formula d sigma_r/dt = -N (sigma_r^2)^power <gradient, u_r v_r^T> is compared with difference
quotients of signed
singular values that are followed along the exact flow: the flow itself is the witness, not another
formula.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import gradflow as gf
from gradflow.spectrum import AnalyticSVD, follow_svd
from theory_checks import runs
from theory_checks.claims import Case, Confirmation, Settings
from theory_checks.exact import DIGITS, precise, product_velocity, show, svd

Power = Callable[[int], float]
"""From the depth to the exponent of sigma^2."""


def small_cases(settings: Settings, loss: Any, power: Power, factor: float) -> Iterator[Case]:
    """2x2 (depth 1 to 4), the latter in coordinates that are exact to a vanishing loss."""
    problem = gf.norm_blowup()
    problem = gf.MatrixCompletion((2, 2), problem.indices, problem.values, loss=loss)
    start = jnp.array([[0.1, 0.03], [-0.02, 0.08]])
    for depth in (1, 2, 3, 4):
        objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth))
        centres = np.geomspace(0.01, 3.0, 24)
        if depth > 1:
            centres = np.geomspace(0.01, 1e5, 28 if settings.full else 14)
        runs_at = [
            runs.record_clusters(
                objective,
                start,
                centres,
                coordinates="logdet" if depth > 1 else "factors",
                rtol=rtol,
                width=width,
            )
            for rtol, width in ((1e-10, 2e-3), (1e-8, 4e-3))
        ]
        yield dynamics_case(f"2x2, depth {depth}", depth, runs_at, power, factor)


def large_cases(
    settings: Settings, loss: Any, power: Power, factor: float, depths: tuple[int, ...]
) -> Iterator[Case]:
    """100 x 100, rank 5, 2000 observed entries, balanced start with entries of std 1e-3."""
    for depth in depths:
        runs_at = [
            _large_run(settings.seed, loss, depth, *at) for at in ((1e-10, 5e-4), (1e-8, 1e-3))
        ]
        yield dynamics_case(f"100x100, depth {depth}", depth, runs_at, power, factor)


@cache
def _large_run(seed: int, loss: Any, depth: int, rtol: float, width: float) -> runs.Clusters:
    key = jax.random.key(seed)
    problem = gf.matrix_completion(key, (100, 100), 5, 2000, loss=loss)
    model = gf.MatrixProduct.of((100, 100), depth)
    start = gf.random_balanced(jax.random.fold_in(key, 1), model.sizes, 1e-3)
    objective = gf.Objective(problem, model)
    centres = rise_times(problem, depth)
    return runs.record_clusters(objective, start, centres, rtol=rtol, width=width)


def rise_times(problem: gf.MatrixCompletion, depth: int) -> np.ndarray:
    """Times when singular values are on their way: from 0.1 to 4 times the first rise."""
    w = 1e-3 * np.sqrt(problem.shape[0])
    top = 2 * problem.weight * float(np.linalg.norm(np.asarray(problem.target), 2))
    if depth == 1:
        rise = 1 / (2 * problem.weight)
    elif depth == 2:
        rise = np.log(top / w) / (2 * top)
    else:
        power = 2 / depth - 1
        rise = w**power / (-power * depth * top)
    return rise * np.array([0.1, 0.4, 0.8, 1.1, 1.6, 2.5, 4.0])


def ratings_case(power: Power, factor: float, settings: Settings) -> Case:
    """Depth 2 on the real 943 x 1682 ratings, full-dimensional."""
    found = _ratings_run(settings.seed, settings.full)
    return dynamics_case("MovieLens 100K 943x1682, depth 2", 2, [found], power, factor)


@cache
def _ratings_run(seed: int, full: bool) -> runs.Clusters:
    problem = runs.movielens()
    model = gf.MatrixProduct.of(problem.shape, 2)
    start = gf.random_balanced(jax.random.key(seed), model.sizes, 1e-3)
    centres = (0.004, 0.009, 0.016, 0.03) if full else (0.004, 0.009)
    return runs.record_clusters(gf.Objective(problem, model), start, centres, rtol=1e-6, width=5e-4)


def dynamics_case(
    name: str, depth: int, runs_at: Sequence[runs.Clusters], power: Power, factor: float
) -> Case:
    """Difference quotients of followed singular values against the formula, at every cluster.

    The floor adds up the quotient's error, what the flow's unbalancedness (round-off and the
    solver's error) does to the formula to first order, and, with a second run of twice the spacing
    at a looser tolerance, twice the change of the gaps.
    """
    found = runs_at[0]
    exponent = power(depth)

    def gaps(run: runs.Clusters, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, AnalyticSVD]:
        """Quotient minus formula, the quotient's error, the formula; values in falling size."""
        path = follow_svd(run.product[k])
        order = np.argsort(-np.abs(path.s[3]))
        path = AnalyticSVD(path.u[..., order], path.s[..., order], path.v[..., order])
        u, s, v = path.u[3], path.s[3], path.v[3]
        slope = runs.derivative(path.s, run.times[k] * run.width)
        along = np.einsum("ir,ij,jr->r", u, run.gradient[k], v)
        formula = -factor * depth * (s**2) ** exponent * along
        return (slope.value - formula) * np.sign(s), slope.error, formula, path

    residual, floor, chain = [], [], []
    for k in range(len(found.times)):
        gap, error, formula, path = gaps(found, k)
        scale = float(np.max(np.abs(formula)))
        u, s, v = path.u[3], path.s[3], path.v[3]
        if depth > 1:
            push = np.linalg.norm(found.gradient[k], 2)
            error = error + depth**2 * found.drift * np.max(np.abs(s)) ** (2 - 2 / depth) * push
        for other in runs_at[1:]:
            error = error + 2 * np.max(np.abs(gap - gaps(other, k)[0]))
        residual.append(np.abs(gap) / scale)
        floor.append(error / scale)
        if found.velocity is not None:
            rate = np.einsum("ir,ij,jr->r", u, found.velocity[k], v)
            chain.append(float(np.max(np.abs(rate - formula))) / scale)
    top = max(float(np.max(np.linalg.norm(cluster, 2, axis=(1, 2)))) for cluster in found.product)
    changes = _sign_changes(found.product.reshape(-1, *found.product.shape[2:]))
    loss = found.flow["loss"]
    notes = [
        f"loss {loss[0]:.3g} to {loss[-1]:.3g}",
        f"largest singular value to {top:.3g}",
    ]
    if chain:
        notes.append(f"chain rule agrees to {max(chain):.1e}")
        notes.append(f"relative unbalancedness at most {found.drift:.1e}")
    notes.append(f"sign changes: {changes}")
    hypotheses = {
        "the loss never rises": bool(np.all(np.diff(loss) <= 1e-12 * loss[0])),
        "balanced start": runs.balanced_start(found.flow),
    }
    if depth > 1:
        hypotheses["no singular value changes sign (depth at least 2)"] = changes == 0
    elif found.product.shape[-1] == 2:
        hypotheses["a signed singular value crosses zero (depth 1)"] = changes > 0
    k_of = [k for k, part in enumerate(residual) for _ in part]
    small = found.product.shape[-1] == 2

    def confirm(at: int) -> Confirmation:
        k = k_of[at]
        with mpmath.workdps(DIGITS):
            w, grad = precise(found.product[k, 3]), precise(found.gradient[k])
            u, s, v = svd(w)
            motion = u.T * product_velocity(w, grad, depth) * v
            along = u.T * grad * v
            gaps = [
                abs(
                    motion[r, r]
                    + factor * depth * (s[r] ** 2) ** mpmath.mpf(exponent) * along[r, r]
                )
                for r in range(len(s))
            ]
            r = int(np.argmax([float(g) for g in gaps]))
            return Confirmation(
                bool(gaps[r] > mpmath.mpf(10) ** -20),
                f"at W = {show(found.product[k, 3])} with gradient {show(found.gradient[k])}, "
                f"depth {depth}: the chain rule gives {mpmath.nstr(motion[r, r], 20)} for the "
                f"singular value {mpmath.nstr(s[r], 12)}, off the formula by "
                f"{mpmath.nstr(gaps[r], 12)}",
            )

    return Case(
        name=name,
        residual=np.concatenate(residual),
        floor=np.concatenate(floor),
        hypotheses=hypotheses,
        size=float(found.product.shape[-1] * found.product.shape[-2]),
        witness=lambda at: {"time": float(found.times[k_of[at]])},
        confirm=confirm if small else None,
        notes="; ".join(notes),
    )


def _sign_changes(path: np.ndarray) -> int:
    """How many signed singular values end with the other sign, on paths small enough to follow."""
    if path.shape[-1] > 10:
        return 0
    s = follow_svd(path).s
    return int(np.sum(np.sign(s[0]) * np.sign(s[-1]) < 0))
