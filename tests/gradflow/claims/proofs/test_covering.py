"""Signs over all times, by halving."""

from fractions import Fraction

import pytest

from gradflow.claims.proofs.covering import Part, cover
from gradflow.claims.proofs.interval import interval


def square(shift, centre=Fraction(3, 10)):
    """(t - centre)^2 + shift over a part of [0, 2], wider than it is."""

    def gap(part):
        t = interval(part.step + part.first, part.step + part.last) - interval(centre)
        return t * t + interval(shift)

    return gap


def test_parts_cover_every_time_in_order_and_each_has_a_sign():
    found = cover(2, square(Fraction(1, 1000)))
    assert len(found) > 4 and all(bool(value > 0) for value in found.values())
    ends = [(part.step + part.first, part.step + part.last) for part in found]
    assert ends[0][0] == 0 and ends[-1][1] == 2
    assert all(one[1] == other[0] for one, other in zip(ends[:-1], ends[1:], strict=True))


def test_where_it_is_negative_one_part_says_so():
    ((part, value),) = cover(2, square(Fraction(-1, 1000))).items()
    assert value < 0 and part.step == 0 and part.first < Fraction(3, 10) < part.last


def test_what_is_zero_stays_undecided():
    found = cover(1, square(0), halvings=5)
    assert any(not value > 0 for value in found.values())
    assert all(part.last - part.first >= Fraction(1, 32) for part in found)


@pytest.mark.parametrize("first", [0, Fraction(1, 4)])
def test_halves(first):
    one, other = Part(3, Fraction(first), Fraction(1)).halves()
    assert (one.first, one.last, other.last) == (first, other.first, 1) and other.step == 3


@pytest.mark.parametrize(("steps", "halvings"), [(0, 3), (2, -1)])
def test_nothing_is_not_covered(steps, halvings):
    with pytest.raises(ValueError, match="no part to look at"):
        cover(steps, square(1), halvings)
