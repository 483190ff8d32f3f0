"""Bah, Rauhut, Terstiege and Westdickenberg 2022: the rank along the flow of linear networks."""

from gradflow.claims import Paper

from . import rank

PAPER = Paper(
    "bah2022",
    authors="Bah, Rauhut, Terstiege and Westdickenberg 2022",
    title="Learning Deep Linear Neural Networks: Riemannian Gradient Flows and Convergence to "
    "Global Minimizers",
    claims=(rank.rank, rank.critical),
)
