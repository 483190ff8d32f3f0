"""The ledger's verdicts so far, so that no change goes by unseen.

They are no evidence. That is in the checks: their floors, their controls, and for each `fails` a
counterexample that is recomputed exactly whenever the check runs.
"""

from typing import Any

import pytest

from gradflow.claims import Settings, check, select
from gradflow.claims.registry import load_papers

VERDICTS = {
    "arora2019.lem1": "holds",
    "arora2019.lem3": "holds",
    "arora2019.lem4": "holds",
    "arora2019.thm1": "holds",
    "arora2019.thm2": "holds",
    "arora2019.eq16": "holds",
    "arora2019.eq17": "fails",
    "arora2019.eq17.corrected": "holds",
    "arora2019.prop1": "holds",
    "arora2019.thm3": "holds",
    "arora2019.lem2.eq8": "fails",
    "arora2019.lem2.eq8.corrected": "holds",
    "arora2019.lem2.eq9": "fails",
    "arora2019.lem2.eq9.corrected": "holds",
    "arora2019.eq39": "fails",
    "arora2019.eq39.corrected": "holds",
    "arora2019.eq41": "holds",
    "arora2019.cor1": "holds",
    "arora2019.eq11": "holds",
    "arora2019.eq11.asymptote": "fails",
    "arora2019.eq11.asymptote.corrected": "holds",
    "razin2020.prop1": "holds",
    "razin2020.prop2": "holds",
    "razin2020.thm1.norm": "holds",
    "razin2020.thm1.norm.sharp": "holds",
    "razin2020.thm1.erank": "holds",
    "razin2020.thm1.erank.sharp": "holds",
    "razin2020.thm1.irank": "holds",
    "razin2020.thm1.irank.sharp": "holds",
    "razin2020.cor1": "holds",
    "razin2020.prop3": "holds",
    "razin2020.prop4": "holds",
    "razin2020.eq39": "holds",
    "razin2020.thm2.norm": "fails",
    "razin2020.thm2.norm.corrected": "holds",
    "razin2020.thm2.erank": "holds",
    "razin2020.thm2.erank.sharp": "holds",
    "razin2020.thm2.irank": "holds",
    "razin2020.thm2.irank.sharp": "holds",
    "razin2020.lem1": "holds",
    "razin2020.lem2": "holds",
    "razin2020.prop5": "holds",
    "razin2020.lem3": "holds",
    "razin2020.thm3": "unreachable",
    "razin2020.lem6": "holds",
    "razin2020.lem8": "holds",
    "razin2020.lem9": "holds",
    "razin2020.lem11": "holds",
    "razin2020.lem12": "holds",
    "razin2020.lem16": "holds",
    "razin2020.lem17": "holds",
    "razin2020.lem18": "holds",
    "razin2020.lem19": "holds",
    "razin2020.lem20": "holds",
    "razin2020.lem25": "holds",
    "razin2020.lem26": "holds",
    "razin2020.eq51": "fails",
    "razin2020.eq51.corrected": "holds",
    "razin2020.appE": "holds",
    "razin2021.lem1": "holds",
    "razin2021.thm1": "holds",
    "razin2021.general": "holds",
    "razin2021.thm2": "holds",
    "razin2021.escape": "holds",
    "razin2021.norm_blowup": "holds",
    "razin2022.lem": "holds",
    "razin2022.thm1": "holds",
    "razin2022.general": "holds",
    "razin2022.thm2": "holds",
    "zhao2022.eq3": "holds",
    "zhao2022.eq4": "holds",
    "zhao2022.eq4.spectrum": "holds",
    "zhao2022.eq12": "fails",
    "zhao2022.eq12.corrected": "holds",
    "zhao2022.thm2.sv": "fails",
    "zhao2022.thm2.sv.corrected": "holds",
    "zhao2022.thm2.W": "fails",
    "zhao2022.thm2.W.corrected": "holds",
    "zhao2022.eq28": "fails",
    "zhao2022.eq28.corrected": "holds",
    "zhao2022.eq15": "approximates",
    "zhao2022.eq16.exponent": "fails",
    "zhao2022.eq16.exponent.corrected": "holds",
    "zhao2022.eq17": "holds",
    "zhao2022.hadamard": "fails",
    "zhao2022.hadamard.corrected": "holds",
    "zhao2022.kron_order": "fails",
    "zhao2022.kron_order.corrected": "holds",
    "zhao2022.eq20": "fails",
    "zhao2022.eq20.corrected": "holds",
    "zhao2022.thm1.W": "fails",
    "zhao2022.thm1.W.corrected": "approximates",
    "zhao2022.thm1.sv": "fails",
    "zhao2022.thm1.sv.corrected": "approximates",
    "zhao2022.thm1.psd": "fails",
    "zhao2022.thm1.psd.corrected": "holds",
    "zhao2022.thm1.balance": "fails",
    "zhao2022.thm1.balance.corrected": "holds",
    "zhao2022.thm3.W": "fails",
    "zhao2022.thm3.W.corrected": "approximates",
    "zhao2022.thm3.sv": "fails",
    "zhao2022.thm3.sv.corrected": "approximates",
    "zhao2022.depth1.eq27": "fails",
    "zhao2022.depth1.eq27.corrected": "holds",
    "zhao2022.depth1.gd": "fails",
    "zhao2022.depth1.gd.corrected": "holds",
    "zhao2022.adam_moments": "fails",
    "zhao2022.adam_moments.corrected": "holds",
    "wang2024.eq6": "fails",
    "wang2024.eq6.corrected": "holds",
    "wang2024.min_norm": "fails",
    "wang2024.min_norm.corrected": "holds",
    "wang2024.erank_example": "fails",
    "wang2024.erank_example.corrected": "holds",
    "wang2024.irank_example": "holds",
    "wang2024.thm1.norm": "fails",
    "wang2024.thm1.norm.corrected": "holds",
    "wang2024.thm1.erank": "fails",
    "wang2024.thm1.erank.corrected": "holds",
    "wang2024.thm1.irank": "fails",
    "wang2024.thm1.irank.corrected": "holds",
    "wang2024.thm2": "holds",
    "wang2024.lem4": "holds",
    "wang2024.lem5": "fails",
    "wang2024.lem5.corrected": "holds",
    "wang2024.eq20": "holds",
    "wang2024.lem6": "holds",
    "wang2024.entropy_step": "fails",
    "wang2024.entropy_step.corrected": "holds",
    "wang2024.irank_proof": "fails",
    "wang2024.irank_proof.corrected": "holds",
}

