"""Zhao 2022: gradient flow with depth, Equations (3) and (4)."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Confirmation, Settings, claim
from gradflow.claims.oracles import differences
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.singular_values import large_cases, small_cases
from gradflow.linalg.spectrum import left_power, right_power

from ..arora2019._proofs import value_flow
from . import _proofs


@claim(
    "zhao2022.eq3",
    kind="identity",
    where="Equation (3), and (10) of Appendix A.4",
    statement=r"\dot\sigma_i = -N(\sigma_i^2)^{\frac{N-1}{N}}\,u_i^\top\nabla_W\mathcal L(W)\,v_i",
    control={"factor": 0.9},
    control_text="0.9 N instead of N",
)
def eq3(settings: Settings, factor: float = 1.0) -> Iterator[Case]:
    """The same dynamics with the paper's own loss, depths 1 to 4."""
    yield value_flow(factor=factor)

    def power(depth: int) -> float:
        return (depth - 1) / depth

    yield from small_cases(settings, "sum", power, factor)
    yield from large_cases(settings, "sum", power, factor, (2,) if settings.quick else (2, 3))


Formula = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""From the product, the loss gradient in it and the depth to dW/dt."""


def preconditioner(w: np.ndarray, depth: int, exchanged: bool = False) -> np.ndarray:
    """P_W as the matrix of Equation (4), for column-major vec; or with its two sides exchanged."""
    rows, columns = w.shape
    total = np.zeros((rows * columns, rows * columns))
    for j in range(1, depth + 1):
        right = np.asarray(right_power(jnp.asarray(w), (depth - j) / depth))
        left = np.asarray(left_power(jnp.asarray(w), (j - 1) / depth))
        total += np.kron(left, right) if exchanged else np.kron(right, left)
    return total


def apply(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A matrix on vec(x), back in the shape of x; vec is column-major."""
    return (matrix @ x.ravel(order="F")).reshape(x.shape, order="F")


@cache
def recorded(
    seed: int, shape: tuple[int, int], depth: int, weight: float, observed: int, coarse: bool
) -> differences.Clusters:
    """A flow of the sum loss from a balanced start, recorded in clusters of times.

    Args:
      seed: of the problem and the start.
      shape: of W.
      depth: N.
      weight: lambda of the nuclear/Frobenius ratio; 0 for no penalty.
      observed: how many entries.
      coarse: at a looser tolerance and twice the spacing.
    """
    rng = np.random.default_rng([seed, depth, *shape])
    where = np.stack(np.unravel_index(rng.permutation(shape[0] * shape[1])[:observed], shape), 1)
    # Starting near a multiple of the truth, no singular value goes through zero at depth 1, where
    # a flow with the ratio penalty would end.
    truth = _spread(rng, shape, 2.0, 0.8)
    w = 0.6 * truth + _spread(rng, shape, 0.2, 0.1)
    problem = gf.MatrixCompletion(shape, where, truth[tuple(where.T)], loss="sum")
    model = gf.MatrixProduct.of(shape, depth)
    start = model.balanced(w)
    penalty = gf.NuclearFrobeniusRatio(weight) if weight else None
    rtol, width = (1e-9, 4e-4) if coarse else (1e-11, 2e-4)
    return differences.record_clusters(
        gf.Objective(problem, model, penalty), start, np.geomspace(0.01, 0.25, 6),
        rtol=rtol, width=width,
    )  # fmt: skip


def _spread(rng: np.random.Generator, shape: tuple[int, int], top: float, low: float) -> np.ndarray:
    """A matrix with singular values from `top` down to `low` and random singular vectors."""
    u, _, vt = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    return u * np.linspace(top, low, min(shape)) @ vt


