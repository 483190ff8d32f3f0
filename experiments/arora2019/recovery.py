"""arora2019, Figures 1, 2, 4 and 5: what depth recovers, completion and sensing."""

from typing import ClassVar

from matplotlib.figure import Figure

from gradflow.sweeps import Finding, Results, register

from . import _figures as figures
from ._recovery import Recovery


@register
class Fig1(Recovery):
    """Runs and baselines are those of `_recovery`, shared with Figure 2."""

    id = "arora2019.fig1"
    title = "reconstruction error against initialisation scale, depths 2 to 4"
    family = "arora2019.completion"
    hours: ClassVar[dict[str, float]] = {"quick": 0.02, "paper": 0.95}

    def plot(self, results: Results) -> Figure:
        return figures.errors_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return figures.depth_findings(results)


@register
class Fig2(Recovery):
    """Runs and baselines are those of `_recovery`, shared with Figure 1."""

    id = "arora2019.fig2"
    title = "error, nuclear norm and effective rank against initialisation scale"
    family = "arora2019.completion"
    hours: ClassVar[dict[str, float]] = {"quick": 0.02, "paper": 0.95}

    def plot(self, results: Results) -> Figure:
        return figures.norms_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return figures.depth_findings(results) + figures.norm_findings(results)


@register
class Fig4(Fig1):
    """Figure 1 with measurements that Figure 5 shares."""

    id = "arora2019.fig4"
    title = "Figure 1 with Gaussian measurements"
    family = "arora2019.sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {"quick": 0.02}


@register
class Fig5(Fig2):
    """Figure 2 with measurements that Figure 4 shares."""

    id = "arora2019.fig5"
    title = "Figure 2 with Gaussian measurements"
    family = "arora2019.sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {}
