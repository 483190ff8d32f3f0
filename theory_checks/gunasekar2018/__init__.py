"""Gunasekar, Lee, Soudry and Srebro 2018: steepest descent and least norms."""

from gradflow.claims import Paper

from . import regression

PAPER = Paper(
    "gunasekar2018",
    authors="Gunasekar, Lee, Soudry and Srebro 2018",
    title="Characterizing Implicit Bias in Terms of Optimization Geometry",
    claims=(regression.regression,),
)
