"""The experiments of Domine et al. 2025: our map of lazy and rich."""

from . import map

__all__ = ["map"]
