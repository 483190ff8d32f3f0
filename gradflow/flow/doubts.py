"""What speaks against a flow's numbers: the warnings of a trajectory."""

from typing import Any

import diffrax
import numpy as np

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.factorizations.hidden_units import UNSEEN
from gradflow.flow.error_control import UNPAID
from gradflow.flow.ranks import share_beyond
from gradflow.flow.readings import AtEnd
from gradflow.flow.setup import PreparedFlow
from gradflow.flow.stopping import Status
from gradflow.flow.tiny_units import log_columns_hold, tiny_units
from gradflow.ode.extrapolation import LinearlyImplicitExtrapolation

_DIGITS = 1e-3
"""The error from which on a time counts as lost in factors and products."""
_HARDLY = 100.0
"""How far above its rounding a loss must be: here residuals are uncertain by a tenth."""
_SHARE = 0.05
"""Of rtol, what long steps (implicit, stabilised) err by in directions too small for the error's
norm to see: at most 0.03 in 60 flows of depth 2, with directions from 1e-2 to 1e-7 of the largest,
at rtol from 1e-6 to 1e-10. Explicit Runge-Kutta steps, which are short, err by rtol of each."""
_ROUNDED = 2e-14
"""What these add by rounding: at most 1.3e-14 of the largest direction in the same flows."""
_LOST = 1e-12
"""Share of the largest hidden unit that is round-off where more was there at the start."""
_RISEN = 100.0
"""Multiples of rtol by which the product may be wrong."""
_DRIFT = 100.0
"""Multiples of the tolerance by which conserved quantities may move."""
_ABYSS = 1e6
"""How many times its first size below zero a loss must be to count as one without a lower bound."""
_GIVEN_UP = (Status.TOO_SMALL, Status.STALLED, Status.DIVERGED)
_STOOD = 1e13
"""Growth of errors, about a plateau's length in time scales, from which on rounding of what stands
still counts: steps leave it 1e-13 off its rest, and what rises beside it feels that for as long.
At rtol 1e-8 times of a second rise were wrong by 40 rtol at 6e11, 130 at 2e13, 1e3 to 3e4 at 6e14,
as the program was compiled; at 1e-9 by a tenth of that."""


def doubts(flow: PreparedFlow, result: dict[str, Any], drift: float | None) -> list[str]:
    """Sentences for a reader of the numbers; none if nothing is known against them.

    Args:
      flow: what was asked.
      result: what the driver gives.
      drift: the largest relative change of the factorisation's invariants, if they are conserved.
    """
    found = [
        _margin(result["least"][0], flow.coordinates)
        or tiny_units(flow, result["y"], result["t"] - flow.before.time)
        or _rank(flow, result["read"])
        or _risen(flow, result, drift),
        _times(flow, result["read"]),
        _bottomless(result) or _rounding(result["read"], result["status"]),
        _jumps(flow),
    ]
    if drift is not None and drift > _DRIFT * flow.options.rtol:
        found.append(
            f"conserved quantities moved by {drift:.1e} of the factors' size, more than "
            f"{_DRIFT:.0f} rtol: lower rtol"
        )
    return [sentence for sentence in found if sentence is not None]


def _margin(margin: Any, coordinates: AbstractCoordinates) -> str | None:
    """The determinant's sign, and singular values below what the coordinates resolve."""
    if margin is None:
        return None
    remedy = "coordinates='ldu' keep both"
    if margin < 0:
        return (
            "the determinant changed its sign, which the exact flow forbids: from there on round-"
            f"off decides what is seen; {remedy}"
        )
    if margin < coordinates.resolution:
        return (
            f"the smallest singular value fell to {margin:.1e} of the largest, where coordinates "
            f"{coordinates.name!r} know it roughly at best: what hangs on it is uncertain; {remedy}"
        )
    return None


def _rank(flow: PreparedFlow, read: AtEnd) -> str | None:
    """Singular values that start from zero, or so near that round-off is not far below."""
    if (rank := flow.before.rank) is None:
        return None
    share = share_beyond(read.singular_values, rank)
    if not share > flow.options.rtol:
        return None
    return (
        f"the product starts with a rank of {rank}, up to round-off, and the exact flow keeps it; "
        f"but the next singular value has grown to {share:.1e} of the largest: when it does, and "
        "what follows, round-off decides; start from a product of full rank"
    )


