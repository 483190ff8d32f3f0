"""Arora, Cohen and Hazan 2018: overparameterisation is the gradient of no regulariser."""

from gradflow.claims import Paper

from . import potential

PAPER = Paper(
    "arora2018",
    authors="Arora, Cohen and Hazan 2018",
    title="On the Optimization of Deep Networks: Implicit Acceleration by Overparameterization",
    claims=(potential.no_potential, potential.two_layers),
)
