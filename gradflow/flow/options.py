"""What a flow can be asked, and its defaults."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import diffrax
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import positive
from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.registry import CoordinatesName
from gradflow.dynamics.base import AbstractDynamics
from gradflow.dynamics.gradient import GradientFlow
from gradflow.options import RunOptions

_GRADIENT = GradientFlow()
RESOLVED, ROUGHEST = 1e-14, 0.1
"""The range of rtol. Below, 45 roundings, error estimates are rounding; the result does not improve
from about 1e-13 on. Above, not one digit would be right, and singular values of the size of the
largest would count as zero where a penalty has a kink."""


@dataclass(frozen=True, kw_only=True)
class FlowOptions(RunOptions):
    """What a flow can be asked.

    Attributes:
      dynamics: what the parameters obey: `GradientFlow()`, `AdamFlow(...)`, `MomentumFlow(...)`, or
        an own `AbstractDynamics`.
      coordinates: "factors" (any start and dynamics), "product" (balanced; the matrix alone),
        "singular" (balanced; log singular values and vectors, distinct and not zero), "logdet"
        (balanced 2x2 completion; the determinant's sign is kept and its logarithm followed), "ldu"
        (balanced, full rank, depth 2 or more; every singular value keeps its sign and relative
        accuracy), "logpolar" (a CP tensor, balanced or not; every component keeps its relative
        accuracy), "logparameters" (a diagonal network of depth 2; every parameter keeps its sign
        and relative accuracy), "logcolumns" (a SymmetricProduct, or a MatrixProduct of depth 2,
        balanced or not; every direction keeps its relative accuracy), or "auto": "logdet" where it
        is possible, "ldu" where up to 48 unknowns are balanced at depth 2 or start tiny, "logpolar"
        for a CP tensor that starts tiny,
        "logparameters" for a diagonal network that does, "logcolumns" where columns do that no
        other holds, else "factors". Or an own class of coordinates.
      horizon: the last time, counted from the first start where a trajectory is taken up; in a
        batch, one for all or one a flow, as rtol and atol. Without it, 1e10 times the start's time
        scale (1e22 in "logdet", "ldu" and "logpolar" coordinates) or, if nothing else stops the
        flow, the last time to record. Also where the flow ends if it never comes to what stops it.
      interpolate: let stabilised steps pass recording times, and record from their cubic
        interpolants, whose error is of the order of the steps' own. By default the default times
        are interpolated and given ones are landed on. Explicit steps always land.
      solver: any diffrax solver with an error estimate, or "auto": by the number and kind of the
        coordinates. The stats name the choice and its reason.
      rtol: relative tolerance of a step, from 1e-14 to 0.1: of the root mean square of all
        coordinates ("factors", "product"), or entry by entry. While the product rises from a small
        start at depth 3 or more, steps are more accurate than that, because the rise amplifies
        their errors. So the product's relative error at a given time is of the order of rtol. On
        106 random completion problems of 2x2 to 8x8, "factors", rtol 1e-4 to 1e-8, it was up to
        0.13 times rtol at depth 1, 1.9 at depth 2, 3.9, 6.8 and 5.9 at depths 3, 4 and 5; but for
        one of depth 4, where a fourth singular value rises late out of the errors so far: 200 to
        540 times rtol at 1e-4, by where it records, 80 at 1e-6 and 16 at 1e-8. The time of a
        stopping loss does not follow rtol where the loss falls slowly: at 2x2 ("logdet") that of a
        loss of 1e-8 was off by 9e-8, 4e-7 and 9e-7 at depths 2, 3 and 4 with any rtol from 1e-4 to
        1e-8, and by up to 5e-9 at 1e-10, while the product there was right to 2e-10. Rtol is also
        how small a singular value may be, next to the largest, to count as zero where the penalty
        has a kink at zero: there the flow ends, as having lost its gradient. Balanced factors have
        no kink there, and go on; singular values below rtol are then only known to be so, as the
        penalty fades out for them.
      atol: absolute tolerance; by default 1e-3 rtol times the root mean square of the start
        ("factors", "product"), rtol times that ("singular"), or 1e-2 rtol (all others).
    """

    max_steps: Checked[int] = 10_000_000
    dynamics: Checked[AbstractDynamics] = _GRADIENT
    coordinates: Checked[CoordinatesName | type[AbstractCoordinates]] = "auto"
    horizon: Checked[float | None] = None
    interpolate: bool | None = None
    solver: Checked[diffrax.AbstractSolver | Literal["auto"]] = "auto"
    rtol: Checked[float] = 1e-8
    atol: Checked[float | None] = None

    def one_each(self, count: int) -> list[Any]:
        """The options of each flow of a batch: horizons and tolerances may be one a flow.

        Args:
          count: how many flows there are.

        Raises:
          ValueError: if there are not as many of them.
        """
        given = {name: getattr(self, name) for name in ("horizon", "rtol", "atol")}
        many = {name: list(value) for name, value in given.items() if np.ndim(value) == 1}
        for name, values in many.items():
            if len(values) != count:
                raise ValueError(f"There are {count} starts but {len(values)} values of {name}.")
        if not many:
            return [self] * count
        return [
            dataclasses.replace(self, **{name: values[k] for name, values in many.items()})
            for k in range(count)
        ]

    def check(self) -> None:
        super().check()
        stops = (self.horizon, self.stop_loss, self.stop_gradient, self.record)
        if all(stop is None for stop in stops):
            raise ValueError("Give at least one of horizon, stop_loss, stop_gradient and record.")
        for name in ("horizon", "rtol", "atol"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        if not RESOLVED <= float(self.rtol) <= ROUGHEST:
            raise ValueError(
                f"rtol must be between {RESOLVED} and {ROUGHEST}, but it is {self.rtol!r}: "
                + (
                    "below, steps are measured by their rounding; give 1e-12 or more."
                    if self.rtol < RESOLVED
                    else "above, no digit of the result is asked for; leave it away for 1e-8."
                )
            )
        if not isinstance(self.dynamics, AbstractDynamics):
            raise ValueError(
                f"dynamics must be one of gradflow.dynamics, such as gradflow.GradientFlow(), but "
                f"it is {self.dynamics!r}."
            )
        if self.solver != "auto" and not isinstance(self.solver, diffrax.AbstractAdaptiveSolver):
            raise ValueError(
                f"solver must be 'auto' or a diffrax solver with an error estimate, such as "
                f"diffrax.Tsit5(), but it is {self.solver!r}."
            )
