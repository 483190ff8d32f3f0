"""Enclosed flows: they hold the solution, they are narrow, and what is wrong widens them."""

import dataclasses
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy

from gradflow.claims.proofs import enclose_flow
from gradflow.claims.proofs import enclosure as module
from gradflow.claims.proofs.interval import ends, precision

END = Fraction(3, 4)
taylor = module._taylor


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


def wrong(tape, centre, bits, order, unit):
    """A third coefficient that is off by 2^-40."""
    p = taylor(tape, centre, bits, order, unit)
    (x,) = p.polynomials
    x = [c + (k == 3) * 2 ** (bits - 40) for k, c in enumerate(x)]
    return dataclasses.replace(p, terms=tape.expand([x], bits, order, unit))


def test_a_wrong_polynomial_widens_and_keeps_the_solution(monkeypatch):
    good = last(cubic, [1]).end[0]
    monkeypatch.setattr(module, "_taylor", wrong)
    bad = last(cubic, [1]).end[0]
    assert good in bad and bad.delta > 1e6 * good.delta


def test_a_defect_that_is_left_out_is_found_out(monkeypatch):
    good = last(cubic, [1]).end[0]
    monkeypatch.setattr(module, "_taylor", wrong)
    monkeypatch.setattr(module._Approximate, "defect", lambda *_: 0.0)
    bad = last(cubic, [1]).end[0]
    assert bad < good or good < bad


def test_a_growth_that_is_too_small_is_found_out(monkeypatch):
    def found():
        return last(lambda x: [x[0]], [Fraction(1, 3)], end=8, bits=64).end[0]

    with mpmath.workprec(120):
        assert mpmath.exp(8) / 3 in found()
        monkeypatch.setattr(module, "log_norm", lambda field, middles, _: [-1.0] * len(middles))
        assert mpmath.exp(8) / 3 not in found()


def test_misuse_is_named():
    with pytest.raises(ValueError, match="not symmetric"):
        last(lambda x: [x[1], -x[0]], [1, 0])
    with pytest.raises(ValueError, match="give more bits"):
        last(lambda x: [x[0] * x[0]], [1], end=2)  # 1 / (1 - t)


def test_fractions_that_are_not_binary_are_enclosed_too():
    found = last(lambda x: [x[0] * Fraction(-1, 3) + Fraction(1, 7)], [Fraction(1, 5)]).end[0]
    with mpmath.workprec(120):
        limit = mpmath.mpf(3) / 7
        true = limit + (mpmath.mpf(1) / 5 - limit) * mpmath.exp(-mpmath.mpf(1) / 4)
        assert true in found and found.delta < mpmath.mpf(10) ** -20


def test_time_has_any_unit():
    for rate in (Fraction(1, 2**10), Fraction(2**14)):
        *_, step = enclose_flow(lambda x, rate=rate: [-rate * x[0]], [1], end=1 / rate)
        with mpmath.workprec(150):
            assert mpmath.exp(-1) in step.end[0] and step.end[0].delta < mpmath.mpf(10) ** -25


def test_it_ends_where_it_is_asked_to():
    steps = list(enclose_flow(cubic, [1], stop=lambda x: bool(x[0] < 0.8), bits=64))
    assert steps[-1].end[0] < 0.8 and all(not step.end[0] < 0.8 for step in steps[:-1])
    assert sum(step.width for step in steps) == steps[-1].time + steps[-1].width
    assert math.isclose(
        float(steps[-1].end[0].mid), (1 + 2 * float(sum(s.width for s in steps))) ** -0.5
    )


@pytest.mark.parametrize("bits", [8, 16, 500, 800, 900])
def test_any_number_of_bits_encloses_as_narrowly_as_it_says(bits):
    found = last(cubic, [1], bits=bits).end[0]
    with mpmath.workprec(bits + 50):
        low, high = ends(found)
        assert low < mpmath.sqrt(mpmath.mpf(2) / 5) < high and high - low < mpmath.ldexp(
            1, 20 - bits
        )


@pytest.mark.parametrize(("order", "bits"), [(2, 16), (3, 24), (450, 24)])
def test_any_order_encloses(order, bits):
    found = last(cubic, [1], end=Fraction(1, 32), bits=bits, order=order).end[0]
    with mpmath.workprec(120):
        low, high = ends(found)
        assert low < 1 / mpmath.sqrt(mpmath.mpf(17) / 16) < high and high - low < 1e-2


def test_a_term_whose_power_underflows_counts(monkeypatch):
    def far(tape, centre, bits, order, unit):  # of x' = 0, with 2^900 t^99 besides
        p = taylor(tape, centre, bits, order, unit)
        (x,) = p.polynomials
        x = [c + (k == 99) * 2 ** (bits + 900) for k, c in enumerate(x)]
        return dataclasses.replace(p, terms=tape.expand([x], bits, order, unit))

    monkeypatch.setattr(module, "_taylor", far)

    def found():
        step = last(lambda x: [x[0] * 0], [1], end=Fraction(1, 4096), bits=320, order=100)
        return step, ends(step.end[0])

    step, (low, high) = found()
    (_, (x,)) = step.over(Fraction(1, 2), Fraction(1))
    assert low <= 1 <= high and 1 in x
    monkeypatch.setattr(module, "above", lambda x: x)  # the broken twin
    _, (low, high) = found()
    assert low > 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 7}, "bits = 7 is not from 8 to 900"),
        ({"bits": 901}, "bits = 901"),
        ({"bits": 1100}, "bits = 1100"),
        ({"order": 0}, "order = 0 is not from 2 to 450"),
        ({"order": 1}, "order = 1"),
        ({"order": 451}, "order = 451"),
        ({"max_steps": 0}, "max_steps = 0"),
        ({"end": 0}, "not above 0"),
        ({"end": -1}, "not above 0"),
        ({"max_steps": 1, "end": 100}, "before what was asked for"),
        ({"max_steps": 2, "end": None, "stop": lambda x: False}, "before what was asked for"),
    ],
)
def test_options_outside_their_range_are_refused_and_too_few_steps_are_an_error(options, said):
    with pytest.raises(ValueError, match=said):
        last(cubic, [1], **options)


def test_numbers_of_numpy_do_not_wrap_and_rounded_ones_are_refused():
    def end(minus, start):
        return last(lambda x: [x[0] * x[0] * x[0] * minus], [start]).end

    assert end(np.int64(-1), np.int64(3)) == end(-1, 3)
    for broken in ({"bits": 96.0}, {"order": 40.0}, {"end": mpmath.pi}):
        with pytest.raises(TypeError):
            last(cubic, [1], **broken)
    with pytest.raises(TypeError, match="not rational"):
        last(lambda x: [x[0] * sympy.sqrt(2)], [1])


def test_a_part_is_within_its_step():
    step = last(cubic, [1])
    for first, share in ((-1, 1), (0, 2), (Fraction(1, 2), Fraction(1, 2)), (1, 0)):
        with pytest.raises(ValueError, match="not a part"):
            step.over(Fraction(first), Fraction(share))
    with pytest.raises(ValueError, match="do not cover"):
        list(step.pieces(0))
