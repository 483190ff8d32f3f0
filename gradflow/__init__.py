"""gradflow: gradient flow and descent on matrix and tensor factorisations, exactly."""

from gradflow import data, generate, initializations, observables, plotting, spectrum
from gradflow.descent import run_descent, run_descents
from gradflow.factorizations import CPTensor, MatrixProduct, Objective
from gradflow.flow import solve_flow
from gradflow.generate import (
    gaussian_measurements,
    least_squares,
    low_rank_matrix,
    low_rank_tensor,
    matrix_completion,
    matrix_sensing,
    norm_blowup,
    sample_entries,
    tensor_completion,
)
from gradflow.initializations import (
    balanced_factors,
    gaussian_factors,
    identity_factors,
    nearest_balanced,
    random_balanced,
    unbalancedness,
)
from gradflow.problems import (
    LeastSquares,
    MatrixCompletion,
    MatrixSensing,
    TensorCompletion,
    astype,
)
from gradflow.trajectory import Outcome, Trajectory

__version__ = "0.1.0"

__all__ = [
    "CPTensor",
    "LeastSquares",
    "MatrixCompletion",
    "MatrixProduct",
    "MatrixSensing",
    "Objective",
    "Outcome",
    "TensorCompletion",
    "Trajectory",
    "astype",
    "balanced_factors",
    "data",
    "gaussian_factors",
    "gaussian_measurements",
    "generate",
    "identity_factors",
    "initializations",
    "least_squares",
    "low_rank_matrix",
    "low_rank_tensor",
    "matrix_completion",
    "matrix_sensing",
    "nearest_balanced",
    "norm_blowup",
    "observables",
    "plotting",
    "random_balanced",
    "run_descent",
    "run_descents",
    "sample_entries",
    "solve_flow",
    "spectrum",
    "tensor_completion",
    "unbalancedness",
]
