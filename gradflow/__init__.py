"""gradflow: gradient flow and descent on matrix and tensor factorisations, exactly."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from gradflow import (
    baselines,
    data,
    generate,
    initializations,
    observables,
    optimizers,
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

if TYPE_CHECKING:
    from gradflow import animation, exact, explorer, plotting

__version__ = "0.1.0"
_ON_DEMAND = ("animation", "exact", "explorer", "plotting")
"""Modules that are imported when first asked for: what they need takes a second to import."""


def __getattr__(name: str) -> ModuleType:
    if name in _ON_DEMAND:
        return import_module(f"gradflow.{name}")
    raise AttributeError(f"module 'gradflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})


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
