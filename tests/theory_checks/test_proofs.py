"""Statements that are proved; the same prover refutes their negative controls."""

import itertools
from fractions import Fraction

import pytest

from gradflow.claims import Case, Settings, select
from gradflow.claims.oracles import component_cases
from gradflow.claims.registry import load_papers
from tests.theory_checks.verdicts import VERDICTS
from theory_checks.arora2019 import _proofs_nuclear, _proofs_vectors
from theory_checks.razin2020 import _printed_lemmas, _proofs_flows, _proofs_sharp, _proofs_solutions
from theory_checks.wang2024 import _proofs as wang2024
from theory_checks.zhao2022 import _proofs_adam

load_papers()

PROVED = (
    "arora2019.lem2.eq8.corrected", "arora2019.lem2.eq9.corrected",
    "arora2019.cor1", "arora2019.thm1", "arora2019.thm2", "arora2019.prop1",
    "arora2019.lem3", "arora2019.lem4", "arora2019.eq16", "arora2019.eq17.corrected",
    "arora2019.thm3", "arora2019.eq39.corrected", "arora2019.eq41", "arora2019.eq11",
    "razin2020.thm1.norm", "razin2020.thm1.norm.sharp", "razin2020.thm1.erank",
    "razin2020.thm1.erank.sharp", "razin2020.thm1.irank", "razin2020.thm1.irank.sharp",
    "razin2020.cor1", "razin2020.thm2.norm.corrected", "razin2020.thm2.erank",
    "razin2020.thm2.erank.sharp", "razin2020.thm2.irank", "razin2020.thm2.irank.sharp",
    "razin2020.prop1", "razin2020.prop2", "razin2020.prop4", "razin2020.prop5",
    "razin2020.eq39", "razin2020.lem1", "razin2020.lem2", "razin2020.lem16", "razin2020.appE",
    "razin2020.lem3", "razin2020.lem6", "razin2020.lem8", "razin2020.lem9", "razin2020.lem11",
    "razin2020.lem12", "razin2020.lem17", "razin2020.lem18", "razin2020.lem19", "razin2020.lem20",
    "razin2020.lem25", "razin2020.lem26", "razin2020.eq51.corrected", "zhao2022.eq3",
    "zhao2022.eq4", "zhao2022.eq4.spectrum", "zhao2022.eq12.corrected",
    "zhao2022.thm2.sv.corrected", "zhao2022.thm2.W.corrected", "zhao2022.eq28.corrected",
    "zhao2022.eq16.exponent.corrected", "zhao2022.eq17", "zhao2022.hadamard.corrected",
    "zhao2022.kron_order.corrected", "zhao2022.eq20.corrected", "zhao2022.thm1.psd.corrected",
    "zhao2022.thm1.balance.corrected", "zhao2022.adam_moments.corrected",
    "zhao2022.depth1.eq27.corrected", "zhao2022.depth1.gd.corrected", "wang2024.eq6.corrected",
    "wang2024.min_norm.corrected", "wang2024.irank_example", "wang2024.thm1.norm.corrected",
    "wang2024.thm1.erank.corrected", "wang2024.thm1.irank.corrected", "wang2024.thm2",
    "wang2024.lem4", "wang2024.lem5.corrected", "wang2024.eq20", "wang2024.lem6",
    "wang2024.entropy_step.corrected",
    "wang2024.irank_proof.corrected",
    "saxe2014.mode", "saxe2014.time", "saxe2014.unequal", "gidel2019.recursion",
    "domine2025.riccati", "kunin2024.invariant", "kunin2024.bias",
    "li2021.norms", "limit.rank", "limit.dual", "pesme2023.sinh", "even2023.bias",
    "du2018.discrete", "decay.balance", "arora2018.no_potential", "arora2018.two_layers",
    "chou2024.recursion", "gunasekar2018.regression", "razin2021.norm_blowup",
    "razin2020.thm2.norm.sharp", "razin2020.lem1.sharp", "razin2020.prop5.sharp",
    "razin2020.lem9.sharp", "razin2020.lem18.sharp", "razin2020.lem19.sharp",
    "razin2020.lem25.sharp", "razin2020.lem26.sharp", "razin2021.thm2.sharp",
    "razin2022.thm2.sharp",
)  # fmt: skip
MODELLED = (
    "zhao2022.thm1.W.corrected", "zhao2022.thm1.sv.corrected", "zhao2022.thm3.W.corrected",
    "zhao2022.thm3.sv.corrected",
)  # fmt: skip
"""Formulas that are exact under the model (15), which itself is measured."""
PARTS = ("arora2019.lem1", "razin2020.prop3")
"""What is left of their proofs when citations are taken away is not the whole statement."""
OTHERWISE = {"zhao2022.thm1.psd.corrected", "zhao2022.kron_order.corrected"}
"""Their control is the printed form, which whole numbers refute."""
TINY = Fraction(1, 10**9)
LATER = {"razin2020.thm2.norm.corrected": 2, "wang2024.entropy_step.corrected": 7}
"""Where other cases come first, how many to look at."""


