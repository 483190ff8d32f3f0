"""Conjectures about the limits of flows, and a search for their counterexamples.

A room of its own, and none of `gradflow.claims`: a claim is a statement in print, with hypotheses,
a control and a verdict on chosen cases, and its inequalities are of plain numbers, on which a
simplex method walks (`claims.oracles.search`). A conjecture is a guess about an end that a flow has
to be followed to; it has no verdict but a counterexample or a count of what was looked at, and its
problems are discrete: integers that can be enumerated, drawn and shrunk. What comes of a search may
become a claim; claims may search by this room.
"""

from gradflow.conjectures.commuting_sensing import CommutingSensing
from gradflow.conjectures.conjecture import Conjecture, Judged
from gradflow.conjectures.family import AbstractFamily, Trial
from gradflow.conjectures.limits import (
    AbstractLimit,
    GivenStart,
    Reached,
    SmallStarts,
    Undetermined,
    VanishingStart,
)
from gradflow.conjectures.margins import (
    Margin,
    determinant_sign_kept,
    least_l1_norm,
    least_nuclear_norm,
    least_trace,
    rank_at_most,
)
from gradflow.conjectures.product_completions import ProductCompletions
from gradflow.conjectures.regressions import Regressions
from gradflow.conjectures.result import Counterexample, SearchResult
from gradflow.conjectures.search import find_counterexample
from gradflow.conjectures.symmetric_completions import SymmetricCompletions

__all__ = [
    "AbstractFamily",
    "AbstractLimit",
    "CommutingSensing",
    "Conjecture",
    "Counterexample",
    "GivenStart",
    "Judged",
    "Margin",
    "ProductCompletions",
    "Reached",
    "Regressions",
    "SearchResult",
    "SmallStarts",
    "SymmetricCompletions",
    "Trial",
    "Undetermined",
    "VanishingStart",
    "determinant_sign_kept",
    "find_counterexample",
    "least_l1_norm",
    "least_nuclear_norm",
    "least_trace",
    "rank_at_most",
]
