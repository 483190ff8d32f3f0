"""Weight decay: what it does to the balance of layers."""

from gradflow.claims import Paper

from . import balance

PAPER = Paper(
    "decay",
    authors="Folklore (weight decay)",
    title="Weight decay balances layers",
    claims=(balance.balance,),
)
