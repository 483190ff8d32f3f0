"""How the state of a flow is held, so that its invariants are structural."""

from gradflow.coordinates.base import AbstractChart, ChartName
from gradflow.coordinates.factors import FactorChart
from gradflow.coordinates.logdet import LogDetChart
from gradflow.coordinates.product import ProductChart
from gradflow.coordinates.singular import SingularChart

__all__ = [
    "AbstractChart",
    "ChartName",
    "FactorChart",
    "LogDetChart",
    "ProductChart",
    "SingularChart",
]
