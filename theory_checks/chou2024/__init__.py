"""Chou, Gieshoff, Maly and Rauhut 2024: gradient descent from multiples of the identity."""

from gradflow.claims import Paper

from . import identity_start

PAPER = Paper(
    "chou2024",
    authors="Chou, Gieshoff, Maly and Rauhut 2024",
    title="Gradient Descent for Deep Matrix Factorization: Dynamics and Implicit Bias towards "
    "Low Rank",
    claims=(identity_start.recursion, identity_start.hitting),
)
