"""Razin, Maman and Cohen 2022: its claims on local components, and one of ours."""

from gradflow.claims import Paper

from . import components

PAPER = Paper(
    "razin2022",
    authors="Razin, Maman and Cohen 2022",
    title="Implicit Regularization in Hierarchical Tensor Factorization and Deep Convolutional "
    "Neural Networks",
    claims=(
        components.lem,
        components.thm1,
        components.general,
        components.thm2,
        components.thm2_sharp,
    ),
)
