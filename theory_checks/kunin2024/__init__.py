"""Kunin et al. 2024: one linear neuron, what it conserves and where it ends."""

from gradflow.claims import Paper

from . import neuron

PAPER = Paper(
    "kunin2024",
    authors="Kunin et al. 2024",
    title="Get rich quick: exact solutions reveal how unbalanced initializations promote rapid "
    "feature learning",
    claims=(neuron.invariant, neuron.bias),
)
