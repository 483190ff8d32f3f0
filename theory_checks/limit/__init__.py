"""The limit of a vanishing start: claims of our own on `gradflow.saddle_path`."""

from gradflow.claims import Paper

from . import pairing, rank, thresholds

PAPER = Paper(
    "limit",
    authors="Ours (vanishing starts)",
    title="The vanishing start as a dynamics",
    claims=(pairing.pairs, rank.rank, thresholds.dual, thresholds.thresholds),
)