LONG = (
    "arora2019.lem1", "arora2019.lem3", "arora2019.lem4", "arora2019.thm2", "arora2019.thm3",
    "arora2019.lem2.eq8", "arora2019.lem2.eq8.corrected", "razin2020.thm1.norm",
    "razin2020.thm1.erank", "razin2020.cor1", "razin2020.prop3", "razin2020.eq39",
    "razin2020.thm2.norm", "razin2020.thm2.norm.corrected", "razin2020.thm2.erank",
    "razin2020.thm2.irank", "razin2020.lem1", "razin2020.prop5", "razin2020.lem3",
    "razin2020.lem6", "razin2020.lem11", "razin2020.lem12", "razin2020.lem17", "razin2020.lem19",
    "razin2020.lem20", "razin2020.lem25", "razin2020.lem26", "razin2020.appE", "zhao2022.eq3",
    "zhao2022.eq4", "zhao2022.thm2.sv", "zhao2022.thm2.sv.corrected", "zhao2022.thm2.W",
    "zhao2022.thm2.W.corrected", "zhao2022.eq15", "zhao2022.thm1.W", "zhao2022.thm1.W.corrected",
    "zhao2022.thm1.sv", "zhao2022.thm1.sv.corrected", "zhao2022.thm1.balance",
    "zhao2022.thm1.balance.corrected", "zhao2022.thm3.W", "zhao2022.thm3.W.corrected",
    "zhao2022.thm3.sv", "zhao2022.thm3.sv.corrected", "zhao2022.depth1.gd",
    "zhao2022.depth1.gd.corrected", "wang2024.thm1.norm", "wang2024.thm1.norm.corrected",
    "wang2024.thm2", "wang2024.lem4", "wang2024.lem5", "wang2024.lem5.corrected",
    "razin2021.lem1", "razin2021.thm1", "razin2021.general", "razin2021.thm2", "razin2021.escape",
    "razin2021.norm_blowup", "razin2022.lem", "razin2022.thm1", "razin2022.general",
    "razin2022.thm2",
)  # fmt: skip
"""Claims that take most of the time of all; `make theorems` checks them too."""


def of_paper(paper: str) -> list[Any]:
    """The ids of a paper's claims, as parameters of a test; long ones are slow tests."""
    return [
        pytest.param(id, marks=pytest.mark.slow if id in LONG else ())
        for id in VERDICTS
        if id.partition(".")[0] == paper
    ]


def assert_verdict_and_control(id: str) -> None:
    """Check a claim quickly: its verdict is the one above, and its broken twin is refuted."""
    load_papers()
    (made,) = (one for one in select([id]) if one.id == id)
    entry = check(made, Settings(quick=True))
    assert entry.error is None, entry.error
    assert entry.verdict == VERDICTS[id], entry.finding.reason
    assert entry.control_verdict == "fails", entry.control.reason
    if entry.verdict == "fails":
        assert entry.finding.counterexample["confirmed"] is True
        assert made.flaw and made.severity and made.survives and made.corrected in VERDICTS
