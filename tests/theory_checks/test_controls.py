"""Negative controls are close to the truth, or no small change of the statement exists."""

import inspect
import math

import pytest

from gradflow.claims import select
from gradflow.claims.judging import FAR_OFF
from gradflow.claims.registry import load_papers

load_papers()
CLAIMS = {made.id: made for made in select([])}
NEAR = 0.11
"""A constant relative to the true one, or an exponent; some are rounded."""
EXPONENTS = {"power"}
"""Parameters that are counted as they are, whatever the true one."""
BEST = {
    "razin2020.thm1.erank": {"constant": (1.0, "1")},
    "razin2020.thm1.irank": {"constant": (math.sqrt(2), r"\sqrt2")},
    "razin2020.thm2.erank": {"constant": (1 / math.sqrt(2), r"\frac1{\sqrt2}")},
    "razin2020.thm2.irank": {"constant": (1.0, r"|\epsilon|"), "extra": (0.0, "1")},
    "razin2020.prop5": {"rate": (0.5, r"(L-1)\,L^{-L/2}")},
    "razin2020.lem9": {"factor": (1.12489, r"1.12489\dots")},
    "razin2020.lem19": {"constant": (1.0, r"\sigma_2 \le \sqrt{2\ell}")},
    "razin2020.lem26": {"constant": (1.0, r"|\epsilon|"), "extra": (0.0, "1")},
    "razin2021.thm2": {"share": (3**-0.5, r"c_r^{2/N} + N^{-1/(N-1)}\epsilon")},
    "razin2022.thm2": {
        "share": (4 ** (-1 / 3), r"\sigma^{2/L_\nu} + L_\nu^{-1/(L_\nu-1)}\epsilon")
    },
    "wang2024.thm1.erank.corrected": {"constant": (1.0, "1")},
    "wang2024.thm1.irank.corrected": {"constant": (math.sqrt(2), r"\sqrt2")},
}
"""Where the printed constant is not the best one, a control is near the best: in the parameter's
units, and as the claim's `best` has it."""
ADDED = {"razin2020.lem17": {"share": 1.0}}
"""Of a term that the statement lacks, the best factor with which it could be added."""
UNITS = {
    "limit.dual": ("in tenths", 0.1),
    "razin2020.thm2.norm": ("of the root of the loss, so twice", 0.5),
    "razin2020.thm2.norm.corrected": ("of the root of the loss, so twice", 0.5),
}
"""Of a parameter, in what a constant or an exponent of the loss is counted."""
COUNTED = {"razin2020.lem6", "razin2020.lem20", "razin2021.norm_blowup", "bah2022.critical"}
"""The next whole number: of layers, of components, of singular vectors."""
PRINTED = {"corrected", "printed", "exchanged"}
"""Parameters by which a corrected statement's control is what is printed."""
FLIPS = {
    "saxe2014.random_start": "the other layer's share in the mode",
    "gunasekar2018.regression": "the other norm",
    "arora2019.lem1": "signs and order are kept, or not",
    "arora2019.cor1": "one side of singular vectors",
    "razin2020.thm3": "a hypothesis is dropped",
    "li2021.glrl": "the point whose eigenvector it is",
    "razin2021.thm1": "a hypothesis is dropped",
    "razin2021.general": "the formula for balanced starts",
    "razin2022.thm1": "a hypothesis is dropped",
    "razin2022.general": "the formula for balanced starts",
    "zhao2022.eq4": "the order of a Kronecker product",
    "pesme2023.l1": "entries leave, or not",
    "limit.pairing": "which start a plateau has",
    "limit.rank": "a hypothesis is dropped",
}
"""Flips, and of what."""


def default_of(made, name):
    """What the parameter is in the statement itself."""
    return inspect.signature(made.function).parameters[name].default


def distance(value, true, exponent=False):
    """Relative; of exponents, and from 0, as it is."""
    size = 1.0 if exponent or not true else abs(float(true))
    return abs(float(value) - float(true)) / size


def numbers():
    """Controls that change a number, by id and parameter."""
    for id, made in CLAIMS.items():
        for name, value in made.control.items():
            if not isinstance(value, bool) and id not in COUNTED:
                yield id, name


@pytest.mark.parametrize(("id", "name"), list(numbers()))
def test_a_number_is_changed_by_a_tenth(id, name):
    made = CLAIMS[id]
    true = ADDED.get(id, {}).get(name, default_of(made, name))
    true, _ = BEST.get(id, {}).get(name, (true, ""))
    _, unit = UNITS.get(id, ("", 1.0))
    most = NEAR
    if made.kind == "approximation":  # nothing nearer is refuted
        assert made.accuracy <= 0.1  # else what is far off would be near
        most = FAR_OFF * made.accuracy + 0.03
    assert unit * distance(made.control[name], true, name in EXPONENTS) <= most


def test_a_far_control_would_be_found():
    assert distance(1.0, 0.5, True) > NEAR and distance(2.0, 1.0) > NEAR
    assert distance(1.27, 4.24) > NEAR and distance(0.4, 0.5) > NEAR and distance(0.2, 0) > NEAR
    assert distance(0.6, 0.5, True) <= NEAR and distance(1.1, 1.0) <= NEAR


@pytest.mark.parametrize("id", sorted(COUNTED))
def test_a_count_is_changed_by_one(id):
    made = CLAIMS[id]
    ((name, value),) = made.control.items()
    counts = default_of(made, name)
    counts = counts if isinstance(counts, tuple) else (counts,)
    (value,) = value if isinstance(value, tuple) else (value,)
    assert isinstance(value, int) and value not in counts
    assert min(abs(value - count) for count in counts) == 1


def test_exceptions_are_claims_with_such_parameters():
    for id, true in (*BEST.items(), *ADDED.items()):
        assert set(true) <= set(CLAIMS[id].control)
    assert set(UNITS) <= set(CLAIMS)


@pytest.mark.parametrize("id", sorted(BEST))
def test_a_best_constant_is_the_claims_own(id):
    improved = {found.best for found in CLAIMS[id].best if found.improves}
    assert {latex for _, latex in BEST[id].values()} <= improved


def test_nothing_but_these_is_flipped_as_a_whole():
    flipped = {
        id for id, made in CLAIMS.items()
        if any(isinstance(value, bool) for value in made.control.values())
    }  # fmt: skip
    printed = {id for id in flipped if CLAIMS[id].corrects and set(CLAIMS[id].control) <= PRINTED}
    assert flipped - printed == set(FLIPS)
    assert all(CLAIMS[id].control_text for id in flipped)
