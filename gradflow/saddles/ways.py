"""Ways between saddles: pieces of a flow, the loss along them, Newton's method at their end."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from gradflow.ode import LinearlyImplicitExtrapolation

_SAMPLES = 128
"""Records of a piece, at equal distances."""


class Piece(NamedTuple):
    """A piece of a way.

    Attributes:
      end: where it ends.
      times: of its records, from its begin on.
      losses: there.
      slopes: their derivatives in time.
      fine: whether steps came to the end.
    """

    end: Any
    times: Any
    losses: Any
    slopes: Any
    fine: Any


def piece(
    field: Callable[[Any], Any],
    seen: Callable[[Any], tuple[Array, Array]],
    y: Any,
    length: Float[Array, ""],
    *,
    stiff: bool,
    rtol: float,
    atol: Any,
) -> Piece:
    """Follow a field for a time; to be compiled.

    Args:
      field: the velocity.
      seen: the loss and its derivative in time.
      y: where it begins.
      length: for how long.
      stiff: whether steps are implicit.
      rtol: relative tolerance.
      atol: absolute tolerance.
    """
    times = jnp.linspace(0.0, length, _SAMPLES + 1)[1:]
    solver = LinearlyImplicitExtrapolation(8) if stiff else diffrax.Dopri8()
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(y)), solver, 0.0, length, None, y,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        saveat=diffrax.SaveAt(ts=times), max_steps=20_000, throw=False,
    )  # fmt: skip
    assert solution.ys is not None
    losses, slopes = jax.lax.map(seen, solution.ys)
    end = jax.tree.map(lambda y: y[-1], solution.ys)
    return Piece(end, times, losses, slopes, solution.result == diffrax.RESULTS.successful)


class Pieces:
    """A way so far, piece by piece.

    Args:
      few: whether unknowns are so few that steps may be implicit, where explicit ones are too many.
      loss: where it begins.
      slope: its derivative in time there.
    """

    def __init__(self, few: bool, loss: Any, slope: Any):
        self.few, self.stiff, self.time = few, False, 0.0
        self.times, self.losses, self.slopes = (
            [np.atleast_1d(np.asarray(x, float))] for x in (0.0, loss, slope)
        )

    def go_on(self, advance: Callable[[Array, bool], Piece], length: float) -> Any:
        """The end of one more piece; None where steps do not come there.

        Args:
          advance: follows the flow for a time, with implicit steps or without.
          length: of the piece.
        """
        found = advance(jnp.asarray(length), self.stiff)
        if not bool(found.fine) and not self.stiff and self.few:
            self.stiff = True  # the end may be: one large rate, one small
            found = advance(jnp.asarray(length), True)
        if not bool(found.fine):
            return None
        self.times.append(self.time + np.asarray(found.times))
        self.losses.append(np.asarray(found.losses))
        self.slopes.append(np.asarray(found.slopes))
        self.time += length
        return found.end

    def records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times from 0 on, losses, and their derivatives."""
        times, losses, slopes = map(np.concatenate, (self.times, self.losses, self.slopes))
        return times, losses, slopes


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
    between = CubicHermiteSpline(orbit.times[at], orbit.losses[at], orbit.slopes[at])
    first, last = orbit.times[at]
    return crossing(lambda t: float(between(t)) - goal, float(first), float(last))


def crossing(above: Callable[[float], float], first: float, last: float) -> float:
    """Where a function falls below 0, between two times."""
    found: Any = brentq(above, first, last, xtol=1e-12 * (last - first))
    return float(found)


def newton(
    x: Float[np.ndarray, " n"], at: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method at a saddle, across what leaves it one; and the Hessian's eigenvalues.

    Args:
      x: a point close to it.
      at: the gradient and the symmetric Hessian at a point.
    """
    values = np.zeros(0)
    for _ in range(3):
        slope, matrix = at(x)
        values, vectors = np.linalg.eigh(matrix)
        kept = np.abs(values) > 1e-7 * np.max(np.abs(values))
        step = vectors[:, kept] @ ((vectors[:, kept].T @ slope) / values[kept])
        if not np.linalg.norm(step) < 1e-3 * np.linalg.norm(x):
            break
        x = x - step
    return x, values
