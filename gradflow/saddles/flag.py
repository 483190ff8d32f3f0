r"""Columns of very different sizes, each as direction, exponent and logarithm.

Column i stands for alpha^(e_i) exp(c_i) q_i. Rotations from the right mix columns freely: a smaller
one is defined up to multiples of larger ones, which by comparison cost nothing. So what counts is
the flag of spans q_1, (q_1, q_2), ..., and the sizes of the volumes that they span.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SAME = 1e-9
"""Exponents and rates that differ by less count as equal, relative to the largest."""


class Flag(NamedTuple):
    """Columns in the order of their sizes, the largest first.

    Attributes:
      columns: (rows, s) directions, of size O(1).
      exponents: (s,) powers of alpha, rising.
      logs: (s,) logarithms of what remains.
    """

    columns: Float[np.ndarray, "rows s"]
    exponents: Float[np.ndarray, " s"]
    logs: Float[np.ndarray, " s"]


class Pairing(NamedTuple):
    r"""Columns over modes, after elimination: column p has modes p, p + 1, ... alone.

    Attributes:
      vanishing: (s,) whether its pivot M_pp, a ratio of leading minors, is as small as rounding.
      mixed: (modes, s) M_jp / M_pp, what a column has of the modes that grow more slowly.
      corrections: (s,) logarithms of the relative weight that the next column had in the pivot.
      logs: (s,) those of the columns, with their pivots.
    """

    vanishing: np.ndarray
    mixed: Float[np.ndarray, "modes s"]
    corrections: Float[np.ndarray, " s"]
    logs: Float[np.ndarray, " s"]


def start_flag(q: Float[np.ndarray, "rows columns"]) -> Flag:
    """All columns of one size: their span, by singular vectors."""
    u, s, _ = np.linalg.svd(q, full_matrices=False)
    kept = s > 1e-12 * s[0]
    u, s = u[:, kept], s[kept]
    return Flag(u * s, np.full(len(s), 0.5), np.zeros(len(s)))


def pair(flag: Flag, modes: Float[np.ndarray, "rows modes"], vanishing: float) -> Pairing:
    r"""Eliminate columns against modes, in both their orders.

    Over a long time mode j multiplies by exp(mu_j t): among columns in the order of their sizes and
    modes in that of their rates the p-dimensional volume is led by v_1 ^ ... ^ v_p, with a leading
    minor of M = V^T Q as its coefficient. Columns of the same exponent are rotated, others
    eliminated by larger ones.

    Args:
      flag: the columns.
      modes: V, orthonormal, the one that grows fastest first.
      vanishing: below which part of its column a pivot counts as 0.
    """
    m, logs = modes.T @ flag.columns, flag.logs.copy()
    size = m.shape[1]
    first = np.linalg.norm(flag.columns, axis=0)
    pivots, gone = np.zeros(size), np.zeros(size, bool)
    corrections, p = np.full(size, -np.inf), 0
    while p < size:
        end = p + int(np.sum(np.abs(flag.exponents[p:] - flag.exponents[p]) < SAME))
        if end - p > 1:  # a rotation, after which the tied columns are triangular as well
            scale = np.exp(logs[p:end] - logs[p])
            rotation = np.linalg.qr((m[p:, p:end] * scale).T)[0]
            m[:, p:end] = (m[:, p:end] * scale) @ rotation
            logs[p:end] = logs[p]
            first[p:end] = np.max(first[p:end] * scale)
        for at in range(p, end):
            pivots[at] = abs(m[at, at])
            gone[at] = not pivots[at] > vanishing * first[at]
            if gone[at]:
                m[at + 1 :, at] = m[at, at] = 0.0
                continue
            if at + 1 == end < size:
                ratio = abs(m[at, end] / m[at, at])
                shift = logs[end] - logs[at]
                corrections[at] = np.log(ratio) + shift if ratio > 0 else -np.inf
            rest = m[at, at + 1 :] / m[at, at]
            m[:, at + 1 :] -= np.outer(m[:, at], rest)
        p = end
    found = ~gone
    mixed = np.tril(m) / np.where(found, np.diag(m[:size]), 1.0)
    logs[found] += np.log(pivots[found])
    return Pairing(gone, mixed, corrections, logs)
