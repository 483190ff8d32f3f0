"""A `SaddlePath` from what a walk found: of columns, of deep products, of diagonal networks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradflow.factorizations.base import Factors
from gradflow.saddles.errors import SAFETY, Terms, table
from gradflow.saddles.path import SaddlePath, way_of, ways
from gradflow.saddles.ways import Records

NULL = 1e-7
"""Below which part of the first rates a rate counts as 0."""


class Jump(NamedTuple):
    """A way from a saddle to the next, of columns or of a deep product.

    Attributes:
      tau: when, in units of c(alpha); see `SaddlePath`.
      offset: what is added to tau c(alpha), for the loss half way between both saddles.
      margin: how much later than the first another could have come up, as a ratio.
      direction: the unit vector that comes up.
      orbit: the way.
      half: the time of the orbit when the loss is half way.
      terms: of the error of the time.
    """

    tau: float
    offset: float
    margin: float
    direction: np.ndarray
    orbit: Any
    half: float
    terms: Terms

    @property
    def way(self) -> tuple[np.ndarray, np.ndarray]:
        """Records, as a path has them."""
        orbit: Records = self.orbit
        return way_of(orbit.times, orbit.losses, self.half)


def growth_and_decay(curvature: np.ndarray) -> tuple[float, float]:
    """How fast a saddle's own flow leaves it at most, and comes to it at least.

    Args:
      curvature: eigenvalues of the Hessian of that flow.
    """
    top = float(np.max(np.abs(curvature), initial=0.0))
    falling = curvature[curvature > NULL * top]
    growth = float(-np.min(curvature, initial=0.0))
    return growth, float(np.min(falling, initial=np.inf))


def assembled(
    found: Any,
    levels: Sequence[np.ndarray],
    directions: Sequence[np.ndarray],
    factors: Factors,
    *,
    degree: int,
    width: int,
    flags: Iterable[str],
    config: Mapping[str, Any],
) -> SaddlePath:
    """The path.

    Args:
      found: a walk: its nodes with w, rank, loss, rates, decay and growth; its jumps with tau,
        offset, margin, way and terms; its outcome and reason.
      levels: of each saddle; see `SaddlePath`.
      directions: of each jump.
      factors: of the start.
      degree: of the factorisation.
      width: of a direction.
      flags: what else is worth a word.
      config: what was asked for.
    """
    nodes, jumps = found.nodes, found.jumps

    def column(each: Sequence[Any], name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in each])

    return SaddlePath(
        products=np.stack([node.w for node in nodes]),
        ranks=column(nodes, "rank"),
        losses=column(nodes, "loss"),
        rates=_padded([node.rates for node in nodes]),
        levels=_padded(levels),
        decays=column(nodes, "decay"),
        growths=column(nodes, "growth"),
        taus=column(jumps, "tau"),
        offsets=column(jumps, "offset"),
        margins=column(jumps, "margin"),
        directions=np.array(directions).reshape(len(jumps), width),
        **ways(jump.way for jump in jumps),
        error_terms=table([jump.terms.times(SAFETY) for jump in jumps]),
        power=0.0 if degree == 2 else 1 - 2 / degree,
        degree=degree,
        start=tuple(np.asarray(factor) for factor in factors),
        outcome=found.outcome,
        reason=found.reason,
        flags=tuple(flags),
        config=config,
    )


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of one length, with NaN beyond their ends."""
    most = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, most - len(row)), constant_values=np.nan) for row in rows])
