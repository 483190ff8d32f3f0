"""The experiments of Woodworth et al. 2020: our picture of their two regimes."""

from . import path

__all__ = ["path"]
