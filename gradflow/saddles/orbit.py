r"""The way from one saddle to the next: large columns by their flow, small ones beside them."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradflow.columns import AbstractColumns
from gradflow.saddles.columns import hessian, place
from gradflow.saddles.ways import Piece, Pieces, newton, piece

_FEW = 100
"""Up to how many unknowns steps may be implicit, where explicit ones would be too many."""
_GROWTH = 6.0
"""By how many powers of e a column may grow before columns are made orthogonal again."""


class Orbit(NamedTuple):
    """A way from saddle to saddle.

    Attributes:
      times: of the records, from 0 on.
      losses: there.
      slopes: their derivatives in time.
      main: (rows, k) the large columns at the end.
      small: (rows, s) the small ones, orthonormal and orthogonal to the large ones.
      logs: (s,) by how much each has grown, a logarithm.
      lean: (s, s) what a unit of small column j has become of column i, against what a unit of
        that has; upper triangular.
      operator: F at the end.
      settled: whether the end is a saddle, to `tolerance`.
    """

    times: np.ndarray
    losses: np.ndarray
    slopes: np.ndarray
    main: np.ndarray
    small: np.ndarray
    logs: np.ndarray
    lean: np.ndarray
    operator: np.ndarray
    settled: bool


@eqx.filter_jit
def _advance(
    columns: AbstractColumns,
    q: Float[Array, "rows columns"],
    main: Int[Array, ""],
    size: Float[Array, ""],
    length: Float[Array, ""],
    stiff: bool,
) -> Piece:
    """The flow of all columns for a time, of which the first `main` make the operator."""
    large = jnp.arange(q.shape[1]) < main

    def field(y: Array) -> Array:
        return columns.operator(jnp.where(large, y, 0.0)) @ y

    def seen(y: Array) -> tuple[Array, Array]:
        kept = jnp.where(large, y, 0.0)
        slope = columns.operator(kept) @ kept
        return columns.loss(kept), -jnp.sum(slope**2)

    return piece(field, seen, q, length, stiff=stiff, rtol=1e-11, atol=1e-13 * size)


def orthogonal(
    main: Float[np.ndarray, "rows k"], small: Float[np.ndarray, "rows s"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small columns without what they have of large and of earlier ones.

    A column that is 0 stays 0.

    Returns:
      The columns; the logarithms of their lengths; and what each had of earlier ones, R_ij / R_ii.
    """
    k = main.shape[1]
    lengths = np.linalg.norm(main, axis=0)
    q, r = np.linalg.qr(np.concatenate([main / np.where(lengths > 0, lengths, 1.0), small], axis=1))
    left = np.abs(np.diag(r)[k:])
    alive = np.any(small != 0, axis=0) & (left > 0)
    tilt = np.triu(r[k:, k:]) / np.where(alive, np.diag(r)[k:], 1.0)[:, None]
    np.fill_diagonal(tilt, 1.0)
    return q[:, k:] * alive, np.log(np.where(alive, left, 1.0)), tilt


def follow(
    columns: AbstractColumns,
    main: Float[np.ndarray, "rows k"],
    small: Float[np.ndarray, "rows s"],
    *,
    scale: float,
    rate: float,
    tolerance: float = 1e-10,
    longest: float = 1e4,
) -> Orbit:
    """Follow large columns to their next saddle, and small ones along.

    Args:
      columns: the flow.
      main: the large columns, the last of which is the one that has come up.
      small: the others' directions, orthonormal.
      scale: of F at the vanishing start, against which the end is a saddle.
      rate: at which the new column grows.
      tolerance: at the end |F Q| is below it, relative to scale |Q|.
      longest: after how many times 1 / rate the way is given up.
    """
    k, width = main.shape[1], main.shape[1] + small.shape[1]
    q, count = np.concatenate([main, small], axis=1), jnp.asarray(k)
    logs, lean = np.zeros(small.shape[1]), np.eye(small.shape[1])
    here = place(columns, main, width)
    way = Pieces(q.size <= _FEW, here.loss, -np.sum((here.operator @ main) ** 2))
    settled = False
    while way.time < longest / rate:
        radius = max(float(np.linalg.norm(here.operator, 2)), rate)
        size = jnp.asarray(max(float(np.linalg.norm(q[:, :k])), 1e-300))
        advance = partial(_advance, columns, jnp.asarray(q), count, size)
        if (end := way.go_on(advance, _GROWTH / radius)) is None:
            break
        q = np.array(end)
        if small.shape[1]:
            q[:, k:], grown, tilt = orthogonal(q[:, :k], q[:, k:])
            lean = (tilt * np.exp(np.triu(logs - logs[:, None]))) @ lean
            logs += grown
        here = place(columns, q[:, :k], width)
        slope = np.linalg.norm(here.operator @ q[:, :k])
        # The new column has come up: from 1e-4 of its size it takes 9.2 / rate.
        if way.time * rate > 12 and slope <= tolerance * scale * np.linalg.norm(q[:, :k]):
            settled = True
            break
    return Orbit(*way.records(), q[:, :k], q[:, k:], logs, lean, here.operator, settled)


def polish(
    columns: AbstractColumns, q: Float[np.ndarray, "rows k"], width: int
) -> tuple[np.ndarray, np.ndarray]:
    """A saddle close to columns, and the Hessian's eigenvalues there; see `newton`."""
    if q.shape[1] == 0:
        return q, np.zeros(0)

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        here = x.reshape(q.shape)
        return -(place(columns, here, width).operator @ here).ravel(), hessian(columns, here, width)

    x, values = newton(q.ravel(), at)
    return x.reshape(q.shape), values
