"""Woodworth et al. 2020: where diagonal networks end, between kernel and rich regimes."""

from gradflow.claims import Paper

from . import limits, potentials

PAPER = Paper(
    "woodworth2020",
    authors="Woodworth et al. 2020",
    title="Kernel and Rich Regimes in Overparametrized Models",
    claims=(potentials.q2, potentials.qd, limits.limits),
)
