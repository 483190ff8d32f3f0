"""The experiments of Wang and Basu Roy Chowdhury 2024."""

from . import fig1, fig2, fig3

__all__ = ["fig1", "fig2", "fig3"]
