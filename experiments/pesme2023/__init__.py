"""The experiments of Pesme and Flammarion 2023: our picture of their jumps."""

from . import jumps

__all__ = ["jumps"]
