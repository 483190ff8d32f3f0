"""gradflow: gradient flow and descent on matrix and tensor factorisations, exactly."""

from gradflow import data, generate, observables, spectrum
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
