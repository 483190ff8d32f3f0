"""The proofs of razin2020's bounds, looked at from outside: numbers, and broken twins."""

from fractions import Fraction

import numpy as np
import pytest
import sympy

from gradflow.claims.proofs.interval import interval
from theory_checks.razin2020 import _printed, _printed_lemmas, _proofs, _proofs_theorem2
from theory_checks.razin2020._effective_rank import entropy_rank

HALF_ROOT = 1 / sympy.sqrt(2)
ALMOST = Fraction(99, 100)
PAIRS = {
    "lemma 6": (_proofs.sign_of_determinant, lambda: _proofs.sign_of_determinant((1,))),
    "norm": (_proofs.norm_bound, lambda: _proofs.norm_bound(HALF_ROOT * 99 / 100)),
    "erank": (_proofs.rank_bound, lambda: _proofs.rank_bound(ALMOST)),
    "irank": (_proofs.distance_bound, lambda: _proofs.distance_bound(ALMOST)),
    "lemma 18": (_proofs.entry_bound, lambda: _proofs.entry_bound(Fraction(11, 10))),
    "erank, Theorem 2": (
        lambda: _proofs_theorem2.rank_bound(HALF_ROOT),
        lambda: _proofs_theorem2.rank_bound(HALF_ROOT * 99 / 100),
    ),
    "lemma 25": (
        _proofs_theorem2.entry_bound,
        lambda: _proofs_theorem2.entry_bound(Fraction(11, 10)),
    ),
    "(8)": (lambda: _printed.thm1_norm(0.5).proof, lambda: _printed.thm1_norm(0.6).proof),
    "(9)": (lambda: _printed.thm1_erank(9.99).proof, lambda: _printed.thm1_erank(0.9).proof),
    "(10)": (lambda: _printed.thm1_irank(4.24).proof, lambda: _printed.thm1_irank(1.27).proof),
    "(17)": (lambda: _printed.thm2_irank(4, 1).proof, lambda: _printed.thm2_irank(0.9, 0).proof),
    "lemma 17": (
        lambda: _printed_lemmas.lem17(1.0).proof,
        lambda: _printed_lemmas.lem17(1.1).proof,
    ),
    "lemma 9": (lambda: _printed_lemmas.lem9(2.0).proof, lambda: _printed_lemmas.lem9(1.1).proof),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_bound_is_proved_and_its_broken_twin_refuted_by_the_same_prover(name):
    bound, broken = (make() for make in PAIRS[name])
    assert bound.outcome == "proved" and bound.steps
    assert broken.outcome == "refuted" and broken.witness


def test_a_constant_just_below_the_best_is_never_called_proved():
    assert _proofs.distance_bound(Fraction(9999, 10_000)).outcome != "proved"
    assert _proofs.rank_bound(Fraction(999_999_999, 10**9)).outcome != "proved"
    assert _proofs.norm_bound(HALF_ROOT * (1 - sympy.Rational(1, 10**9))).outcome != "proved"
    assert _proofs.entry_bound(1 + Fraction(1, 10**9)).outcome != "proved"


def test_the_rate_that_proves_proposition_4_holds_along_a_flow():
    # W' = -W G - G W from I: (39), by small steps of Runge and Kutta.
    def rate(w):
        g = w * [[0, 1], [1, 1]] - [[0, 1], [1, 0]]
        return -(w @ g + g @ w)

    w, h = np.eye(2), 0.01
    for k in range(1, 2001):
        a = rate(w)
        b = rate(w + h / 2 * a)
        c = rate(w + h / 2 * b)
        w = w + h / 6 * (a + 2 * b + 2 * c + rate(w + h * c))
        t, loss = k * h, (2 * (w[0, 1] - 1) ** 2 + w[1, 1] ** 2) / 2
        assert loss <= (9 / 4 / t) ** 0.5 + (9 / 4 / t) ** 0.25 / 2 + 1 / (4 * t)
    assert loss < 0.1


def test_bounds_of_a_point_are_those_of_numpy():
    rng = np.random.default_rng(1)
    for w in rng.integers(-9, 10, size=(30, 2, 2)) / 8:
        if abs(np.linalg.det(w)) < 1e-3:
            continue
        at = _proofs.Point(tuple(tuple(map(float, row)) for row in w))
        s = np.linalg.svd(w, compute_uv=False)
        for found, true in (
            (at.first, s[0]), (at.second, s[1]), (at.norm, np.linalg.norm(w)),
            (at.rank, 1 + entropy_rank(*s)), (at.det, np.linalg.det(w)),
        ):  # fmt: skip
            assert abs(found - interval(float(true))) < 1e-7 * (1 + abs(true))


def test_the_pairing_of_determinant_and_loss_is_attained_on_a_curve():
    w = np.random.default_rng(0).normal(size=(20_000, 2, 2)) * 2
    loss = ((w[:, 0, 1] - 1) ** 2 + (w[:, 1, 0] - 1) ** 2 + w[:, 1, 1] ** 2) / 2
    spare = loss * np.sum(w**2, axis=(1, 2)) - 2 * np.linalg.det(w)
    assert _proofs.pairing().proved and np.all(spare > -1e-12)
    for m in (0.1, 1.0, 7.0):  # equality: d^2 = c (a - c), b = 0, 2 (c^2 + d^2) = n d
        c = 2 / ((2 + m) * np.sqrt(m))
        a, d = c * (1 + m), c * np.sqrt(m)
        loss = ((d - 1) ** 2 * 2 + (a - c) ** 2) / 2
        assert 2 * (a**2 - c**2 - d**2) == pytest.approx(loss * 2 * (a**2 + c**2 + d**2))
