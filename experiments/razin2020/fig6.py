"""razin2020, Figure 6: completion of tensors of rank 3, orders 3 and 4."""

from typing import ClassVar

from gradflow.sweeps import Finding, Results, register

from . import _tensor_figures as figures
from ._tensors import Grid
from .fig2 import Fig2


@register
class Fig6(Fig2):
    """Figure 2 at rank 3; cells as in `_tensors`."""

    id = "razin2020.fig6"
    title = "tensor completion at rank 3: error and CP rank against observations"
    hours: ClassVar[dict[str, float]] = {"quick": 0.01, "paper": 1.5}
    full = Grid(
        rank=3,
        observations_3=(150, 200, 250, 300, 350, 400, 450, 511),
        observations_4=(300, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4095),
    )
    quick = Grid(rank=3, observations_3=(150, 300, 511), observations_4=(), seeds=(0, 1, 2))

    def compare(self, results: Results) -> list[Finding]:
        return figures.findings(results)
