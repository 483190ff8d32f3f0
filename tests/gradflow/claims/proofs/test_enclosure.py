"""Enclosed flows: they hold the solution, they are narrow, and what is wrong widens them."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from gradflow.claims.proofs import enclose_flow
from gradflow.claims.proofs import enclosure as module
from gradflow.claims.proofs.enclosure import log_norm, positive_definite
from gradflow.claims.proofs.interval import ends, interval, precision
from gradflow.claims.proofs.series import Polynomial

END = Fraction(3, 4)


def cubic(x):
    """x' = -x^3: x = (1 + 2t)^(-1/2) from 1."""
    return [-x[0] * x[0] * x[0]]


def coupled(x):
    """The flow down (x y - 1)^2 / 2; x^2 - y^2 is kept."""
    r = x[0] * x[1] - 1
    return [-r * x[1], -r * x[0]]


def last(field, start, **options):
    *_, step = enclose_flow(field, start, **{"end": END, "bits": 96, **options})
    return step


def test_the_solution_is_inside_and_the_enclosure_is_narrow():
    found = last(cubic, [1]).end[0]
    with mpmath.workprec(120):
        assert 1 / mpmath.sqrt(1 + 2 * mpmath.mpf(3) / 4) in found
        assert found.delta < mpmath.mpf(10) ** -24


def test_what_is_conserved_is_so_in_enclosures():
    x, y = last(coupled, [2, Fraction(1, 4)]).end
    with precision(96):
        kept = x * x - y * y
    assert 63 in kept * 16 and kept.delta < mpmath.mpf(10) ** -20
    assert 0.9 < float(ends(x * y)[0]) < 1


def test_pieces_cover_every_time():
    for step in enclose_flow(cubic, [1], end=END, bits=64):
        pieces = list(step.pieces(3))
        low, high = ends(pieces[0][0])[0], ends(pieces[-1][0])[1]
        assert low <= float(step.time) and high >= float(step.time + step.width)
        for t, (x,) in pieces:
            with mpmath.workprec(100):
                assert all(1 / mpmath.sqrt(1 + 2 * at) in x for at in ends(t))


def test_another_start_has_another_end():
    one, other = (last(cubic, [Fraction(1) + shift]).end[0] for shift in (0, Fraction(1, 2**60)))
    assert one < other or other < one


def test_a_wrong_polynomial_widens_and_keeps_the_solution(monkeypatch):
    own = module._taylor

    def wrong(field, centre, bits, order):
        first, *rest = own(field, centre, bits, order)
        terms = list(first.terms)
        terms[3] += 1 << (bits - 40)
        return [Polynomial(terms, bits), *rest]

    good = last(cubic, [1]).end[0]
    monkeypatch.setattr(module, "_taylor", wrong)
    bad = last(cubic, [1]).end[0]
    assert good in bad and bad.delta > 1e6 * good.delta


def test_growth_is_bounded_by_the_largest_eigenvalue():
    box = [interval(1), interval(Fraction(1, 2))]
    x, y = 1.0, 0.5
    jacobian = -np.array([[y * y, 2 * x * y - 1], [2 * x * y - 1, x * x]])
    bound, true = float(ends(log_norm(coupled, box))[1]), np.linalg.eigvalsh(jacobian)[-1]
    assert true <= bound < true + 1e-6
    wide = log_norm(coupled, [interval(Fraction(9, 10), Fraction(11, 10)), box[1]])
    assert float(ends(wide)[1]) > bound
    assert positive_definite([[2, 1], [1, 2]]) and not positive_definite([[1, 2], [2, 1]])


def test_misuse_is_named():
    with pytest.raises(ValueError, match="not symmetric"):
        last(lambda x: [x[1], -x[0]], [1, 0])
    with pytest.raises(ValueError, match="1/3 is no binary fraction"):
        last(lambda x: [x[0] * Fraction(1, 3)], [1])


def test_it_ends_where_it_is_asked_to():
    steps = list(enclose_flow(cubic, [1], stop=lambda x: bool(x[0] < 0.8), bits=64))
    assert steps[-1].end[0] < 0.8 and all(not step.end[0] < 0.8 for step in steps[:-1])
    assert sum(step.width for step in steps) == steps[-1].time + steps[-1].width
    assert math.isclose(
        float(steps[-1].end[0].mid), (1 + 2 * float(sum(s.width for s in steps))) ** -0.5
    )
