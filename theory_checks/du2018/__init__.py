"""Du, Hu and Lee 2018: how balanced the layers stay."""

from gradflow.claims import Paper

from . import balance

PAPER = Paper(
    "du2018",
    authors="Du, Hu and Lee 2018",
    title="Algorithmic Regularization in Learning Deep Homogeneous Models: Layers are "
    "Automatically Balanced",
    claims=(balance.discrete,),
)
