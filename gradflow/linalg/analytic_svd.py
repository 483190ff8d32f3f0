"""Singular value decompositions that are analytic along a path of matrices."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gradflow._util.annotations import Checked
from gradflow.linalg.spectrum import clusters, polar_factor_on_host


class AnalyticSVD(NamedTuple):
    """U S V^T along a path: order and signs by continuity.

    Attributes:
      u: (time, m, k) left singular vectors.
      s: (time, k) signed singular values, not sorted.
      v: (time, n, k) right singular vectors (columns).
    """

    u: np.ndarray
    s: np.ndarray
    v: np.ndarray


def follow_svd(path: Checked[ArrayLike], cluster: float = 1e-8) -> AnalyticSVD:
    r"""Follow the SVD along a path of matrices, so that each singular value is one smooth curve.

    Each time is matched to the one before by the overlaps (u_i . u'_j)(v_i . v'_j); signs follow
    the vectors, so that a curve may cross zero and go on with the other sign. Where several
    singular values agree to `cluster` (relative to the largest), or are zero to rounding, their
    vectors are any basis: they are turned to agree with their neighbours in time. Values start
    positive at the first time.

    The path must be sampled finely enough for vectors to turn less than about 45 degrees a step.

    Args:
      path: at least one (m, n) matrix, in the order of time.
      cluster: the relative gap under which values count as repeated.

    Raises:
      ValueError: if the path has no time, does not have three axes, or is not finite.

    Example:
      >>> import numpy as np
      >>> s = follow_svd(np.array([np.diag([2.0, x]) for x in (0.5, 0.1, -0.3, -2.5)])).s
      >>> np.round(s[:, 1], 3).tolist()
      [0.5, 0.1, -0.3, -2.5]

    References:
      Bunse-Gerstner, Byers, Mehrmann and Nichols 1991; arora2019, Lemma 1.
    """
    matrices = np.asarray(path)
    if matrices.ndim != 3 or len(matrices) == 0:
        raise ValueError(f"path must have shape (time, m, n), but its shape is {matrices.shape}.")
    if not np.isfinite(matrices).all():
        k = int(np.argmin(np.isfinite(matrices).all(axis=(1, 2))))
        raise ValueError(
            f"path[{k}] has entries that are not finite; give the times before, path[:{k}]."
        )
    frames = [np.linalg.svd(matrix, full_matrices=False) for matrix in matrices]
    first = next((k for k, f in enumerate(frames) if _determined(f, cluster)), 0)
    count, k = len(matrices), frames[0][1].size
    u = np.empty((count, matrices.shape[1], k))
    s = np.empty((count, k))
    v = np.empty((count, matrices.shape[2], k))
    u[first], s[first], v[first] = frames[first][0], frames[first][1], frames[first][2].T
    for order in (range(first + 1, count), range(first - 1, -1, -1)):
        for now in order:
            before = now - 1 if now > first else now + 1
            u[now], s[now], v[now] = _match(frames[now], u[before], v[before], cluster)
    flip = np.where(s[0] < 0, -1.0, 1.0)
    return AnalyticSVD(u, s * flip, v * flip[None, None, :])


def _rank(frame: tuple[np.ndarray, np.ndarray, np.ndarray]) -> int:
    """How many singular values are above rounding."""
    u, s, vt = frame
    return int(np.sum(s > max(len(u), vt.shape[1]) * np.finfo(s.dtype).eps * s[0]))


def _determined(frame: tuple[np.ndarray, np.ndarray, np.ndarray], tolerance: float) -> bool:
    """Whether the singular vectors are unique up to their signs."""
    return not clusters(frame[1], tolerance) and _rank(frame) == frame[1].size


def _match(
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
    u_before: np.ndarray,
    v_before: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, s, v = frame[0].copy(), frame[1], frame[2].T.copy()
    for run in clusters(s, tolerance):
        # Both bases may be turned by one rotation: take that which best agrees with before, where a
        # curve below zero has one of its vectors turned round.
        on_u, on_v = u[:, run].T @ u_before, v[:, run].T @ v_before
        nearest = np.argsort(-np.sum(on_u**2 + on_v**2, axis=0))[: run.stop - run.start]
        overlap = on_u + np.where(np.sum(on_u * on_v, axis=0) < 0, -1.0, 1.0) * on_v
        turn = polar_factor_on_host(overlap[:, np.sort(nearest)])
        u[:, run], v[:, run] = u[:, run] @ turn, v[:, run] @ turn
    rank = _rank(frame)
    if rank < s.size:
        # Where the value is zero, the vectors of either side turn by themselves.
        null_u, null_v = _complement(u[:, :rank]), _complement(v[:, :rank])
        on_u, on_v = null_u.T @ u_before, null_v.T @ v_before
        nearest = np.argsort(-np.sum(on_u**2, axis=0) - np.sum(on_v**2, axis=0))[: s.size - rank]
        u[:, rank:] = null_u @ polar_factor_on_host(on_u[:, nearest])
        v[:, rank:] = null_v @ polar_factor_on_host(on_v[:, nearest])
    from scipy.optimize import linear_sum_assignment  # half a second to import

    left = u_before.T @ u
    right = v_before.T @ v
    _, order = linear_sum_assignment(-np.abs(left * right))
    places = np.arange(s.size)
    sign_u = np.where(left[places, order] < 0, -1.0, 1.0)
    sign_v = np.where(right[places, order] < 0, -1.0, 1.0)
    return u[:, order] * sign_u, s[order] * sign_u * sign_v, v[:, order] * sign_v


def _complement(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is orthogonal to orthonormal columns."""
    return np.linalg.qr(columns, mode="complete")[0][:, columns.shape[1] :]
