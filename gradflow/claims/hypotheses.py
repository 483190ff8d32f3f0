"""What a case shows of the printed hypotheses: measured, met by construction, or only looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy.logic.boolalg import BooleanAtom


@dataclass(frozen=True)
class ByConstruction:
    """A hypothesis that a case meets because of how it is made; nothing is measured.

    Attributes:
      reason: how it is made.
    """

    reason: str


@dataclass(frozen=True)
class Measured:
    """A hypothesis that one number decides, which the report shows beside its limit.

    Attributes:
      value: what was measured.
      below: the hypothesis is met if the value is smaller.
      above: it is met if the value is larger; give one of the two.

    Raises:
      ValueError: if both limits are given, or none.

    Example:
      >>> bool(Measured(3e-16, below=1e-12)), bool(Measured(-1.0, above=0.0))
      (True, False)
    """

    value: float
    below: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        if (self.below is None) == (self.above is None):
            raise ValueError(
                f"Measured has below = {self.below} and above = {self.above}; give one."
            )

    def __bool__(self) -> bool:
        if self.below is not None:
            return bool(self.value < self.below)
        return self.above is not None and bool(self.value > self.above)


Met = bool | np.bool_ | ByConstruction | Measured
"""Whether a case meets a hypothesis."""


def see_met(place: str, met: Any) -> None:
    """See that something says yes or no: a text, a function or a number would count as yes.

    Raises:
      ValueError: if it does not.
    """
    if isinstance(met, bool | ByConstruction | Measured | BooleanAtom) or met is None:
        return  # None: an interval's comparison that is not certain, so not met
    if np.size(met) != 1 or getattr(getattr(met, "dtype", None), "kind", "") != "b":
        raise ValueError(
            f"{place}: {met!r} is neither True nor False; compare, or give Measured(number, "
            "below=...) or ByConstruction(reason)."
        )


def named(name: str, met: Met) -> str:
    """A hypothesis as a report says it, with the reason where it is met by construction."""
    return f"{name} (by construction: {met.reason})" if isinstance(met, ByConstruction) else name


def summed_up(cases: Iterable[Mapping[str, Met]]) -> tuple[str, ...]:
    """The hypotheses of some cases, each once, with the number that comes closest to its limit."""
    closest: dict[tuple[str, float | None, float | None], float] = {}
    texts: dict[str, list[tuple[str, float | None, float | None]]] = {}
    for hypotheses in cases:
        for name, met in hypotheses.items():
            keys = texts.setdefault(named(name, met), [])
            if not isinstance(met, Measured):
                continue
            key = (name, met.below, met.above)
            keys += [key] * (key not in keys)
            pick = max if met.below is not None else min
            closest[key] = pick(closest.get(key, met.value), met.value)
    return tuple(
        "; ".join([text, *(_measured(closest[key], key[1], key[2]) for key in keys)])
        for text, keys in texts.items()
    )


def _measured(value: float, below: float | None, above: float | None) -> str:
    if below is not None:
        return f"measured {value:.2g} at most, must be below {below:g}"
    return f"measured {value:.2g} at least, must be above {above:g}"
