"""Domine et al. 2025: two linear layers that differ by a multiple of the identity."""

from gradflow.claims import Paper

from . import riccati

PAPER = Paper(
    "domine2025",
    authors="Domine et al. 2025",
    title="From Lazy to Rich: Exact Learning Dynamics in Deep Linear Networks",
    claims=(riccati.riccati,),
)