def flow_case(
    name: str,
    found: tuple[differences.Clusters, differences.Clusters],
    depth: int,
    formula: Formula,
    size_of: Formula | None = None,
    confirm: Callable[[int], Confirmation] | None = None,
    notes: str = "",
) -> Case | None:
    """dW/dt by difference quotients against a formula, at every cluster; None where none is fit.

    Args:
      name: of the case.
      found: the run at a tight tolerance and at a looser one.
      depth: N.
      formula: the right side.
      size_of: what the residual is relative to; the velocity and the gradient by default.
      confirm: as of any case.
      notes: as of any case.
    """
    tight, coarse = found
    residual, floor = [], []
    for k, t in enumerate(tight.times):
        w, gradient = tight.product[k, 3], tight.gradient[k]
        values = np.linalg.svd(w, compute_uv=False)
        if depth > 1 and values[-1] < 1e-3 * values[0]:
            continue  # Fractional powers of so small a value are lost in W's round-off.
        slope = differences.derivative(tight.product[k], t * tight.width)
        right = formula(w, gradient, depth)
        gap = slope.value - right
        other = differences.derivative(coarse.product[k], t * coarse.width).value
        other = other - formula(coarse.product[k, 3], coarse.gradient[k], depth)
        reference = right if size_of is None else size_of(w, gradient, depth)
        scale = np.linalg.norm(reference) + (np.linalg.norm(gradient) if size_of is None else 0.0)
        residual.append(np.linalg.norm(gap) / scale)
        error = np.linalg.norm(slope.error) + 2 * np.linalg.norm(gap - other)
        floor.append(error / scale + 1e-13)
    if not residual:
        return None
    shown = f"{len(residual)} of {len(tight.times)} times; loss {tight.flow['loss'][0]:.3g} to "
    shown += f"{tight.flow['loss'][-1]:.3g}; largest residual {max(residual):.1e}"
    return Case(
        name=name,
        residual=residual,
        floor=floor,
        hypotheses={"balanced start": runs.balanced_start(tight.flow)},
        size=float(tight.product[0, 0].size),
        confirm=confirm,
        notes="; ".join(part for part in (shown, notes) if part),
    )


@claim(
    "zhao2022.eq4",
    kind="identity",
    where="Equation (4), and (11) of Appendix A.4",
    statement=r"\mathrm{vec}(\dot W) = -\sum_{j=1}^N (W^\top W)^{\frac{N-j}{N}}\otimes"
    r"(WW^\top)^{\frac{j-1}{N}}\,\mathrm{vec}(\nabla_W\mathcal L(W))",
    control={"exchanged": True},
    control_text="the two sides of the Kronecker product exchanged, as in Theorem 1",
)
def eq4(settings: Settings, exchanged: bool = False) -> Iterator[Case]:
    """Depths 1 to 4 (5 in full), square and not, with the paper's loss and column-major vec."""
    yield _proofs.eq4(exchanged)

    def formula(w: np.ndarray, gradient: np.ndarray, depth: int) -> np.ndarray:
        return -apply(preconditioner(w, depth, exchanged), gradient)

    shapes: list[Any] = [(2, 2), (3, 5)] + ([(4, 3), (8, 8)] if settings.full else [])
    for depth in (1, 2, 3, 4, 5) if settings.full else (1, 2, 3, 4):
        for shape in shapes:
            at = (settings.seed, shape, depth, 0.0, shape[0] * shape[1] * 2 // 3)
            case = flow_case(
                f"{shape[0]}x{shape[1]}, depth {depth}",
                (recorded(*at, False), recorded(*at, True)),
                depth,
                formula,
            )
            if case is not None:
                yield case
    yield Case(
        name="the prose after (4) at N = 1",
        residual=2.0,
        hypotheses={"depth 1": ByConstruction("the prose is about N = 1")},
        counts=False,
        notes="Sections 3.2 and 3.4 say that the dynamics reduce to u^T (gradient) v at N = 1, "
        "without the minus sign that (24) has: at W = 2 with the loss (W - 1)^2 the value falls at "
        "the rate 2, and u^T (gradient) v is +2",
    )
