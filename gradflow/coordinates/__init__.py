"""How the state of a flow is held, so that its invariants are structural."""

from gradflow.coordinates.base import AbstractCoordinates
from gradflow.coordinates.factors import AbstractFactorCoordinates, FactorCoordinates
from gradflow.coordinates.ldu import LDUCoordinates
from gradflow.coordinates.logcolumns import Graded, LogColumnCoordinates
from gradflow.coordinates.logdet import LogDetCoordinates
from gradflow.coordinates.logparameters import LogParameterCoordinates
from gradflow.coordinates.logpolar import LogPolarCoordinates
from gradflow.coordinates.product import ProductCoordinates
from gradflow.coordinates.registry import COORDINATES
from gradflow.coordinates.singular import SingularCoordinates

__all__ = [
    "COORDINATES",
    "AbstractCoordinates",
    "AbstractFactorCoordinates",
    "FactorCoordinates",
    "Graded",
    "LDUCoordinates",
    "LogColumnCoordinates",
    "LogDetCoordinates",
    "LogParameterCoordinates",
    "LogPolarCoordinates",
    "ProductCoordinates",
    "SingularCoordinates",
]
