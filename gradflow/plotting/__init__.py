"""Pictures, films and interactive pages of trajectories."""

from gradflow.plotting._style import COLOURS, paper_style, save_figure
from gradflow.plotting.animation import animate
from gradflow.plotting.explorer import OBSERVE, Explorer, explore, save_html
from gradflow.plotting.playground import playground_page, save_playground
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
    "plot_spectrum",
    "plot_unobserved_entry",
    "save_figure",
    "save_html",
    "save_playground",
]
