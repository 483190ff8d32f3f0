"""Li, Luo and Lyu 2021: from a vanishing start, one rank after the other."""

from gradflow.claims import Paper

from . import counterexample, glrl, phase1

PAPER = Paper(
    "li2021",
    authors="Li, Luo and Lyu 2021",
    title="Towards Resolving the Implicit Bias of Gradient Descent for Matrix Factorization: "
    "Greedy Low-Rank Learning",
    claims=(
        phase1.phase1,
        phase1.rate,
        counterexample.least_norm,
        counterexample.counterexample,
        glrl.glrl,
    ),
)
