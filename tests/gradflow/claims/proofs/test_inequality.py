from fractions import Fraction

import mpmath
import pytest
import sympy

from gradflow.claims.proofs import prove_inequality
from gradflow.claims.proofs.interval import ends, entropy, hull, interval, iv, precision


def test_numbers_are_enclosed_and_the_precision_is_restored():
    before = iv.prec
    with pytest.raises(ZeroDivisionError), precision(200):
        assert iv.prec == 200
        raise ZeroDivisionError
    assert iv.prec == before
    third = interval(Fraction(1, 3))
    low, high = ends(third)
    with mpmath.workprec(100):
        assert 3 * low < 1 < 3 * high
    assert 2 in interval(sympy.sqrt(2)) ** 2 and interval(0.1).delta == 0
    both = ends(interval(Fraction(1, 3), 2))
    assert both[0] == low and both[1] == 2


def test_the_entropy_of_an_interval_has_all_its_values():
    for low, high in ((0.1, 0.2), (0.4, 0.7), (0.6, 0.9), (0.5, 0.5)):
        found = entropy(interval(low, high))
        for p in (low, (low + high) / 2, high):
            q = mpmath.mpf(p)
            assert -q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q) in found
    assert ends(hull([interval(1), interval(3), interval(2)])) == (1, 3)


def f(x, y):
    return x**2 + y**2 - x * y


def gradient(x, y):
    return 2 * x - y, 2 * y - x


BOX = [(1, 2), (Fraction(-1, 3), 1)]


@pytest.mark.parametrize(
    ("offset", "slopes", "outcome"),
    [
        (Fraction(74, 100), None, "proved"),
        (Fraction(74, 100), gradient, "proved"),
        (Fraction(76, 100), None, "refuted"),
        (Fraction(76, 100), gradient, "refuted"),
        (Fraction(75, 100), None, "open"),  # attained at (1, 1/2): boxes do not come to an end
    ],
)
def test_a_bound_is_proved_and_a_larger_one_refuted(offset, slopes, outcome):
    found = prove_inequality(
        "f >= offset", lambda x, y: f(x, y) - interval(offset), BOX,
        gradient=slopes, max_boxes=3000,
    )  # fmt: skip
    assert found.outcome == outcome
    if outcome == "refuted":
        at = [float(word.split()[0]) for word in found.witness["at"]]
        assert f(*at) < offset


def test_a_gradient_saves_boxes():
    def boxes(slopes):
        found = prove_inequality("f", lambda x, y: f(x, y) - 0.74, BOX, gradient=slopes)
        return int(found.steps[0].split()[0])

    assert boxes(gradient) < boxes(None)


def test_a_point_that_is_given_is_looked_at_first():
    found = prove_inequality("x >= 0", lambda x: x, [(1, 2)], points=[(-1,)])
    assert found.witness == {"at": ["-1"], "value": "at most -1"}
