"""arora2019, Figure 4: Figure 1 with Gaussian measurements."""

from typing import ClassVar

from matplotlib.figure import Figure

from experiments import deep_recovery, deep_recovery_figures
from experiments.catalogue import register
from experiments.experiment import Finding
from experiments.results import Results


@register
class Fig4(deep_recovery.Recovery):
    """Runs and baselines are those of `deep_recovery`, shared with the other figure."""

    id = "arora2019.fig4"
    title = "Figure 1 with Gaussian measurements"
    family = "arora2019.sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {"quick": 0.02}

    def plot(self, results: Results) -> Figure:
        return deep_recovery_figures.errors_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return deep_recovery_figures.depth_findings(results)
