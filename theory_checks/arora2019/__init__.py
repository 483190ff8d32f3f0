"""Arora, Cohen, Hu and Luo 2019: its claims, in its order."""

from gradflow.claims import Paper

from . import alignment, commuting, lemma1, lemma2, lemma4, nuclear_norm, product_flow, two_values

PAPER = Paper(
    "arora2019",
    authors="Arora, Cohen, Hu and Luo 2019",
    title="Implicit Regularization in Deep Matrix Factorization",
    claims=(
        lemma1.lem1,
        product_flow.lem3,
        lemma4.lem4,
        nuclear_norm.thm1,
        nuclear_norm.thm2,
        commuting.eq16,
        commuting.eq17,
        nuclear_norm.prop1,
        product_flow.thm3,
        lemma2.eq8,
        lemma2.eq9,
        alignment.eq39,
        alignment.eq41,
        alignment.cor1,
        two_values.eq11,
        two_values.eq11_asymptote,
    ),
)
