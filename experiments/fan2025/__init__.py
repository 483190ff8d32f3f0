"""The experiments of Fan, Schmidt and Thrampoulidis 2025: margins of Muon and sign descent."""

from . import margins

__all__ = ["margins"]
