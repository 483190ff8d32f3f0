"""Even, Pesme, Gunasekar and Flammarion 2023: what large steps do to the implicit bias."""

from gradflow.claims import Paper

from . import bias

PAPER = Paper(
    "even2023",
    authors="Even, Pesme, Gunasekar and Flammarion 2023",
    title="(S)GD over Diagonal Linear Networks: Implicit Regularisation, Large Stepsizes and "
    "Edge of Stability",
    claims=(bias.bias,),
)
