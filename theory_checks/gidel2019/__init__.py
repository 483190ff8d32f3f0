"""Gidel, Bach and Lacoste-Julien 2019: gradient descent of two linear layers, in its order."""

from gradflow.claims import Paper

from . import descent, sequence

PAPER = Paper(
    "gidel2019",
    authors="Gidel, Bach and Lacoste-Julien 2019",
    title="Implicit Regularization of Discrete Gradient Dynamics in Linear Neural Networks",
    claims=(descent.recursion, descent.order, sequence.sequence),
)
