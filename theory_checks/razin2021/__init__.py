"""Razin, Maman and Cohen 2021: its claims, in its order, and three of ours."""

from gradflow.claims import Paper

from . import components, escape, norm_blowup

PAPER = Paper(
    "razin2021",
    authors="Razin, Maman and Cohen 2021",
    title="Implicit Regularization in Tensor Factorization",
    claims=(
        components.lem1,
        components.thm1,
        components.general,
        components.thm2,
        components.thm2_sharp,
        escape.escape,
        norm_blowup.norm_blowup,
    ),
)
