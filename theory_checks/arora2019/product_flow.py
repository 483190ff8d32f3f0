r"""Arora, Cohen, Hu and Luo 2019, Implicit Regularization in Deep Matrix Factorization.

The claims, in the order of the paper. Depth is N there; W_1 acts first.
"""

from collections.abc import Iterator
from functools import cache

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import gradflow as gf
from gradflow.claims import Case, Confirmation, Settings, claim
from gradflow.claims.oracles import differences
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.high_precision import (
    DIGITS,
    Matrix,
    Real,
    precise,
    product_velocity,
    show,
    svd,
)
from gradflow.claims.oracles.singular_values import large_cases, ratings_case, small_cases
from gradflow.linalg.spectrum import left_power, right_power

from . import _proofs


@claim(
    "arora2019.lem3",
    kind="identity",
    where="Appendix A, Lemma 3",
    statement=r"\dot W = -\sum_{j=1}^N [WW^\top]^{\frac{j-1}{N}}\,\nabla\ell(W)\,"
    r"[W^\top W]^{\frac{N-j}{N}}",
    control={"shift": 0.1},
    control_text="exponents 0.1 + (j-1)/N instead of (j-1)/N",
)
def lem3(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """The product's velocity by difference quotients of the factors' flow, against the formula."""
    yield _proofs.product_flow(shift)
    shapes = [((2, 2), None), ((4, 6), None), ((5, 3), 7)]
    if settings.full:
        shapes += [((8, 8), None), ((20, 20), None), ((3, 9), 5)]
    for depth in (1, 2, 3, 4, 5) if settings.full else (1, 2, 3, 4):
        for index, (shape, hidden) in enumerate(shapes):
            tight, coarse = _lemma3_runs(settings.seed, depth, index, shape, hidden)
            residual, floor, judged = [], [], []
            for k, t in enumerate(tight.times):
                w, grad = tight.product[k, 3], tight.gradient[k]
                values = np.linalg.svd(w, compute_uv=False)
                if depth > 1 and values[-1] < 1e-3 * values[0]:
                    continue  # Fractional powers of so small a value are lost in W's round-off.
                if np.linalg.norm(grad) < 1e-5 * np.linalg.norm(tight.gradient[0]):
                    continue  # The flow has arrived: its quotients are round-off.
                judged.append(k)
                slope = differences.derivative(tight.product[k], t * tight.width)
                formula = lemma3(w, grad, depth, shift)
                gap = slope.value - formula
                other = differences.derivative(coarse.product[k], t * coarse.width).value
                other = other - lemma3(coarse.product[k, 3], coarse.gradient[k], depth, shift)
                scale = np.linalg.norm(formula) + np.linalg.norm(grad)
                residual.append(np.linalg.norm(gap) / scale)
                error = np.linalg.norm(slope.error) + 2 * np.linalg.norm(gap - other)
                floor.append(error / scale + 1e-13)
            if not judged:
                continue

            def confirm(
                at: int,
                depth: int = depth,
                found: differences.Clusters = tight,
                judged: list[int] = judged,
            ) -> Confirmation:
                k = judged[at]
                with mpmath.workdps(DIGITS):
                    w, grad = precise(found.product[k, 3]), precise(found.gradient[k])
                    gap = product_velocity(w, grad, depth) - _lemma3_precisely(
                        w, grad, depth, shift
                    )
                    size = mpmath.sqrt(sum(x**2 for x in gap))
                return Confirmation(
                    bool(size > mpmath.mpf(10) ** -30),
                    f"at W = {show(found.product[k, 3])} with gradient {show(found.gradient[k])}, "
                    f"depth {depth}: chain rule and formula differ by {mpmath.nstr(size, 12)}",
                )

            yield Case(
                name=f"{shape[0]}x{shape[1]}, depth {depth}",
                residual=residual,
                floor=floor,
                hypotheses={"balanced start": runs.balanced_start(tight.flow)},
                size=float(shape[0] * shape[1]),
                witness=lambda at, found=tight, judged=judged: {
                    "time": float(found.times[judged[at]])
                },
                confirm=confirm if shape[0] == shape[1] else None,
                notes=f"{len(judged)} of {len(tight.times)} times have condition < 1e3 and move",
            )


@cache
def _lemma3_runs(
    seed: int, depth: int, index: int, shape: tuple[int, int], hidden: int | None
) -> tuple[differences.Clusters, differences.Clusters]:
    """One balanced flow at two tolerances: the claim, its control and who quotes it share it."""
    key = jax.random.fold_in(jax.random.key(seed), 10 * depth + index)
    problem = gf.synthetic.matrix_completion(key, shape, 2, shape[0] * shape[1] // 2)
    model = gf.MatrixProduct.of(shape, depth, hidden)
    start = model.random_balanced(jax.random.fold_in(key, 1), 0.3)
    centres = np.geomspace(0.03, 3.0, 6)
    objective = gf.Objective(problem, model)
    return (
        differences.record_clusters(objective, start, centres, rtol=1e-11, width=1e-4),
        differences.record_clusters(objective, start, centres, rtol=1e-9, width=2e-4),
    )


def lemma3(w: np.ndarray, grad: np.ndarray, depth: int, shift: float = 0.0) -> np.ndarray:
    """The right side of Lemma 3, term by term."""
    total = np.zeros_like(w)
    for j in range(1, depth + 1):
        left = left_power(jnp.asarray(w), (j - 1) / depth + shift)
        right = right_power(jnp.asarray(w), (depth - j) / depth)
        total -= np.asarray(left) @ grad @ np.asarray(right)
    return total


def _lemma3_precisely(w: Matrix, grad: Matrix, depth: int, shift: float) -> Matrix:
    u, s, v = svd(w)

    def power(frame: Matrix, exponent: Real) -> Matrix:
        if exponent == 0:
            return mpmath.eye(len(s))
        return frame * mpmath.diag([x ** (2 * exponent) for x in s]) * frame.T

    total = mpmath.zeros(len(s))
    for j in range(1, depth + 1):
        left = power(u, mpmath.mpf(j - 1) / depth + shift)
        total -= left * grad * power(v, mpmath.mpf(depth - j) / depth)
    return total


@claim(
    "arora2019.thm3",
    kind="identity",
    where="Theorem 3, Equation (7)",
    statement=r"\dot\sigma_r = -N\,(\sigma_r^2)^{1-1/N}\,"
    r"\langle\nabla\ell(W), u_rv_r^\top\rangle;\ "
    r"N\ge2 \Rightarrow \text{no } \sigma_r \text{ changes sign}",
    control={"shift": 0.1},
    control_text="exponent 1.1 - 1/N instead of 1 - 1/N",
)
def thm3(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """Depths 1 to 4 at 2x2 and 100x100, depth 2 on the real ratings; in a hurry fewer."""
    yield _proofs.value_flow(shift, signs=True)

    def power(depth: int) -> float:
        return 1 - 1 / depth + shift

    yield from small_cases(settings, "half_sum", power, 1.0)
    depths = (1, 3) if settings.quick else (1, 2, 3, 4)
    yield from large_cases(settings, "half_sum", power, 1.0, depths)
    if not settings.quick:
        yield ratings_case(power, 1.0, settings)
