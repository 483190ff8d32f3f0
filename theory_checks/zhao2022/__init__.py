"""Zhao 2022: its claims, in its order."""

from gradflow.claims import Paper

from . import (
    adam,
    balance,
    gradient_flow,
    hadamard,
    kronecker,
    moments,
    preconditioner,
    ratio_gradient,
    ratio_penalty,
)

PAPER = Paper(
    "zhao2022",
    authors="Zhao 2022",
    title="Combining Explicit and Implicit Regularization for Efficient Learning in Deep Networks",
    claims=(
        gradient_flow.eq3,
        gradient_flow.eq4,
        kronecker.eq4_spectrum,
        ratio_gradient.eq12,
        ratio_penalty.thm2_sv,
        ratio_penalty.thm2_w,
        ratio_penalty.eq28,
        adam.eq15,
        hadamard.eq16_exponent,
        kronecker.eq17,
        hadamard.hadamard,
        kronecker.kron_order,
        kronecker.eq20,
        adam.thm1_w,
        adam.thm1_sv,
        preconditioner.thm1_psd,
        balance.thm1_balance,
        adam.thm3_w,
        adam.thm3_sv,
        preconditioner.depth1_eq27,
        moments.depth1_gd,
        moments.adam_moments,
    ),
)
