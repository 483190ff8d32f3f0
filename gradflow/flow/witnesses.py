"""A flow beside other runs of it: how many of its digits can be trusted."""

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from gradflow._util.options import takes_options
from gradflow.coordinates.ldu import DENSE, LDUCoordinates
from gradflow.coordinates.logcolumns import LogColumnCoordinates
from gradflow.coordinates.registry import COORDINATES
from gradflow.flow.options import FlowOptions
from gradflow.flow.setup import PreparedFlow, prepare_flow
from gradflow.flow.solve import solve_flow
from gradflow.flow.verification import Verification, Witness
from gradflow.objective import Objective
from gradflow.start import LogScaled, Start, as_factors
from gradflow.trajectory import Outcome, Trajectory

_TIGHTER = 100.0
"""How many times smaller a witness's rtol is; or larger, where a smaller one is of no use."""
_LEAST = 1e-13
"""The least rtol of a witness: below, results do not improve."""
_LONGER = 10.0
"""How much later than the flow as asked a witness may come to what stops it."""
_TIMED = (Outcome.REACHED_HORIZON, Outcome.LOST_TIME)


@takes_options(FlowOptions)
def verify(objective: Objective, start: Start, options: FlowOptions) -> Verification:
    """Run a flow as asked, with tighter tolerances and in other coordinates, and compare.

    The witnesses record at the times of the flow as asked and stop where it does. The other
    coordinates are the first of `gradflow.coordinates.COORDINATES` that can hold the start ("ldu"
    up to 48 unknowns); but "logcolumns" and those that take balance up to rounding for balance are
    none of each other, for the first follow what rounding left of it: of the same start they are
    two flows. Witnesses with warnings do not count, unless all have some.
    That runs agree does not prove them right, but what they differ by is not known.

    Args:
      objective: as for `gradflow.solve_flow`.
      start: likewise.
      options: likewise.

    Returns:
      A `Verification`: the trajectory, its witnesses, their differences and what digits they leave.
      Differences of arrays are in norm, so small entries may be less certain: observe them, or
      their logarithms, by themselves. Below rtol = 1e-12, the first witness has 100 times the rtol
      instead.

    Raises:
      ValueError: as `gradflow.solve_flow`.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start = objective.factorization.identity(0.1)
      >>> found = gf.flow.verify(
      ...     objective, start, stop_loss=1e-3, record=[1.0, 3.0], observe=["loss", "log_abs_det"]
      ... )
      >>> [witness.coordinates for witness in found.witnesses]
      ['logdet', 'ldu']
      >>> min(found.digits.values()) >= 7
      True
    """
    flow = prepare_flow(objective, start, options)
    options = flow.options
    asked = solve_flow(objective, start, **_words(options))
    alike = _as_asked(options, asked)
    others = [_tolerance(flow, alike, start), *_elsewhere(flow, alike, start)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In this flow", RuntimeWarning)  # they are in the result
        witnesses = [
            Witness.of(one.what, one.coordinates, asked, one.run(objective)) for one in others
        ]
    return Verification(asked, tuple(witnesses))


class _Other(NamedTuple):
    """Another run of a flow, to be made."""

    what: str
    coordinates: str
    start: Start
    options: FlowOptions

    def run(self, objective: Objective) -> Trajectory:
        return solve_flow(objective, self.start, **_words(self.options))


def _words(options: FlowOptions) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def _as_asked(options: FlowOptions, asked: Trajectory) -> FlowOptions:
    """The same flow, recorded at the same times, as far as it went."""
    inner = asked.times[(asked.times > 0) & (asked.times < asked.stats["end"])]
    horizon = options.horizon
    if horizon is None and (end := asked.stats["end"]) > 0:
        horizon = end if asked.outcome in _TIMED else _LONGER * end
    return dataclasses.replace(
        options,
        record=inner if inner.size else asked.times[-1:],
        horizon=horizon,
        progress=False,
    )


def _tolerance(flow: PreparedFlow, alike: FlowOptions, start: Start) -> _Other:
    """With other tolerances."""
    rtol = float(alike.rtol)
    tighter = rtol >= 10 * _LEAST
    other = max(rtol / _TIGHTER, _LEAST) if tighter else rtol * _TIGHTER
    atol = None if alike.atol is None else alike.atol * (other / rtol)
    options = dataclasses.replace(alike, rtol=other, atol=atol)
    return _Other("tighter" if tighter else "rougher", flow.coordinates.name, start, options)


def _elsewhere(flow: PreparedFlow, alike: FlowOptions, start: Start) -> list[_Other]:
    """In the first other coordinates that can hold the start, if there are any.

    With the solver of these coordinates, and an absolute tolerance in their units.
    """
    begun = _portable(flow.objective, start)
    if begun is None:
        return []
    dear = math.prod(flow.objective.problem.shape) > DENSE
    for name, kind in COORDINATES.items():
        if name == flow.coordinates.name or (name == LDUCoordinates.name and dear):
            continue
        both = (kind, type(flow.coordinates))
        if LogColumnCoordinates in both and any(one.takes_as_balanced for one in both):
            continue
        options = dataclasses.replace(alike, coordinates=name, solver="auto", atol=None)
        try:
            prepare_flow(flow.objective, begun, options)
        except ValueError:  # they cannot hold the start, or do not know an observable
            continue
        return [_Other("other coordinates", name, begun, options)]
    return []


def _portable(objective: Objective, start: Start) -> Start | None:
    """The start as other coordinates take it; None if it is a state in coordinates of its own."""
    if isinstance(start, LogScaled):
        return None
    if not isinstance(start, Mapping):
        return start
    if list(start) == ["W"]:
        return start["W"]
    try:
        return as_factors(objective, start)
    except ValueError:
        return None
