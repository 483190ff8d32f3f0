"""Saxe, McClelland and Ganguli 2014: its closed forms, in its order, and one limit of ours."""

from gradflow.claims import Paper

from . import depth, modes, random_start, unequal

PAPER = Paper(
    "saxe2014",
    authors="Saxe, McClelland and Ganguli 2014",
    title="Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
    claims=(
        modes.mode,
        modes.time,
        unequal.unequal,
        depth.depth,
        random_start.random_start,
    ),
)
