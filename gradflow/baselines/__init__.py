"""What other methods find: nuclear norm, SoftImpute, OptSpace."""

from gradflow.baselines._optspace import optspace
from gradflow.baselines.convex import minimum_nuclear_norm, soft_impute, soft_impute_path

__all__ = ["minimum_nuclear_norm", "optspace", "soft_impute", "soft_impute_path"]
