"""Singular values and spectral functions of matrices."""

from gradflow.linalg.analytic_svd import AnalyticSVD, follow_svd
from gradflow.linalg.polar_iteration import polar_by_iteration
from gradflow.linalg.spectrum import (
    distance_from_rank,
    effective_rank,
    effective_rank_of,
    polar_factor,
    schatten_norm,
    schatten_norm_of,
    singular_values,
)

__all__ = [
    "AnalyticSVD",
    "distance_from_rank",
    "effective_rank",
    "effective_rank_of",
    "follow_svd",
    "polar_by_iteration",
    "polar_factor",
    "schatten_norm",
    "schatten_norm_of",
    "singular_values",
]
