r"""Arora et al. 2019: singular vectors along flows, for Lemma 2, Equation (41) and Corollary 1."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.claims import Measured, Settings
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles import differences
from gradflow.claims.oracles import flows as runs
from gradflow.linalg.analytic_svd import follow_svd

FLOWS: list[tuple[tuple[int, int], int, int | None]] = [
    ((3, 2), 1, None),
    ((2, 3), 2, None),
    ((4, 2), 3, 3),
    ((3, 3), 4, None),
    ((2, 4), 5, None),
]
"""Shape, depth and hidden size (None for min(d, d')) of the flows of the quick check."""

MORE: list[tuple[tuple[int, int], int, int | None]] = [
    ((1, 3), 2, None),
    ((5, 1), 3, None),
    ((6, 4), 2, 7),
    ((4, 6), 3, None),
    ((5, 5), 1, None),
    ((5, 5), 5, None),
]
"""Those that the full check adds."""


class Frames(NamedTuple):
    """Singular vectors of a flow at some times, and how they move.

    Attributes:
      depth: N.
      times: (n,).
      w: (n, d, d') products.
      g: (n, d, d') gradients of the loss.
      u: (n, d, k).
      s: (n, k) signed.
      v: (n, d', k).
      du: (n, d, k) difference quotients of u along the flow.
      dv: (n, d', k) of v.
      du_error: (n,) how far off they may be, in Frobenius norm.
      dv_error: (n,).
      spread: (n,) how much a relative error of W is amplified in its vectors.
      flow: the run.
    """

    depth: int
    times: np.ndarray
    w: np.ndarray
    g: np.ndarray
    u: np.ndarray
    s: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    du_error: np.ndarray
    dv_error: np.ndarray
    spread: np.ndarray
    flow: gf.Trajectory


def frames(found: differences.Clusters, depth: int, through: bool = False) -> Frames:
    """Follow the vectors in each cluster of a run; `through` also from one cluster to the next."""
    path = found.product
    whole = follow_svd(path.reshape(-1, *path.shape[2:])) if through else None
    columns: list[list[np.ndarray]] = [[] for _ in range(8)]
    times, kept = [], []
    for k, t in enumerate(found.times):
        part = follow_svd(path[k])
        u, s, v = part.u, part.s, part.v
        if whole is not None:
            here = slice(k * len(path[k]), (k + 1) * len(path[k]))
            u, s, v = whole.u[here], whole.s[here], whole.v[here]
        size = np.sort(s[3] ** 2)
        gaps = np.append(np.diff(size), size[0])
        spread = size[-1] / np.min(gaps)
        if spread > 1e4:
            continue  # The vectors are lost in W's round-off.
        times.append(t)
        kept.append(k)
        slopes = [differences.derivative(x, t * found.width, spread) for x in (u, v)]
        values = (
            u[3], s[3], v[3], slopes[0].value, slopes[1].value,
            np.linalg.norm(slopes[0].error), np.linalg.norm(slopes[1].error), spread,
        )  # fmt: skip
        for column, value in zip(columns, values, strict=True):
            column.append(np.asarray(value))
    u, s, v, du, dv, du_error, dv_error, spread = (np.array(column) for column in columns)
    return Frames(
        depth, np.array(times), path[kept, 3], found.gradient[kept], u, s, v, du, dv,
        du_error, dv_error, spread, found.flow,
    )  # fmt: skip


@cache
def flows(settings: Settings) -> list[tuple[str, Frames, Frames]]:
    """Random completion flows from balanced starts, each at two tolerances."""
    made = []
    for index, (shape, depth, hidden) in enumerate(FLOWS + MORE * settings.full):
        key = jax.random.fold_in(jax.random.key(settings.seed), 1000 + index)
        count = max(2, (2 * shape[0] * shape[1]) // 3)
        problem = gf.synthetic.matrix_completion(key, shape, min(2, *shape), count)
        model = gf.MatrixProduct.of(shape, depth, hidden)
        start = model.random_balanced(jax.random.fold_in(key, 1), 0.5)
        objective = gf.Objective(problem, model)
        tight, coarse = (
            frames(
                differences.record_clusters(
                    objective, start, np.geomspace(0.05, 1.5, 5), rtol=rtol, width=width
                ),
                depth,
            )
            for rtol, width in ((1e-11, 1e-3), (1e-9, 2e-3))
        )
        if len(tight.times) == len(coarse.times) > 0:
            made.append((f"{shape[0]}x{shape[1]}, depth {depth}", tight, coarse))
    return made


@cache
def crossing() -> tuple[Frames, Frames]:
    """Depth 1, W = x (1, x + 2)^T with x = 2 exp(-t) - 1: the one singular value crosses zero.

    The loss is (w_1 + 1)^2 / 2 + (w_2 + 1)^2, the start (1, 3); x = 0 at t = log 2. The value is
    positive before and, by continuity of the vectors, negative after.
    """
    unit = np.eye(2)[[0, 1, 1]][:, :, None]
    problem = gf.MatrixSensing(unit, [-1.0, -1.0, -1.0])
    objective = gf.Objective(problem, gf.MatrixProduct.of((2, 1), 1))
    centres = np.array([0.1, 0.3, 0.5, 0.65, 0.75, 1.0, 1.2, np.log(4.0)])
    tight, coarse = (
        frames(
            differences.record_clusters(
                objective, (jnp.array([[1.0], [3.0]]),), centres, rtol=rtol, width=width
            ),
            1,
            through=True,
        )
        for rtol, width in ((1e-11, 1e-3), (1e-9, 2e-3))
    )
    return tight, coarse


def mirror(found: Frames) -> Frames:
    """The same run with W^T for W: left and right vectors change places."""
    return found._replace(
        w=found.w.swapaxes(1, 2), g=found.g.swapaxes(1, 2), u=found.v, v=found.u,
        du=found.dv, dv=found.du, du_error=found.dv_error, dv_error=found.du_error,
    )  # fmt: skip


def lemma2_hypotheses(found: Frames) -> dict[str, Met]:
    """What Lemma 2 asks for, read off a run."""
    first = np.sort(np.abs(np.linalg.svd(np.asarray(found.flow["product"][0]), compute_uv=False)))
    return {
        "balanced start": runs.balanced_start(found.flow),
        "squares of the singular values distinct at the start": Measured(
            float(np.min(np.diff(first), initial=np.inf) / first[-1]), above=1e-6
        ),  # of their sizes, whatever the signs
        "singular values not zero at the start": Measured(float(first[0] / first[-1]), above=1e-6),
        "squares distinct and not zero at the times looked at": Measured(
            float(np.max(found.spread)), below=1e5
        ),
    }
