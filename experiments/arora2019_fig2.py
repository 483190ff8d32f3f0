"""arora2019, Figure 2: error, nuclear norm and effective rank against initialisation scale."""

from typing import ClassVar

from matplotlib.figure import Figure

from experiments import deep_recovery, deep_recovery_figures
from experiments.catalogue import register
from experiments.experiment import Finding
from experiments.results import Results


@register
class Fig2(deep_recovery.Recovery):
    """Runs and baselines are those of `deep_recovery`, shared with the other figure."""

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
