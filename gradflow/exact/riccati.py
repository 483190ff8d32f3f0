r"""Two-layer linear networks whose layers differ by a multiple of the identity, in closed form."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from gradflow.exact._record import (
    TOLERANCE,
    MatrixStart,
    Times,
    full_target,
    matrix_start,
    record_times,
    trajectory,
)
from gradflow.exact._rounding import ROUNDED, first_of_growth, told_of_rounding
from gradflow.objective import Objective
from gradflow.observables import Observe
from gradflow.trajectory import Trajectory

_LONGEST = 200.0
"""The largest power of e within one step of the closed form."""
_MOST = 10**5
"""How many steps a time may take: some ten seconds."""


def riccati_flow(
    objective: Objective, start: MatrixStart, times: Times, *, observe: Observe | None = None
) -> Trajectory:
    r"""The flow of a fully observed W = W_2 W_1 from a lambda-balanced start, in closed form.

    The loss is c ||W - M||_F^2 (all entries observed), or c ||X W - Y||^2 with X^T X = kappa I, for
    which M = X^T Y / kappa. If W_2^T W_2 - W_1 W_1^T = lambda I, which the flow conserves, then
    with Q = [W_1^T; W_2], F = [[-lambda/2 I, M^T], [M, lambda/2 I]] and the time 2 c kappa t

        d(QQ^T)/dt = F QQ^T + QQ^T F - (QQ^T)^2,
        QQ^T(t) = e^(Ft) Q_0 (I + Q_0^T (e^(2Ft) - I) F^-1 Q_0 / 2)^-1 Q_0^T e^(Ft).

    No alignment is needed. lambda = 0 are balanced starts; with one hidden neuron and one output
    every start will do, and lambda = a^2 - ||w||^2. Computed from an orthonormal basis of
    [((e^(2Ft) - I) F^-1 / 2)^(1/2) Q_0; I] in the eigenvectors of F, whose rows may differ by any
    factor: nothing overflows, and small singular values keep their digits.

    Args:
      objective: such a problem, with a `MatrixProduct` of depth 2 and no penalty.
      start: the factors; or a matrix W_0, which stands for balanced factors of it.
      times: rising times from 0 on; np.inf, last, for the limit. The start is always recorded.
      observe: as for `gradflow.solve_flow`; observables of the product.

    Returns:
      A `Trajectory`, whose final is the product "W": its factors turn by a rotation that has no
      closed form. Its stats have `balance`, lambda, and `defect`, how far the start is from having
      one, relative to its squared norm; and a warning where the start has nothing of a mode that
      grows, so that rounding decides.

    Raises:
      ValueError: for missing entries, inputs that are not whitened, no such lambda, a penalty,
        another depth, times that do not rise from 0 on, or so late that modes are lost.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> problem = gf.MatrixCompletion((1, 1), [[0, 0]], [2.0])
      >>> objective = gf.Objective(problem, gf.MatrixProduct((1, 1, 1)))
      >>> neuron = np.array([[0.1]]), np.array([[1.0]])  # lambda = 0.99
      >>> run = riccati_flow(objective, neuron, [0.5, np.inf])
      >>> run["loss"].round(6).tolist()
      [1.805, 0.353548, 0.0]

    References:
      Braun et al. 2022; Domine et al. 2025; Kunin et al. 2024 for a single neuron.
    """
    factors = matrix_start(objective, start)
    if len(factors) != 2:
        raise ValueError(
            f"The closed form is for depth 2, but the product has depth {len(factors)}; use "
            "gradflow.exact.aligned_flow."
        )
    target, rate = full_target(objective.problem)
    w1, w2 = map(np.asarray, factors)
    balance, defect = _balance(w1, w2)
    grid = record_times(times)
    below, half = w1.shape[1], balance / 2
    f = np.block([[-half * np.eye(below), target.T], [target, half * np.eye(len(target))]])
    values, vectors = np.linalg.eigh(f)
    values[np.abs(values) < 1e-15 * len(f) * np.max(np.abs(values))] = 0.0
    begin = vectors.T @ np.concatenate([w1.T, w2])
    q = np.stack([_columns(begin, values, vectors, rate * t) for t in grid])
    q1, q2 = q[:, :below], q[:, below:]
    products = np.einsum("tir,tjr->tij", q2, q1)
    gradients = rate * (products - target)
    exact = isinstance(start, tuple | list | Mapping)  # else roots of what is rounding of W
    first = first_of_growth(begin, rate * values, ROUNDED if exact else ROUNDED**0.5)
    slopes = np.einsum("tij,tjr->tir", gradients, q1), np.einsum("tij,tir->tjr", gradients, q2)
    unfitted = float(objective.problem.loss(jnp.asarray(target)))
    return trajectory(
        "riccati", objective.problem, 2, grid, products,
        known={
            "loss": np.sum(gradients**2, axis=(1, 2)) / (2 * rate) + unfitted,
            "gradient_norm": np.sqrt(sum(np.sum(s**2, axis=(1, 2)) for s in slopes)),
        },
        initial={"W_1": w1, "W_2": w2},
        final={"W": products[-1]},
        observe=observe,
        stats={"balance": balance, "defect": defect, **told_of_rounding(grid, first)},
    )  # fmt: skip


def _balance(w1: np.ndarray, w2: np.ndarray) -> tuple[float, float]:
    """The lambda of W_2^T W_2 - W_1 W_1^T, and how far that is from lambda I.

    Raises:
      ValueError: if it is too far.
    """
    gap = w2.T @ w2 - w1 @ w1.T
    balance = float(np.mean(np.diag(gap)))
    size = float(np.sum(w1**2) + np.sum(w2**2)) or 1.0
    defect = float(np.linalg.norm(gap - balance * np.eye(len(gap)))) / size
    if defect > TOLERANCE:
        raise ValueError(
            f"W_2^T W_2 - W_1 W_1^T is no multiple of the identity (off by {defect:.3g} of the "
            "squared norm); start from balanced factors, or use gradflow.solve_flow."
        )
    return balance, defect


def _columns(
    q: Float[np.ndarray, "rows hidden"],
    values: Float[np.ndarray, " rows"],
    vectors: Float[np.ndarray, "rows rows"],
    clock: float,
) -> Float[np.ndarray, "rows hidden"]:
    """Q, up to a rotation from the right, by steps that do not overflow; for infinity the limit."""
    top = float(np.max(np.abs(values)))
    gaps = np.abs(np.subtract.outer(values, np.append(values, 0.0)))
    sizes = np.sum(q**2, axis=1)
    rise = np.log(max(top, 1e-300) / np.min(sizes[sizes > 0], initial=max(top, 1e-300)))
    slowest = float(np.min(gaps[gaps > 1e-12 * top], initial=np.inf))
    settled = (60.0 + max(float(rise), 0.0)) / slowest if top > 0 else 0.0
    left = min(clock, settled)
    if left * top > _MOST * _LONGEST:
        raise ValueError(
            f"Two rates differ by {slowest / top:.3g} of the largest, and modes so close take "
            f"{settled * top:.3g} times 1 / the largest to come apart; ask for times up to "
            f"{_MOST * _LONGEST:.3g} of those, or give singular values that are equal."
        )
    rest = clock - left
    while left > 0:
        step = min(left, _LONGEST / top)
        q, left = _step(q, values, step), left - step
    if np.isinf(rest):  # what has no rate falls like 1 / t
        q = np.where(values[:, None] > 0, q, 0.0)
    elif rest > 0:
        q = _step(q, values, rest)
    return vectors @ q


def _step(
    q: Float[np.ndarray, "rows hidden"], values: Float[np.ndarray, " rows"], time: float
) -> Float[np.ndarray, "rows hidden"]:
    """Q after a time, in the eigenvectors of F and up to a rotation from the right.

    With d = (e^(2 mu t) - 1) / (2 mu) a mode, QQ^T = e^(mu t) d^(-1/2) P P^T d^(-1/2) e^(mu t),
    where [P; .] is an orthonormal basis of [d^(1/2) Q_0; I]: by Householder's method with the
    largest rows and columns first, which keeps the digits of small rows.
    """
    alive = np.where(values == 0, 1.0, values)
    power = 2 * np.clip(alive * time, -_LONGEST, _LONGEST)  # beyond, modes have settled
    grown = np.where(values == 0, time, np.expm1(power) / (2 * alive))
    fallen = np.where(values == 0, time, -np.expm1(-power) / (2 * alive))
    rows = np.concatenate([np.sqrt(grown)[:, None] * q, np.eye(q.shape[1])])
    order = np.argsort(-np.max(np.abs(rows), axis=1), kind="stable")
    basis = np.asarray(scipy.linalg.qr(rows[order], mode="economic", pivoting=True)[0])
    found = np.empty_like(basis)
    found[order] = basis
    return found[: len(q)] / np.sqrt(fallen)[:, None]
