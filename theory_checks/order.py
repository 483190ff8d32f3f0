"""The claims of the ledger, in the order of the papers; their ids do not change."""

import itertools

_LABELS = {
    "arora2019": (
        "lem1 lem3 lem4 thm1 thm2 eq16 eq17 prop1 thm3 lem2.eq8 lem2.eq9 eq39 eq41 cor1 eq11 "
        "eq11.asymptote"
    ),
    "razin2020": (
        "prop1 prop2 thm1.norm thm1.erank thm1.irank cor1 prop3 prop4 eq39 thm2.norm thm2.erank "
        "thm2.irank lem1 lem2 prop5 lem3 thm3 lem6 lem8 lem9 lem11 lem12 lem16 lem17 lem18 lem19 "
        "lem20 lem25 lem26 eq51 appE"
    ),
    "zhao2022": (
        "eq3 eq4 eq4.spectrum eq12 thm2.sv thm2.W eq28 eq15 eq16.exponent eq17 hadamard "
        "kron_order eq20 thm1.W thm1.sv thm1.psd thm1.balance thm3.W thm3.sv depth1.eq27 "
        "depth1.gd adam_moments"
    ),
    "wang2024": (
        "eq6 min_norm erank_example irank_example thm1.norm thm1.erank thm1.irank thm2 lem4 lem5 "
        "eq20 lem6 entropy_step irank_proof"
    ),
}
ORDER = tuple(f"{paper}.{label}" for paper, labels in _LABELS.items() for label in labels.split())
"""All ids, without those of corrected statements, which follow what they correct."""

_PLACE = dict(zip(ORDER, itertools.count(), strict=False))


def place(id: str) -> tuple[int, bool]:
    """What to sort an id by; those that are not in the ledger come last."""
    printed = id.removesuffix(".corrected")
    return _PLACE.get(printed, len(ORDER)), id != printed
