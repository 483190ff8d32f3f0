"""Weight decay and balance: our picture of a folklore."""

from . import balance

__all__ = ["balance"]