def _case(proof):
    return Case("proof", proof=proof, whole=True, hypotheses={"any": True})


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


@pytest.mark.parametrize("id", MODELLED)
def test_what_follows_from_the_model_is_proved_as_a_part_and_its_control_refuted(id):
    (made,) = (one for one in select([id]) if one.id == id)
    (case,) = proofs(made, broken=False)
    assert VERDICTS[id] == "approximates" and not case.whole and case.proof.proved
    (broken,) = proofs(made, broken=True)
    assert broken.proof.outcome == "refuted" and broken.proof.witness


@pytest.mark.parametrize("id", PARTS)
def test_a_proof_that_rests_on_citations_is_a_part_and_its_control_refuted(id):
    (made,) = (one for one in select([id]) if one.id == id)
    (case,) = proofs(made, broken=False)
    assert VERDICTS[id] == "holds" and not case.whole and case.proof.proved
    (broken,) = proofs(made, broken=True)
    assert broken.proof.outcome == "refuted" and broken.proof.witness


@pytest.mark.parametrize(
    "almost",
    [
        lambda: _proofs_solutions.prop1(1e-9),
        lambda: _proofs_solutions.prop2(1e-9),
        lambda: _proofs_solutions.prop3(TINY),
        lambda: _proofs_flows.eq39(2 - 1e-9),
        lambda: _proofs_flows.prop4(1e-9),
        lambda: _proofs_flows.lem1(1 - 1e-9),
        lambda: _proofs_flows.lem2(1 - 1e-9),
        lambda: _proofs_flows.prop5(1 - 1e-9),
        lambda: _proofs_flows.lem16(1 - 1e-9),
        lambda: _printed_lemmas.lem17(1 + 1e-9),
        lambda: _proofs_flows.app_e(1 + 1e-9),
        lambda: _case(_proofs_sharp.entry(1 + TINY)),
        lambda: _case(_proofs_sharp.entry_of_theorem2(1 - TINY)),
        lambda: _case(_proofs_sharp.largest_value(1 + TINY)),
        lambda: _case(_proofs_sharp.frobenius(1 - TINY)),
        lambda: _case(_proofs_sharp.nearby(1 - TINY)),
        lambda: _case(_proofs_sharp.entropy(1 - TINY)),
        lambda: _case(_proofs_sharp.drift(1 - TINY, _proofs_flows._logistic)),
        lambda: _case(component_cases.arithmetic_geometric(1 + TINY)),
        lambda: _proofs_vectors.lem2("left", 1 + 1e-9),
        lambda: _proofs_vectors.lem2("right", 1 + 1e-9),
        lambda: _proofs_nuclear.least_norm(True, TINY),
        lambda: _proofs_nuclear.least_norm(False, TINY),
        lambda: _proofs_nuclear.prop1(1e-9),
        lambda: _printed_lemmas.lem8(1e-9),
        lambda: _printed_lemmas.lem11(1 + 1e-9),
        lambda: _printed_lemmas.lem12(1 - 1e-9),
        lambda: _printed_lemmas.entropy_step(1 - 1e-9),
        lambda: _proofs_adam.moments(True, 1 + TINY),
        lambda: _proofs_adam.eq27(True, 1 - TINY),
        lambda: wang2024.lem5(1 + 1e-9),
        lambda: wang2024.lem6(1 - 1e-9),
        lambda: wang2024.irank_example(1 - 1e-9),
        lambda: wang2024.irank_proof(1 - 1e-9),
    ],
)
def test_what_is_off_by_a_billionth_is_never_called_proved(almost):
    assert almost().proof.outcome != "proved"
