"""arora2019, Figure 6: Figure 3's synthetic row with Gaussian measurements."""

from typing import ClassVar

from experiments.arora2019_fig3 import Dynamics, Grid
from experiments.catalogue import register
from experiments.experiment import Protocol, Scale


@register
class Fig6(Dynamics):
    """Sensing."""

    id = "arora2019.fig6"
    title = "singular values and alignment over iterations, depths 1 to 3, sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {}

    def grid(self, scale: Scale, protocol: Protocol) -> Grid:
        code = protocol == "code"
        if scale == "paper":
            return Grid(
                rows=("completion",), rate=1e-2 if code else 1e-3,
                steps=200_000 if code else 1_000_000, identity=code, protocol=protocol,
            )  # fmt: skip
        return Grid(
            rows=("completion",), rate=1e-2 if code else 1e-5, steps=20_000, identity=code, size=20,
            rank=2, observations=160, protocol=protocol,
        )  # fmt: skip
