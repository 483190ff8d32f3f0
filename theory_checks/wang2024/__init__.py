"""Wang and Basu Roy Chowdhury 2024: its claims, in its order."""

from gradflow.claims import Paper

from . import matrix_flow, rank_lemmas, regression

PAPER = Paper(
    "wang2024",
    authors="Wang and Basu Roy Chowdhury 2024",
    title="Implicit regularization of gradient descent",
    claims=(
        regression.eq6,
        regression.min_norm,
        regression.erank_example,
        regression.irank_example,
        matrix_flow.thm1_norm,
        matrix_flow.thm1_erank,
        matrix_flow.thm1_irank,
        matrix_flow.thm2,
        matrix_flow.lem4,
        matrix_flow.lem5,
        rank_lemmas.eq20,
        rank_lemmas.lem6,
        rank_lemmas.entropy_step,
        rank_lemmas.irank_proof,
    ),
)
