"""arora2019, Figure 1: reconstruction error against initialisation scale, depths 2 to 4."""

from typing import ClassVar

from matplotlib.figure import Figure

from experiments import deep_recovery, deep_recovery_figures
from experiments.catalogue import register
from experiments.experiment import Finding
from experiments.results import Results


@register
class Fig1(deep_recovery.Recovery):
    """Runs and baselines are those of `deep_recovery`, shared with the other figure."""

    id = "arora2019.fig1"
    title = "reconstruction error against initialisation scale, depths 2 to 4"
    family = "arora2019.completion"
    sensing = False
    hours: ClassVar[dict[str, float]] = {"quick": 0.02, "paper": 0.95}

    def plot(self, results: Results) -> Figure:
        return deep_recovery_figures.errors_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return deep_recovery_figures.depth_findings(results)
