"""The effective rank where it is near 1."""

from typing import Any

import numpy as np


def entropy_rank(first: Any, second: Any) -> Any:
    """The effective rank minus one, from two singular values, without cancellation."""
    q = second / (first + second)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(q > 0, -q * np.log(q), 0.0) - (1 - q) * np.log1p(-q)
    return np.expm1(entropy)
