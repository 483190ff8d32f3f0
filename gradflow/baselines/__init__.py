"""What other methods find: least norms, margins, SoftImpute, OptSpace; CP by ALS, and its rank."""

from gradflow.baselines._cp_als import CPDecomposition, cp_als
from gradflow.baselines._cp_rank import CPRank, cp_rank
from gradflow.baselines._flattenings import Flattening
from gradflow.baselines._optspace import optspace
from gradflow.baselines._result import Baseline, BaselineOutcome
from gradflow.baselines.convex import minimum_nuclear_norm, soft_impute, soft_impute_path
from gradflow.baselines.margin import LargestMargin, largest_margin
from gradflow.baselines.semidefinite import minimum_trace

__all__ = [
    "Baseline",
    "BaselineOutcome",
    "CPDecomposition",
    "CPRank",
    "Flattening",
    "LargestMargin",
    "cp_als",
    "cp_rank",
    "largest_margin",
    "minimum_nuclear_norm",
    "minimum_trace",
    "optspace",
    "soft_impute",
    "soft_impute_path",
]
