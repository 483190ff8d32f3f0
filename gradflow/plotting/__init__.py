"""Pictures, films and interactive pages of trajectories.

Names are imported on first use: a command that only shows its options does not wait for JAX.
"""

from typing import TYPE_CHECKING

from gradflow._util.lazy import on_first_use

if TYPE_CHECKING:
    from gradflow.plotting._style import COLOURS, paper_style, save_figure
    from gradflow.plotting.animation import animate
    from gradflow.plotting.explorer import OBSERVE, Explorer, explore, save_html
    from gradflow.plotting.playground import playground_page, save_playground
    from gradflow.plotting.quantiles import plot_quantiles
    from gradflow.plotting.static import (
        plot_alignment,
        plot_effective_rank,
        plot_loss,
        plot_matrix,
        plot_observable,
        plot_spectrum,
        plot_unobserved_entry,
    )

__all__ = [
    "COLOURS",
    "OBSERVE",
    "Explorer",
    "animate",
    "explore",
    "paper_style",
    "playground_page",
    "plot_alignment",
    "plot_effective_rank",
    "plot_loss",
    "plot_matrix",
    "plot_observable",
    "plot_quantiles",
    "plot_spectrum",
    "plot_unobserved_entry",
    "save_figure",
    "save_html",
    "save_playground",
]

_NAMES = {
    "_style": "COLOURS paper_style save_figure",
    "animation": "animate",
    "explorer": "OBSERVE Explorer explore save_html",
    "playground": "playground_page save_playground",
    "quantiles": "plot_quantiles",
    "static": "plot_alignment plot_effective_rank plot_loss "
    "plot_matrix plot_observable plot_spectrum plot_unobserved_entry",
}

__getattr__ = on_first_use(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
