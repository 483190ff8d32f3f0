"""gradflow: gradient flow and descent on matrix and tensor factorisations, exactly."""

from gradflow import (
    animation,
    baselines,
    data,
    exact,
    explorer,
    generate,
    initializations,
    observables,
    optimizers,
    plotting,
    spectrum,
)
from gradflow.adam_flow import AdamChart, adam_chart, sampled_variance, smoothed_share
from gradflow.checkpoint import Checkpoint
from gradflow.descent import run_descent, run_descents
from gradflow.factorizations import CPTensor, MatrixProduct, Objective
from gradflow.flow import solve_flow, solve_flows
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
from gradflow.handover import HandOver
from gradflow.initializations import (
    balanced_factors,
    gaussian_factors,
    identity_factors,
    nearest_balanced,
    random_balanced,
    unbalancedness,
)
from gradflow.penalties import NuclearFrobeniusRatio, NuclearNorm, SchattenNorm, SchattenRatio
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
    "AdamChart",
    "CPTensor",
    "Checkpoint",
    "HandOver",
    "LeastSquares",
    "MatrixCompletion",
    "MatrixProduct",
    "MatrixSensing",
    "NuclearFrobeniusRatio",
    "NuclearNorm",
    "Objective",
    "Outcome",
    "SchattenNorm",
    "SchattenRatio",
    "TensorCompletion",
    "Trajectory",
    "adam_chart",
    "animation",
    "astype",
    "balanced_factors",
    "baselines",
    "data",
    "exact",
    "explorer",
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
    "optimizers",
    "plotting",
    "random_balanced",
    "run_descent",
    "run_descents",
    "sample_entries",
    "sampled_variance",
    "smoothed_share",
    "solve_flow",
    "solve_flows",
    "spectrum",
    "tensor_completion",
    "unbalancedness",
]
