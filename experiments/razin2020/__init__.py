"""The experiments of Razin and Cohen 2020."""

from . import fig1, fig2, fig4, fig5, fig6

__all__ = ["fig1", "fig2", "fig4", "fig5", "fig6"]
