"""How W is made of parameters; starts; balance; the end-to-end preconditioner."""

from gradflow.factorizations.balance import (
    nearest_balanced,
    relative_unbalancedness,
    unbalancedness,
)
from gradflow.factorizations.base import AbstractFactorization, Factors
from gradflow.factorizations.collinear import merge_collinear
from gradflow.factorizations.cp_tensor import CPTensor
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.factorizations.hierarchical_tensor import HierarchicalTensor
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.factorizations.preconditioners import adam_end_to_end, as_matrix, end_to_end
from gradflow.factorizations.starts import (
    balanced_factors,
    gaussian_factors,
    identity_factors,
    random_balanced,
)
from gradflow.factorizations.symmetric_product import SymmetricProduct

__all__ = [
    "AbstractFactorization",
    "CPTensor",
    "DiagonalNetwork",
    "Factors",
    "HierarchicalTensor",
    "MatrixProduct",
    "SymmetricProduct",
    "adam_end_to_end",
    "as_matrix",
    "balanced_factors",
    "end_to_end",
    "gaussian_factors",
    "identity_factors",
    "merge_collinear",
    "nearest_balanced",
    "random_balanced",
    "relative_unbalancedness",
    "unbalancedness",
]
