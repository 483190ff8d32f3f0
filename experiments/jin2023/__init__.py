"""The experiments of Jin et al. 2023: our picture of ranks that are learned one after the other."""

from . import ranks

__all__ = ["ranks"]
