"""gradflow: gradient flow and descent on matrix and tensor factorisations, exactly.

Names are imported when they are first used, so that a command can set the environment up before
JAX comes in, and drawing costs only those who draw. One thing is set for the whole process: matrix
products have the precision of their numbers, unless another one was chosen by name.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradflow._util.lazy import on_first_use
from gradflow._util.precision import keep_full_products

if TYPE_CHECKING:
    from gradflow import (
        baselines,
        claims,
        conjectures,
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
        saddles,
        sweeps,
        synthetic,
    )
    from gradflow.descent import Checkpoint, run_descent, run_descents
    from gradflow.dynamics import AdamFlow, GradientFlow, MomentumFlow
    from gradflow.factorizations import (
        CPTensor,
        DiagonalNetwork,
        HierarchicalTensor,
        MatrixProduct,
        SymmetricProduct,
    )
    from gradflow.flow import solve_flow, solve_flows, solve_sdes
    from gradflow.objective import Objective
    from gradflow.penalties import (
        NuclearFrobeniusRatio,
        NuclearNorm,
        SchattenNorm,
        SchattenRatio,
        WeightDecay,
    )
    from gradflow.problems import (
        LeastSquares,
        LossFunction,
        MatrixCompletion,
        MatrixSensing,
        TensorCompletion,
        TensorSensing,
        astype,
        read_ratings,
    )
    from gradflow.resuming import join
    from gradflow.saddles import SaddleOutcome, SaddlePath, saddle_path
    from gradflow.start import LogScaled
    from gradflow.trajectory import Outcome, Trajectory

__version__ = "0.2.0"

_NAMES = {
    "descent": "Checkpoint run_descent run_descents",
    "dynamics": "AdamFlow GradientFlow MomentumFlow",
    "factorizations": "CPTensor DiagonalNetwork HierarchicalTensor MatrixProduct SymmetricProduct",
    "flow": "solve_flow solve_flows solve_sdes",
    "objective": "Objective",
    "start": "LogScaled",
    "penalties": "NuclearFrobeniusRatio NuclearNorm SchattenNorm SchattenRatio WeightDecay",
    "problems": "LeastSquares LossFunction MatrixCompletion MatrixSensing TensorCompletion "
    "TensorSensing astype read_ratings",
    "resuming": "join",
    "saddles": "SaddleOutcome SaddlePath saddle_path",
    "trajectory": "Outcome Trajectory",
}
_MODULES = (
    "baselines", "claims", "conjectures", "coordinates", "descent", "dynamics", "exact",
    "factorizations", "flow", "linalg", "observables", "ode", "optimizers", "penalties", "plotting",
    "problems", "saddles", "sweeps", "synthetic",
)  # fmt: skip
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}
_OLD = {
    **dict.fromkeys(
        [
            "balanced_factors",
            "gaussian_factors",
            "identity_factors",
            "nearest_balanced",
            "random_balanced",
            "unbalancedness",
        ],
        "factorizations",
    ),
    **dict.fromkeys(
        [
            "gaussian_measurements",
            "least_squares",
            "low_rank_matrix",
            "low_rank_tensor",
            "matrix_completion",
            "matrix_sensing",
            "norm_blowup",
            "sample_entries",
            "tensor_completion",
        ],
        "synthetic",
    ),
    **dict.fromkeys(["sampled_variance", "smoothed_share", "adam_chart"], "dynamics"),
    "AdamChart": "dynamics.AdamFlow",
    "HandOver": "ode.StiffnessSwitch",
    "animation": "plotting",
    "data": "problems",
    "explorer": "plotting",
    "generate": "synthetic",
    "initializations": "factorizations",
    "spectrum": "linalg",
}
"""Names of version 0.1: where they are now, or what they are called."""

keep_full_products()
_named = on_first_use(__name__, _NAMES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"gradflow.{name}")
    if name in _WHERE:
        return _named(name)
    if name in _OLD:
        module, _, renamed = _OLD[name].partition(".")
        room = import_module(f"gradflow.{module}")
        inside = renamed or (name if hasattr(room, name) else "")
        now = ".".join(filter(None, ("gradflow", module, inside)))
        warnings.warn(f"gradflow.{name} is now {now}", DeprecationWarning, stacklevel=2)
        return getattr(room, inside) if inside else room
    raise AttributeError(f"module 'gradflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({"__version__", *_WHERE, *_MODULES})


__all__ = [*_WHERE, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]
