"""Norms of factors and quasi-norms of their product."""

from gradflow.claims import Paper

from . import identity

PAPER = Paper(
    "schatten",
    authors="Folklore (norms of factors)",
    title="The least norm of factors is a Schatten quasi-norm of the product",
    claims=(identity.identity,),
)
