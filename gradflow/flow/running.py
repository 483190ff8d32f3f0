"""A flow on its way through coordinate systems and clocks."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradflow._util.logs import LOGGER
from gradflow.coordinates.handover import handed_over
from gradflow.flow.readings import Point
from gradflow.flow.setup import PreparedFlow, time_scale
from gradflow.flow.step import Carry
from gradflow.flow.stopping import Status, another_follows

_PARTS = 200
"""Coordinate systems and clocks that a flow may go through."""


class Part(NamedTuple):
    """A flow's way through one coordinate system on one clock.

    Attributes:
      end: where it got to.
      valid: at which recording times there is something to record.
      times: when.
      reached: which of the recording times it reached.
      seen: the observables at all of them.
    """

    end: Carry
    valid: np.ndarray
    times: np.ndarray
    reached: np.ndarray
    seen: dict[str, Any]

    def of(self, k: int) -> "Part":
        """The k-th flow's, of many."""
        own = jax.tree.map(lambda leaf: leaf[k], self)
        goes_on = jax.tree.map(jnp.asarray, (own.end.y, own.end.clock))
        return own._replace(end=eqx.tree_at(lambda end: (end.y, end.clock), own.end, goes_on))


class RunningFlow:
    """Where a flow is, and what it has recorded.

    Attributes:
      flow: what to integrate.
      coordinates: those of the part that it goes through or has gone through.
      y: the point it is at, in these.
      t: its time.
      base: when the clock began.
      scale: the clock's unit.
      status: why the last part ended.
      accepted: steps so far.
      rejected: likewise.
      charts: coordinate systems so far.
      done: which recording times it has reached.
    """

    def __init__(self, flow: PreparedFlow):
        self.flow, self.coordinates, self.y = flow, flow.coordinates, flow.y
        self.t = self.base = flow.before.time
        self.scale, self.status, self.charts = flow.scale, Status.RUNNING, 1
        self.accepted = self.rejected = 0
        self.done = np.zeros(flow.grid.size, bool)
        self._records: list[Any] = []
        self._least: list[Any] = []
        self._work: Any = None

    @property
    def goes_on(self) -> bool:
        """Whether another part begins."""
        return not self._records or (another_follows(self.status) and len(self._records) < _PARTS)

    def turn(self) -> None:
        """Take other coordinates or another clock, if that is why the last part ended."""
        if self.status is Status.NEAR_SINGULARITY:
            self.coordinates, self.y = handed_over(self.coordinates, self.y)
            self.charts += 1
            LOGGER.debug("at t = %.6g on in other %r coordinates", self.t, self.coordinates.name)
        elif self.status is Status.CLOCK:
            self.base, self.scale = self.t, time_scale(self.coordinates, self.y)
            LOGGER.debug("at t = %.6g on with a clock that begins anew", self.t)

    def take(self, part: Part, t: float) -> None:
        """Keep what a part gave.

        Args:
          part: which.
          t: when it ended.
        """
        end, rows = part.end, part.valid
        count = min(self.done.size, part.reached.size)
        self.done[:count] |= part.reached[:count]
        self._records.append(jax.tree.map(lambda x: x[rows], (part.times, part.seen)))
        self.y, self.t, self.status = end.y, t, Status(int(end.status))
        self.accepted += int(end.accepted)
        self.rejected += int(end.rejected)
        self._work = getattr(end.solver_state, "work", None)
        self._least.append(jax.tree.map(np.asarray, end.least))

    @property
    def points(self) -> tuple[Point, Point]:
        """The start and where it is."""
        rtol = jnp.asarray(self.flow.options.rtol)
        start = Point(self.flow.coordinates, self.flow.y, rtol)
        return start, Point(self.coordinates, self.y, rtol)

    def result(self) -> dict[str, Any]:
        """What `gradflow.flow.drive.run` tells of it, but for the time it took."""
        times, observables = jax.tree.map(lambda *pieces: np.concatenate(pieces), *self._records)
        return {
            "times": times,
            "observables": observables,
            "coordinates": self.coordinates,
            "y": self.y,
            "t": self.t,
            "status": Status.HORIZON if self.status is Status.RUNNING else self.status,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "charts": self.charts,
            "work": self._work,
            "least": jax.tree.map(lambda *each: np.min(each, axis=0), *self._least),
        }
