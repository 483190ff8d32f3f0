"""Floors that nobody measured: what arithmetic loses, with a margin."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Convention:
    """A floor that nobody measured: what the arithmetic loses, with a margin.

    Attributes:
      value: the floor, or one for each number.
      reason: what it allows for.
      digits: of long arithmetic, how many; 0 for float64.
    """

    value: Any
    reason: str
    digits: int = 0


FIFTY_DIGITS = Convention(1e-40, "arithmetic of 50 digits, ten of them left for what is lost", 50)


def roundings(value: float, of: str = "") -> Convention:
    """A floor of so many roundings of float64, of the size of the relative number compared."""
    count = value / float(np.finfo(float).eps)
    rounded = f"{count:.2g}" if count < 10 else f"{float(f'{count:.2g}'):,.0f}"
    return Convention(value, f"{rounded} roundings of float64" + (f" ({of})" if of else ""))
