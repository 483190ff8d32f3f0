"""The coordinates that a flow can be asked for by name: the one list of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.factors import FactorCoordinates
from gradflow.coordinates.ldu import LDUCoordinates
from gradflow.coordinates.logcolumns import LogColumnCoordinates
from gradflow.coordinates.logdet import LogDetCoordinates
from gradflow.coordinates.logparameters import LogParameterCoordinates
from gradflow.coordinates.logpolar import LogPolarCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.coordinates.singular import SingularCoordinates

COORDINATES: Mapping[str, type[AbstractCoordinates]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            LogDetCoordinates,
            LDUCoordinates,
            LogPolarCoordinates,
            LogParameterCoordinates,
            LogColumnCoordinates,
            FactorCoordinates,
            ProductCoordinates,
            SingularCoordinates,
        )
    }
)
"""By name, the first before the next where any will do."""
CoordinatesName = Literal[
    "auto", "logdet", "ldu", "logpolar", "logparameters", "logcolumns", "factors", "product",
    "singular",
]  # fmt: skip
"""The same names for type checkers, which read them as they are written, and "auto"."""


def coordinates_of(named: Mapping[str, Any]) -> type[AbstractCoordinates]:
    """What coordinates a state is in, by the names of its arrays.

    Args:
      named: a state, as `AbstractCoordinates.named` gives it.
    """
    marked = (kind for kind in COORDINATES.values() if kind.mark in named)
    return next(marked, FactorCoordinates)
