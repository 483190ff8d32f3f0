"""Statements that are proved; the same prover refutes their negative controls."""

import itertools

import pytest

from gradflow.claims import Settings, select
from gradflow.claims.registry import load_papers
from tests.theory_checks.verdicts import VERDICTS

load_papers()

PROVED = (
    "arora2019.lem3", "arora2019.lem4", "arora2019.eq16", "arora2019.eq17.corrected",
    "arora2019.thm3", "arora2019.eq39.corrected", "arora2019.eq41", "arora2019.eq11",
    "razin2020.thm1.norm", "razin2020.thm1.norm.sharp", "razin2020.thm1.erank",
    "razin2020.thm1.erank.sharp", "razin2020.thm1.irank", "razin2020.thm1.irank.sharp",
    "razin2020.cor1", "razin2020.thm2.norm.corrected", "razin2020.thm2.erank",
    "razin2020.thm2.erank.sharp", "razin2020.thm2.irank", "razin2020.thm2.irank.sharp",
    "razin2020.lem3", "razin2020.lem6", "razin2020.lem8", "razin2020.lem9", "razin2020.lem11",
    "razin2020.lem12", "razin2020.lem17", "razin2020.lem18", "razin2020.lem19", "razin2020.lem20",
    "razin2020.lem25", "razin2020.lem26", "razin2020.eq51.corrected", "zhao2022.eq3",
    "zhao2022.eq4", "zhao2022.eq4.spectrum", "zhao2022.eq12.corrected",
    "zhao2022.thm2.sv.corrected", "zhao2022.thm2.W.corrected", "zhao2022.eq28.corrected",
    "zhao2022.eq16.exponent.corrected", "zhao2022.eq17", "zhao2022.hadamard.corrected",
    "zhao2022.kron_order.corrected", "zhao2022.eq20.corrected", "zhao2022.thm1.psd.corrected",
    "zhao2022.thm1.balance.corrected", "wang2024.eq6.corrected", "wang2024.min_norm.corrected",
    "wang2024.irank_example", "wang2024.thm1.norm.corrected", "wang2024.thm1.erank.corrected",
    "wang2024.thm1.irank.corrected", "wang2024.thm2", "wang2024.lem4", "wang2024.lem5.corrected",
    "wang2024.eq20", "wang2024.lem6", "wang2024.entropy_step.corrected",
    "wang2024.irank_proof.corrected", "li2021.norms",
    "limit.rank", "limit.dual", "pesme2023.sinh", "even2023.bias", "du2018.discrete",
    "decay.balance", "arora2018.no_potential", "arora2018.two_layers", "chou2024.recursion",
    "gunasekar2018.regression",
)  # fmt: skip
OTHERWISE = {"zhao2022.thm1.psd.corrected", "zhao2022.kron_order.corrected"}
"""Their control is the printed form, which whole numbers refute."""
LATER = {"razin2020.thm2.norm.corrected": 2, "wang2024.entropy_step.corrected": 7}
"""Where other cases come first, how many to look at."""


def proofs(made, broken):
    cases = itertools.islice(made.cases(Settings(), broken), LATER.get(made.id, 1))
    return [case for case in cases if case.proof is not None]


@pytest.mark.parametrize("id", PROVED)
def test_a_statement_is_proved_and_its_control_refuted_by_the_same_prover(id):
    (made,) = (one for one in select([id]) if one.id == id)
    (case,) = proofs(made, broken=False)
    assert VERDICTS[id] == "holds" and case.whole and case.proof.proved
    assert case.proof.steps
    if id not in OTHERWISE:
        (broken,) = proofs(made, broken=True)
        assert broken.proof.outcome == "refuted" and broken.proof.witness
