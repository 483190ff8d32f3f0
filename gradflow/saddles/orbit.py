r"""The way from one saddle to the next: large columns by their flow, small ones beside them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from gradflow.columns import AbstractColumns
from gradflow.ode import LinearlyImplicitExtrapolation
from gradflow.saddles.columns import hessian, place

_SAMPLES = 128
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
) -> tuple[Array, Array, Array, Array, Array]:
    """The flow of all columns for a time, of which the first `main` make the operator."""
    large = jnp.arange(q.shape[1]) < main

    def field(t: Any, y: Any, args: Any) -> Array:
        return columns.operator(jnp.where(large, y, 0.0)) @ y

    times = jnp.linspace(0.0, length, _SAMPLES + 1)[1:]
    solver = LinearlyImplicitExtrapolation(8) if stiff else diffrax.Dopri8()
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), solver, 0.0, length, None, q,
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-13 * size),
        saveat=diffrax.SaveAt(ts=times), max_steps=20_000, throw=False,
    )  # fmt: skip
    assert solution.ys is not None

    def seen(y: Array) -> tuple[Array, Array]:
        kept = jnp.where(large, y, 0.0)
        slope = columns.operator(kept) @ kept
        return columns.loss(kept), -jnp.sum(slope**2)

    losses, slopes = jax.lax.map(seen, solution.ys)
    fine = solution.result == diffrax.RESULTS.successful
    return solution.ys[-1], times, losses, slopes, fine


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
    t, settled, stiff = 0.0, False, False
    here = place(columns, main, width)
    times, losses = [np.zeros(1)], [np.atleast_1d(here.loss)]
    slopes = [-np.atleast_1d(np.sum((here.operator @ main) ** 2))]
    while t < longest / rate:
        radius = max(float(np.linalg.norm(here.operator, 2)), rate)
        length = _GROWTH / radius
        size = max(float(np.linalg.norm(q[:, :k])), 1e-300)
        arguments = columns, jnp.asarray(q), count, jnp.asarray(size), jnp.asarray(length)
        end, at, loss, slope, fine = _advance(*arguments, stiff)
        if not bool(fine) and not stiff and q.size <= _FEW:
            stiff = True  # the end may be: one large rate, one small
            end, at, loss, slope, fine = _advance(*arguments, stiff)
        if not bool(fine):
            break
        q = np.array(end)
        times.append(t + np.asarray(at))
        losses.append(np.asarray(loss))
        slopes.append(np.asarray(slope))
        t += length
        if small.shape[1]:
            q[:, k:], grown, tilt = orthogonal(q[:, :k], q[:, k:])
            lean = (tilt * np.exp(np.triu(logs - logs[:, None]))) @ lean
            logs += grown
        here = place(columns, q[:, :k], width)
        slope = np.linalg.norm(here.operator @ q[:, :k])
        # The new column has come up: from 1e-4 of its size it takes 9.2 / rate.
        if t * rate > 12 and slope <= tolerance * scale * np.linalg.norm(q[:, :k]):
            settled = True
            break
    return Orbit(
        np.concatenate(times), np.concatenate(losses), np.concatenate(slopes),
        q[:, :k], q[:, k:], logs, lean, here.operator, settled,
    )  # fmt: skip


@runtime_checkable
class Records(Protocol):
    """The loss along a way: when, how much, and its derivatives."""

    @property
    def times(self) -> np.ndarray: ...
    @property
    def losses(self) -> np.ndarray: ...
    @property
    def slopes(self) -> np.ndarray: ...


def half_way(orbit: Records, loss: float) -> float:
    """When the loss is half way between that of the first record and that of the end.

    By cubic interpolation between records, which are 1/10 of a time scale apart or closer. NaN if
    no record is below it, as where the loss falls by no more than its rounding.
    """
    goal = (orbit.losses[0] + loss) / 2
    k = int(np.argmax(orbit.losses < goal))
    if k == 0:
        return np.nan
    at = slice(k - 1, k + 1)
    piece = CubicHermiteSpline(orbit.times[at], orbit.losses[at], orbit.slopes[at])
    first, last = orbit.times[at]
    return crossing(lambda t: float(piece(t)) - goal, float(first), float(last))


def crossing(above: Callable[[float], float], first: float, last: float) -> float:
    """Where a function falls below 0, between two times."""
    found: Any = brentq(above, first, last, xtol=1e-12 * (last - first))
    return float(found)


def polish(
    columns: AbstractColumns, q: Float[np.ndarray, "rows k"], width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method at a saddle, across what leaves it one; and the Hessian's eigenvalues."""
    values = np.zeros(0)
    if q.shape[1] == 0:
        return q, values
    for _ in range(3):
        slope = -(place(columns, q, width).operator @ q).ravel()
        values, vectors = np.linalg.eigh(hessian(columns, q, width))
        kept = np.abs(values) > 1e-7 * np.max(np.abs(values))
        step = vectors[:, kept] @ ((vectors[:, kept].T @ slope) / values[kept])
        if not np.linalg.norm(step) < 1e-3 * np.linalg.norm(q):
            break
        q = q - step.reshape(q.shape)
    return q, values
