"""arora2019, Figures 1, 2, 4 and 5: what depth recovers, completion and sensing."""

from typing import ClassVar

from matplotlib.figure import Figure

from gradflow.sweeps import Finding, Results, register

from . import _figures as deep_recovery_figures
from . import _recovery as deep_recovery


@register
class Fig1(deep_recovery.Recovery):
    """Runs and baselines are those of `_recovery`, shared with the other figure."""

    id = "arora2019.fig1"
    title = "reconstruction error against initialisation scale, depths 2 to 4"
    family = "arora2019.completion"
    sensing = False
    hours: ClassVar[dict[str, float]] = {"quick": 0.02, "paper": 0.95}

    def plot(self, results: Results) -> Figure:
        return deep_recovery_figures.errors_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return deep_recovery_figures.depth_findings(results)


@register
class Fig2(deep_recovery.Recovery):
    """Runs and baselines are those of `_recovery`, shared with the other figure."""

    id = "arora2019.fig2"
    title = "error, nuclear norm and effective rank against initialisation scale"
    family = "arora2019.completion"
    sensing = False
    hours: ClassVar[dict[str, float]] = {"quick": 0.02, "paper": 0.95}

    def plot(self, results: Results) -> Figure:
        return deep_recovery_figures.norms_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        figures = deep_recovery_figures
        return figures.depth_findings(results) + figures.norm_findings(results)


@register
class Fig4(deep_recovery.Recovery):
    """Runs and baselines are those of `_recovery`, shared with the other figure."""

    id = "arora2019.fig4"
    title = "Figure 1 with Gaussian measurements"
    family = "arora2019.sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {"quick": 0.02}

    def plot(self, results: Results) -> Figure:
        return deep_recovery_figures.errors_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return deep_recovery_figures.depth_findings(results)


@register
class Fig5(deep_recovery.Recovery):
    """Runs and baselines are those of `_recovery`, shared with the other figure."""

    id = "arora2019.fig5"
    title = "Figure 2 with Gaussian measurements"
    family = "arora2019.sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {}

    def plot(self, results: Results) -> Figure:
        return deep_recovery_figures.norms_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        figures = deep_recovery_figures
        return figures.depth_findings(results) + figures.norm_findings(results)
