"""Gunasekar et al. 2017: the conjecture on the least nuclear norm."""

from gradflow.claims import Paper

from . import conjecture

PAPER = Paper(
    "gunasekar2017",
    authors="Gunasekar, Woodworth, Bhojanapalli, Neyshabur and Srebro 2017",
    title="Implicit Regularization in Matrix Factorization",
    claims=(conjecture.conjecture,),
)
