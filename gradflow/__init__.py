"""gradflow: gradient flow and descent on matrix and tensor factorisations, exactly.

Names are imported when they are first used, so that a command can set the environment up before
JAX comes in, and drawing costs only those who draw.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow import (
        baselines,
        claims,
        coordinates,
        descent,
        dynamics,
        exact,
        factorizations,
        flow,
        linalg,
        observables,
        ode,
        optimizers,
        penalties,
        plotting,
        problems,
        sweeps,
        synthetic,
    )
    from gradflow.descent import Checkpoint, run_descent, run_descents
    from gradflow.dynamics import AdamChart, adam_chart, sampled_variance
    from gradflow.factorizations import (
        CPTensor,
        DiagonalNetwork,
        MatrixProduct,
        SymmetricProduct,
        balanced_factors,
        gaussian_factors,
        identity_factors,
        nearest_balanced,
        random_balanced,
        unbalancedness,
    )
    from gradflow.flow import solve_flow, solve_flows
    from gradflow.objective import Objective
    from gradflow.observables import smoothed_share
    from gradflow.ode import HandOver
    from gradflow.penalties import (
        NuclearFrobeniusRatio,
        NuclearNorm,
        SchattenNorm,
        SchattenRatio,
        WeightDecay,
    )
    from gradflow.problems import (
        LeastSquares,
        MatrixCompletion,
        MatrixSensing,
        TensorCompletion,
        astype,
    )
    from gradflow.synthetic import (
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
    from gradflow.trajectory import Outcome, Trajectory

__version__ = "0.2.0"

_NAMES = {
    "gradflow.descent": ("Checkpoint", "run_descent", "run_descents"),
    "gradflow.dynamics": ("AdamChart", "adam_chart", "sampled_variance"),
    "gradflow.factorizations": (
        "CPTensor", "DiagonalNetwork", "MatrixProduct", "SymmetricProduct", "balanced_factors",
        "gaussian_factors", "identity_factors", "nearest_balanced", "random_balanced",
        "unbalancedness",
    ),
    "gradflow.flow": ("solve_flow", "solve_flows"),
    "gradflow.objective": ("Objective",),
    "gradflow.observables": ("smoothed_share",),
    "gradflow.ode": ("HandOver",),
    "gradflow.penalties": (
        "NuclearFrobeniusRatio", "NuclearNorm", "SchattenNorm", "SchattenRatio", "WeightDecay",
    ),
    "gradflow.problems": (
        "LeastSquares", "MatrixCompletion", "MatrixSensing", "TensorCompletion", "astype",
    ),
    "gradflow.synthetic": (
        "gaussian_measurements", "least_squares", "low_rank_matrix", "low_rank_tensor",
        "matrix_completion", "matrix_sensing", "norm_blowup", "sample_entries",
        "tensor_completion",
    ),
    "gradflow.trajectory": ("Outcome", "Trajectory"),
}  # fmt: skip
_MODULES = (
    "baselines", "claims", "coordinates", "descent", "dynamics", "exact", "factorizations", "flow",
    "linalg", "observables", "ode", "optimizers", "penalties", "plotting", "problems", "sweeps",
    "synthetic",
)  # fmt: skip
_WHERE = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"gradflow.{name}")
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gradflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({"__version__", *_WHERE, *_MODULES})


__all__ = [*_WHERE, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]
