"""Flows that go on from a trajectory: its state, its time, what is known against its numbers."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from gradflow._util.provenance import plain
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.dynamics.base import AbstractDynamics
from gradflow.flow.options import FlowOptions
from gradflow.objective import Objective
from gradflow.resuming import check_goes_on
from gradflow.start import Start
from gradflow.trajectory import Trajectory

_BEFORE = "before it was taken up at t = "


class Before(NamedTuple):
    """What came before the start of a flow.

    Attributes:
      time: when it starts.
      rise: how many times errors could grow from the first start on, beyond what steps are more
        accurate for.
      drift: how far its invariants have moved, at most.
      warnings: what speaks against the numbers so far.
      dynamics: what the parameters obeyed, as plain values; None where nothing did.
      sign: of the first start's determinant, where it was watched.
      rank: up to which the flow keeps the product from its first start, where that is not full.
      resumed: whether anything came before.
    """

    time: float = 0.0
    rise: float = 0.0
    drift: float = 0.0
    warnings: tuple[str, ...] = ()
    dynamics: Mapping[str, Any] | None = None
    sign: float | None = None
    rank: int | None = None
    resumed: bool = False

    def check(self, dynamics: AbstractDynamics) -> None:
        """See that the flow goes on under the dynamics that it had.

        Raises:
          ValueError: if it would not.
        """
        if self.dynamics is None:
            return
        if (now := described(dynamics)) != self.dynamics:
            raise ValueError(
                f"The trajectory's dynamics is {dict(self.dynamics)}, not {now}; give the same by "
                "dynamics=, or start from its `final`, and from 0."
            )

    def rising(self, growth: float, paid: float) -> "Before":
        """The same, with the rise from this start if it is the larger one.

        Args:
          growth: how many times relative errors made at the start will grow.
          paid: what of it steps pay for.
        """
        if not math.isfinite(growth):
            return self  # a product that is zero tells nothing
        return self._replace(rise=max(growth / paid, self.rise))

    def keeping(self, rank: int | None) -> "Before":
        """The same, with the rank that the flow keeps from here, if none was to be kept before."""
        return self._replace(rank=rank if self.rank is None else self.rank)

    def watched(self, coordinates: AbstractCoordinates) -> AbstractCoordinates:
        """The coordinates, in which the determinant's sign is watched as it was before.

        The state alone may be too far from balance, or too near to a singular product, to tell.
        """
        told = isinstance(coordinates, FactorCoordinates | ProductCoordinates)
        if self.sign is None or not told:
            return coordinates
        return dataclasses.replace(coordinates, sign=jnp.asarray(self.sign))


def described(dynamics: AbstractDynamics) -> dict[str, Any]:
    """A dynamics as plain values."""
    return json.loads(json.dumps({"name": dynamics.name} | plain(dynamics), default=str))


def taken_up(objective: Objective, start: Start, options: FlowOptions) -> tuple[Any, Before]:
    """The start itself, without its history, and the history.

    Args:
      objective: the problem, its factorisation and its penalty.
      start: what `gradflow.solve_flow` was given.
      options: what was asked.

    Raises:
      ValueError: if a trajectory cannot be taken up so.
    """
    if not isinstance(start, Trajectory):
        return start, Before()
    check_goes_on(start, "flow", objective)
    time = float(start.times[-1])
    dynamics = start.config.get("dynamics")
    if dynamics is not None and dynamics["name"] != options.dynamics.name:
        Before(dynamics=dynamics).check(options.dynamics)
    if options.horizon is not None and not options.horizon > time:
        raise ValueError(
            f"horizon = {options.horizon} does not lie behind the trajectory's end, t = {time}; "
            "times are counted from the first start."
        )
    said = [w if w.startswith(_BEFORE) else f"{_BEFORE}{time:.6g}, {w}" for w in start.warnings]
    before = Before(
        time,
        float(start.stats.get("rise", 0.0)),
        float(start.stats.get("invariant_drift", 0.0)),
        tuple(said),
        dynamics,
        start.stats.get("sign"),
        start.stats.get("rank"),
        resumed=True,
    )
    return dict(start.final), before
