"""Pesme and Flammarion 2023: diagonal networks from a vanishing start, saddle after saddle."""

from gradflow.claims import Paper

from . import path, sinh

PAPER = Paper(
    "pesme2023",
    authors="Pesme and Flammarion 2023",
    title="Saddle-to-Saddle Dynamics in Diagonal Linear Networks",
    claims=(sinh.sinh, path.path, path.least_l1),
)