def _risen(flow: PreparedFlow, result: dict[str, Any], drift: float | None) -> str | None:
    """Hidden units that had become so small that steps tell too little of how they rise again."""
    if result["least"][1] is None:
        return None
    smallest, least = np.maximum(result["least"][1], np.finfo(float).tiny)
    (sizes, first), (_, now) = result["read"].units
    explicit = isinstance(flow.solver, diffrax.AbstractERK)
    rtol = flow.options.rtol
    errors = (_ROUNDED / rtol if explicit else _SHARE) / least
    if drift is not None:  # of what a unit that shrinks comes to rest at, however small it gets
        with np.errstate(over="ignore"):
            errors = np.maximum(errors, drift / rtol * (sizes / smallest) ** 2)
    errors = np.minimum(errors, 1 / rtol) * now**2  # at most all that the unit makes
    if not np.max(errors, initial=0.0) > _RISEN:
        return _lost(flow, first, least)
    k = int(np.argmax(errors))
    remedy = "it is lost in their rounding" if explicit else "solver=diffrax.Dopri8() takes others"
    if log_columns_hold(flow):
        remedy += ", and coordinates='logcolumns' hold it at any size"
    return (
        f"a hidden unit was {least[k]:.1e} of the largest and has risen to {now[k]:.1e}: steps "
        "follow what is so small to few digits, so that when it rose, and what came of it, may be "
        f"wrong by {errors[k]:.0e} rtol; {remedy}"
    )


def _lost(flow: PreparedFlow, first: np.ndarray, least: np.ndarray) -> str | None:
    """Hidden units that round-off may keep from rising; under a penalty they may well vanish."""
    lost = (first > UNSEEN) & (least < _LOST)
    if flow.objective.penalty is not None or not np.any(lost):
        return None
    return (
        f"a hidden unit that was there at the start fell to {np.min(least[lost]):.1e} of the "
        "largest, where round-off decides whether it rises again, and when; start from larger "
        "factors, or use coordinates that hold logarithms, if these can hold the start "
        "('logcolumns', 'logparameters', 'logpolar')"
    )


def _unpaid(flow: PreparedFlow, read: AtEnd) -> float:
    """How many times errors have grown since the start, as a multiple of what steps paid for."""
    return flow.before.rise / max(float(read.growth), 1.0)


def times_are_lost(flow: PreparedFlow, read: AtEnd) -> bool:
    """Whether what is seen at a given time is uncertain by far more than the tolerance.

    Args:
      flow: what was asked.
      read: what the coordinates tell at the end.
    """
    # Steps in factors and products pay for usual starts only; there the first digits must be lost.
    lost = max(_DIGITS / flow.options.rtol, UNPAID) if flow.coordinates.normwise else UNPAID
    return _unpaid(flow, read) > lost


def _times(flow: PreparedFlow, read: AtEnd) -> str | None:
    if not times_are_lost(flow, read):
        return None
    share = _unpaid(flow, read)
    later = (
        "; what rises after other singular values, from a plateau as long beside them, does so at "
        "a time that rounding of these makes more uncertain, by up to 3e-4 of it at rtol = 1e-8; a "
        "lower one helps"
    )
    return (
        f"errors grow {share:.1e} times in the rise from this start, beyond what steps of float64 "
        "can pay for: the times of what follows are uncertain by that multiple of rtol in units of "
        "its own time scale, and so is what is seen at a given time; values at a given loss are "
        f"not{later if share > _STOOD else ''}"
    )


def _jumps(flow: PreparedFlow) -> str | None:
    """Steps that may pass a jump of the second derivatives without an error that tells of it."""
    implicit = isinstance(flow.solver, LinearlyImplicitExtrapolation)
    if flow.objective.problem.twice_differentiable or not implicit:
        return None
    return (
        "the loss's second derivatives jump, which linearly implicit steps may not see at any "
        "rtol: the error may be some hundred rtol of its default; coordinates='factors' take "
        "other steps"
    )


def _bottomless(result: dict[str, Any]) -> str | None:
    """A loss that fell so far that it may have no lower bound, where steps came to nothing."""
    if result["read"].losses is None or result["status"] not in _GIVEN_UP:
        return None
    first, now, _ = map(float, result["read"].losses)
    if not now < -_ABYSS * (abs(first) or 1.0):
        return None
    return (
        f"the loss fell from {first:.1e} to {now:.1e}, as one without a lower bound does: such a "
        f"flow may leave every bound in finite time, here near t = {result['t']:.6g}; give the "
        "loss a lower bound, add a penalty, or ask for an earlier horizon"
    )


def _rounding(read: AtEnd, status: Status) -> str | None:
    """A loss that is hardly more than round-off of the product's entries."""
    if read.losses is None or status is Status.DIVERGED:
        return None
    _, now, noise = map(float, read.losses)
    if not abs(now) < _HARDLY * noise:
        return None
    return (
        f"the loss, {now:.1e}, is near or below what rounding the product's entries makes of it, "
        f"{noise:.1e}: hardly a digit of it can be trusted"
    )
