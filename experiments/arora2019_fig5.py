"""arora2019, Figure 5: Figure 2 with Gaussian measurements."""

from typing import ClassVar

from matplotlib.figure import Figure

from experiments import deep_recovery
from experiments.catalogue import register
from experiments.experiment import Finding
from experiments.results import Results


@register
class Fig5(deep_recovery.Recovery):
    """Runs and baselines are those of `deep_recovery`, shared with the other figure."""

    id = "arora2019.fig5"
    title = "Figure 2 with Gaussian measurements"
    family = "arora2019.sensing"
    sensing = True
    hours: ClassVar[dict[str, float]] = {}

    def plot(self, results: Results) -> Figure:
        return deep_recovery.norms_figure(results)

    def compare(self, results: Results) -> list[Finding]:
        return deep_recovery.depth_findings(results) + deep_recovery.norm_findings(results)
