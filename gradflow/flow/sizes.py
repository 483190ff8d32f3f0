"""Sizes of data and of starts that float64 can follow."""

from gradflow.coordinates.base import known_norm
from gradflow.problems.base import AbstractProblem

_LARGEST = 1e60
"""The size of data, either way, up to which flows were seen to scale with them."""
_FURTHEST = 1e6
"""The logarithm of a start's scale, either way, up to which it has nine digits after the point."""


def check_size(problem: AbstractProblem) -> None:
    """See that fourth powers of a product that fits, as in speeds and losses, are numbers.

    Args:
      problem: what is fitted.

    Raises:
      ValueError: if they are not.
    """
    size = known_norm(problem)
    if size == 0 or 1 / _LARGEST <= size <= _LARGEST:
        return
    raise ValueError(
        f"A product that fits has a norm of about {size:.3g}, and powers of it that the flow takes "
        f"are no numbers of float64; scale the data to a size between {1 / _LARGEST:g} and "
        f"{_LARGEST:g}, and the start alike: c W(c^(2-2/N) t) is the flow of c times both, for "
        "squared errors and N factors."
    )


def check_log_scale(log_scale: float) -> None:
    """See that a logarithm tells the scale of a start.

    Args:
      log_scale: as in `gradflow.LogScaled`.

    Raises:
      ValueError: if it is too large, either way.
    """
    if abs(float(log_scale)) > _FURTHEST:
        raise ValueError(
            f"log_scale must be between {-_FURTHEST:g} and {_FURTHEST:g}, but it is {log_scale!r}: "
            "float64 tells such a logarithm, and so the product, to too few digits."
        )
