"""razin2020, Figure 2: completion of tensors of rank 1, orders 3 and 4."""

from typing import ClassVar

from matplotlib.figure import Figure

from gradflow.sweeps import Finding, Results, register

from . import _tensor_figures as figures
from ._tensors import Grid, Tensors


@register
class Fig2(Tensors):
    """Error and rank against the number of observations; cells as in `_tensors`."""

    id = "razin2020.fig2"
    title = "tensor completion at rank 1: error and CP rank against observations"
    hours: ClassVar[dict[str, float]] = {"quick": 0.01, "paper": 0.2}
    full = Grid(
        rank=1,
        observations_3=(50, 100, 150, 200, 250, 300, 350, 400, 450, 511),
        observations_4=(100, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4095),
    )
    quick = Grid(rank=1, observations_3=(50, 150, 300, 511), observations_4=(), seeds=(0, 1, 2))

    def plot(self, results: Results) -> Figure:
        return figures.picture(results)

    def compare(self, results: Results) -> list[Finding]:
        return figures.findings(results) + figures.printed(results)
